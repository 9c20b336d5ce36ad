package tidegate.clients.scenarios;

import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.common.TopicPartition;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.time.Duration;
import java.util.List;
import java.util.Map;

/** A fetch begins exactly at the offset that was asked for, wherever that lies in a batch or in the log. */
public final class FetchFromOffset implements Scenario {
    private static final int RECORDS = 100;
    private static final int BATCH = 10;

    @Override
    public void run(Broker broker, Options options) throws Exception {
        for (String codec : List.of("none", "gzip")) {
            String topic = broker.newTopic(1);
            TopicPartition partition = new TopicPartition(topic, 0);
            broker.produceBatches(topic, 0, RECORDS, BATCH, codec);
            inside(broker, partition, codec);
            atTheEnd(broker, partition);
            beyondTheEnd(broker, partition);
            belowTheStart(broker, partition);
        }
    }

    private static void inside(Broker broker, TopicPartition partition, String codec) {
        broker.step("seek inside the log, codec " + codec);
        try (KafkaConsumer<String, String> consumer = assigned(broker, partition, "none")) {
            for (int offset : new int[] {42, 0, 1, 9, 10, 11, 50, 98, 99, 7}) {
                consumer.seek(partition, offset);
                Broker.checkNumbers("read from " + offset, offset, broker.read(consumer, RECORDS - offset));
            }
            consumer.seekToBeginning(List.of(partition));
            Broker.checkNumbers("read from the beginning", 0, broker.read(consumer, RECORDS));
        }
    }

    /** Adds the record whose number is {@link #RECORDS}. */
    private static void atTheEnd(Broker broker, TopicPartition partition) throws Exception {
        broker.step("seek to the end: nothing, then what is written next");
        try (KafkaConsumer<String, String> consumer = assigned(broker, partition, "none")) {
            Check.equal("end offset", (long) RECORDS, consumer.endOffsets(List.of(partition)).get(partition));
            consumer.seek(partition, RECORDS);
            broker.readNothing(consumer);
            broker.produce(partition.topic(), 0, RECORDS, RECORDS + 1);
            Broker.checkNumbers("read at the end", RECORDS, broker.read(consumer, 1));
        }
    }

    private static void beyondTheEnd(Broker broker, TopicPartition partition) throws Exception {
        broker.step("seek beyond the end: the reset policy decides");
        int beyond = RECORDS + 500;
        try (KafkaConsumer<String, String> consumer = assigned(broker, partition, "earliest")) {
            consumer.seek(partition, beyond);
            Broker.checkNumbers("reset to earliest", 0, broker.read(consumer, RECORDS + 1));
        }
        try (KafkaConsumer<String, String> consumer = assigned(broker, partition, "latest")) {
            consumer.seek(partition, beyond);
            broker.readNothing(consumer);
            Check.equal("position after the reset to latest", (long) RECORDS + 1, consumer.position(partition));
        }
        outOfRange(broker, partition, beyond);
    }

    private static void belowTheStart(Broker broker, TopicPartition partition) throws Exception {
        broker.step("seek below the start of a log whose first 50 records were deleted");
        broker.admin().deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(50))).all().get();
        outOfRange(broker, partition, 10);
        outOfRange(broker, partition, 49);
        try (KafkaConsumer<String, String> consumer = assigned(broker, partition, "earliest")) {
            Check.equal("beginning offset", 50L, consumer.beginningOffsets(List.of(partition)).get(partition));
            consumer.seek(partition, 10);
            Broker.checkNumbers("reset to earliest", 50, broker.read(consumer, RECORDS + 1 - 50));
            consumer.seek(partition, 50);
            Broker.checkNumbers("read from the new start", 50, broker.read(consumer, RECORDS + 1 - 50));
        }
    }

    private static void outOfRange(Broker broker, TopicPartition partition, long offset) throws Exception {
        try (KafkaConsumer<String, String> consumer = assigned(broker, partition, "none")) {
            consumer.seek(partition, offset);
            OffsetOutOfRangeException error = Check.fails("fetch from " + offset, OffsetOutOfRangeException.class,
                    () -> Check.eventually("an answer", Broker.PATIENCE,
                            () -> !consumer.poll(Duration.ofMillis(100)).isEmpty()));
            Check.equal("the offset in the error", Map.of(partition, offset), error.offsetOutOfRangePartitions());
        }
    }

    private static KafkaConsumer<String, String> assigned(Broker broker, TopicPartition partition, String reset) {
        KafkaConsumer<String, String> consumer = broker.consumer(reset);
        consumer.assign(List.of(partition));
        return consumer;
    }
}
