package tidegate.clients.scenarios;

import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.Options;
import tidegate.clients.Scenario;
import tidegate.clients.StateFile;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/** After the restart: the group is there, its offsets are what was committed, and a member goes on from them. */
public final class ConsumerGroupPersistenceCheck implements Scenario {
    private static final int RECORDS = ConsumerGroupPersistencePrepare.RECORDS;

    @Override
    public void run(Broker broker, Options options) throws Exception {
        StateFile state = StateFile.load(options.state().orElseThrow());
        String group = state.get("group");
        String topic = state.get("topic");
        List<TopicPartition> partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1),
                new TopicPartition(topic, 2));

        broker.step("the group is listed, empty, with its protocol type");
        Optional<GroupListing> listing = broker.admin().listGroups().all().get().stream()
                .filter(found -> found.groupId().equals(group)).findFirst();
        Check.equal("protocol type of the listed group", Optional.of("consumer"), listing.map(GroupListing::protocol));
        ConsumerGroupDescription description = broker.admin().describeConsumerGroups(List.of(group)).all().get()
                .get(group);
        Check.equal("state of the group", GroupState.EMPTY, description.groupState());

        broker.step("the admin client sees what was committed");
        for (int partition = 0; partition < 2; partition++) {
            Check.equal("committed on partition " + partition,
                    state.get("offset." + partition) + " " + state.get("metadata." + partition),
                    broker.committed(group, partitions.get(partition)));
        }
        Check.equal("committed on partition 2", "nothing", broker.committed(group, partitions.get(2)));

        broker.step("a member sees it too and goes on exactly there");
        int first = state.number("offset.0");
        int second = state.number("offset.1");
        try (KafkaConsumer<String, String> consumer = broker.groupConsumer(group, Map.of())) {
            consumer.subscribe(List.of(topic));
            List<ConsumerRecord<String, String>> records = broker.read(consumer,
                    3 * RECORDS - first - second);
            Map<TopicPartition, List<ConsumerRecord<String, String>>> byPartition = records.stream()
                    .collect(Collectors.groupingBy(record -> new TopicPartition(topic, record.partition())));
            Broker.checkNumbers("partition 0", first, byPartition.get(partitions.get(0)));
            Broker.checkNumbers("partition 1", second, byPartition.get(partitions.get(1)));
            Broker.checkNumbers("partition 2", 0, byPartition.get(partitions.get(2)));
            int epoch = state.number("epoch");
            Check.equal("committed with leader epoch", new OffsetAndMetadata(first,
                    epoch < 0 ? Optional.empty() : Optional.of(epoch), state.get("metadata.0")),
                    consumer.committed(Set.of(partitions.get(0))).get(partitions.get(0)));
            broker.readNothing(consumer);
        }
    }
}
