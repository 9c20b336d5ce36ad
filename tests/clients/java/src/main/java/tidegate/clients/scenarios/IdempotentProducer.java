package tidegate.clients.scenarios;

import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;

/** Every codec, with several batches in flight: each record once, in order, at the offset that was acknowledged. */
public final class IdempotentProducer implements Scenario {
    private static final int RECORDS = 2_000;
    private static final int BATCH_BYTES = 2_000;

    @Override
    public void run(Broker broker, Options options) throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            broker.step("codec " + codec);
            TopicPartition partition = new TopicPartition(broker.newTopic(1), 0);
            // Two producers one after the other: a new producer id on a partition that has seen another.
            produce(broker, partition, codec, 0, RECORDS / 2);
            produce(broker, partition, codec, RECORDS / 2, RECORDS);
            try (KafkaConsumer<String, String> consumer = broker.consumer("earliest")) {
                consumer.assign(List.of(partition));
                Broker.checkNumbers(codec, 0, broker.read(consumer, RECORDS));
                Check.equal("end offset", (long) RECORDS, consumer.endOffsets(List.of(partition)).get(partition));
            }
        }
    }

    private static void produce(Broker broker, TopicPartition partition, String codec, int from, int to)
            throws Exception {
        try (KafkaProducer<String, String> producer = broker.producer(Map.of(
                ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
                ProducerConfig.ACKS_CONFIG, "all",
                ProducerConfig.MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION, 5,
                ProducerConfig.COMPRESSION_TYPE_CONFIG, codec,
                ProducerConfig.BATCH_SIZE_CONFIG, BATCH_BYTES,
                ProducerConfig.LINGER_MS_CONFIG, 1))) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = from; i < to; i++) {
                sent.add(producer.send(new ProducerRecord<>(partition.topic(), 0, "key of record " + i, "" + i)));
            }
            for (int i = from; i < to; i++) {
                Check.equal(codec + ": acknowledged offset", (long) i, sent.get(i - from).get().offset());
            }
        }
    }
}
