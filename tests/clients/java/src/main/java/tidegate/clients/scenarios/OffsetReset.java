package tidegate.clients.scenarios;

import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * Every {@code auto.offset.reset}, both when a group has committed nothing and when what it committed is no longer,
 * or not yet, in the log; and none of them when the committed offset is good.
 */
public final class OffsetReset implements Scenario {
    private static final String EARLIEST = "earliest";
    private static final String LATEST = "latest";
    private static final String NONE = "none";
    private static final String BY_DURATION = "by_duration:PT1H";
    private static final String BY_SHORT_DURATION = "by_duration:PT1M";
    private static final int REQUEST_TIMEOUT_MS = 3_000;
    private static final Duration OLD = Duration.ofHours(2);
    private static final Duration RECENT = Duration.ofMinutes(10);

    @Override
    public void run(Broker broker, Options options) throws Exception {
        TopicPartition partition = new TopicPartition(broker.newTopic(1), 0);
        produce(broker, partition, 0, 10, OLD);
        produce(broker, partition, 10, 20, RECENT);

        broker.step("nothing committed");
        readsFrom(broker, partition, EARLIEST, null, 0, 20);
        readsFrom(broker, partition, BY_DURATION, null, 10, 20);
        waitsAtEnd(broker, partition, LATEST, null, 20);
        waitsForRecent(broker, partition, 21);
        refuses(broker, partition, null, NoOffsetForPartitionException.class);

        broker.step("committed inside the log");
        for (String policy : List.of(EARLIEST, LATEST, NONE, BY_DURATION)) {
            readsFrom(broker, partition, policy, 5L, 5, 22);
        }

        broker.step("committed beyond the end");
        readsFrom(broker, partition, EARLIEST, 500L, 0, 22);
        readsFrom(broker, partition, BY_DURATION, 500L, 10, 22);
        waitsAtEnd(broker, partition, LATEST, 500L, 22);
        refuses(broker, partition, 500L, OffsetOutOfRangeException.class);

        broker.step("committed below the start");
        broker.admin().deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get();
        readsFrom(broker, partition, EARLIEST, 2L, 4, 23);
        readsFrom(broker, partition, BY_DURATION, 2L, 10, 23);
        waitsAtEnd(broker, partition, LATEST, 2L, 23);
        refuses(broker, partition, 2L, OffsetOutOfRangeException.class);
    }

    private static void readsFrom(Broker broker, TopicPartition partition, String policy, Long committed,
                                  int from, int to) throws Exception {
        try (KafkaConsumer<String, String> consumer = member(broker, partition, policy, committed)) {
            Broker.checkNumbers(policy + ", committed " + committed, from, broker.read(consumer, to - from));
        }
    }

    /** Nothing comes until the record {@code end} is written, which this does. */
    private static void waitsAtEnd(Broker broker, TopicPartition partition, String policy, Long committed, int end)
            throws Exception {
        try (KafkaConsumer<String, String> consumer = member(broker, partition, policy, committed)) {
            joinAndReadNothing(broker, consumer, policy);
            Check.equal(policy + ", committed " + committed + ": position", (long) end, consumer.position(partition));
            produce(broker, partition, end, end + 1, RECENT);
            Broker.checkNumbers(policy + ", committed " + committed, end, broker.read(consumer, 1));
        }
    }

    /**
     * No record is as young as the policy wants. Kafka's client then neither goes to the end nor gives up, but asks
     * again, each {@code request.timeout.ms}, until there is one, which this writes at {@code end}.
     */
    private static void waitsForRecent(Broker broker, TopicPartition partition, int end) throws Exception {
        try (KafkaConsumer<String, String> consumer = member(broker, partition, BY_SHORT_DURATION, null)) {
            joinAndReadNothing(broker, consumer, BY_SHORT_DURATION);
            produce(broker, partition, end, end + 1, Duration.ZERO);
            Broker.checkNumbers(BY_SHORT_DURATION, end, broker.read(consumer, 1));
        }
    }

    private static void joinAndReadNothing(Broker broker, KafkaConsumer<String, String> consumer, String policy)
            throws Exception {
        Check.eventually(policy + " has a partition", Broker.PATIENCE, () -> {
            Check.that(policy + ": nothing to read yet", consumer.poll(Duration.ofMillis(100)).isEmpty());
            return !consumer.assignment().isEmpty();
        });
        broker.readNothing(consumer);
    }

    private static <E extends Exception> void refuses(Broker broker, TopicPartition partition, Long committed,
                                                      Class<E> error) throws Exception {
        try (KafkaConsumer<String, String> consumer = member(broker, partition, NONE, committed)) {
            Check.fails("none, committed " + committed, error, () -> broker.read(consumer, 1));
        }
    }

    /** A member of a new group that has committed {@code committed}, or nothing. */
    private static KafkaConsumer<String, String> member(Broker broker, TopicPartition partition, String policy,
                                                        Long committed) throws Exception {
        String group = broker.newName();
        if (committed != null) {
            broker.admin().alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(committed)))
                    .all().get();
        }
        KafkaConsumer<String, String> consumer = broker.groupConsumer(group,
                Map.of(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, policy,
                        ConsumerConfig.REQUEST_TIMEOUT_MS_CONFIG, REQUEST_TIMEOUT_MS));
        consumer.subscribe(List.of(partition.topic()));
        return consumer;
    }

    private static void produce(Broker broker, TopicPartition partition, int from, int to, Duration age)
            throws Exception {
        long timestamp = System.currentTimeMillis() - age.toMillis();
        try (KafkaProducer<String, String> producer = broker.producer(Map.of())) {
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(partition.topic(), partition.partition(), timestamp, "k", "" + i))
                        .get();
            }
        }
    }
}
