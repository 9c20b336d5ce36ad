package tidegate.clients.scenarios;

import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.OffsetMetadataTooLarge;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/** What a group commits is what it finds again: offset, metadata and leader epoch, by whichever way it asks. */
public final class ConsumerOffsetCommitAndFetch implements Scenario {
    private static final int RECORDS = 20;

    @Override
    public void run(Broker broker, Options options) throws Exception {
        String group = broker.newName();
        TopicPartition partition = new TopicPartition(broker.newTopic(2), 0);
        TopicPartition other = new TopicPartition(partition.topic(), 1);
        broker.produce(partition.topic(), 0, 0, RECORDS);
        Check.equal("committed before anything was", "nothing", broker.committed(group, partition));

        broker.step("a member reads 10, commits 7 with metadata and leader epoch, and leaves");
        Optional<Integer> epoch;
        try (KafkaConsumer<String, String> consumer = member(broker, group, partition.topic(), 10)) {
            List<ConsumerRecord<String, String>> records = broker.read(consumer, 10);
            Broker.checkNumbers("first read", 0, records);
            epoch = records.get(6).leaderEpoch();
            Check.that("records carry a leader epoch", epoch.isPresent());
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(7, epoch, "seven")));
            Check.fails("metadata of 5,000 characters", OffsetMetadataTooLarge.class, () ->
                    consumer.commitSync(Map.of(partition, new OffsetAndMetadata(8, epoch, "x".repeat(5_000)))));
        }

        broker.step("the next member goes on exactly there");
        try (KafkaConsumer<String, String> consumer = member(broker, group, partition.topic(), 5)) {
            Broker.checkNumbers("resumed read", 7, broker.read(consumer, 5));
            Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(Set.of(partition, other));
            Check.equal("committed", new OffsetAndMetadata(7, epoch, "seven"), committed.get(partition));
            Check.equal("committed where nothing was", null, committed.get(other));

            broker.step("commitAsync, then commitSync of the position");
            Check.equal("the callback's offsets", Set.of(partition), commitAsync(consumer,
                    Map.of(partition, new OffsetAndMetadata(11, "eleven"))).keySet());
            Check.equal("after commitAsync", "11 eleven", broker.committed(group, partition));
            consumer.commitSync();
            Check.equal("after commitSync", "12 ", broker.committed(group, partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(3, "back")));
            Check.equal("a commit may go back", "3 back", broker.committed(group, partition));
        }
        Check.equal("seen by the admin client, with nobody in the group",
                "3 back", broker.committed(group, partition));
        Check.equal("another group", "nothing", broker.committed(broker.newName(), partition));
    }

    private static KafkaConsumer<String, String> member(Broker broker, String group, String topic, int pollMax) {
        KafkaConsumer<String, String> consumer = broker.groupConsumer(group,
                Map.of(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, pollMax));
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    private static Map<TopicPartition, OffsetAndMetadata> commitAsync(
            KafkaConsumer<String, String> consumer, Map<TopicPartition, OffsetAndMetadata> offsets) throws Exception {
        CompletableFuture<Map<TopicPartition, OffsetAndMetadata>> done = new CompletableFuture<>();
        consumer.commitAsync(offsets, (committed, error) -> {
            if (error == null) {
                done.complete(committed);
            } else {
                done.completeExceptionally(error);
            }
        });
        // Only a poll runs callbacks; pausing keeps it from moving the position.
        consumer.pause(consumer.assignment());
        Check.eventually("commitAsync calls back", Broker.PATIENCE, () -> {
            consumer.poll(Duration.ofMillis(50));
            return done.isDone();
        });
        return done.get();
    }
}
