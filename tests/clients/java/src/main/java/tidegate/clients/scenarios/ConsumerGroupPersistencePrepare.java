package tidegate.clients.scenarios;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import tidegate.clients.Broker;
import tidegate.clients.Options;
import tidegate.clients.Scenario;
import tidegate.clients.StateFile;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Before the restart: a group consumes and commits, and what it did is written down for the check. */
public final class ConsumerGroupPersistencePrepare implements Scenario {
    static final int RECORDS = 20;

    @Override
    public void run(Broker broker, Options options) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(3);
        for (int partition = 0; partition < 3; partition++) {
            broker.produce(topic, partition, 0, RECORDS);
        }
        Optional<Integer> epoch;
        broker.step("a group reads all and commits 11 with metadata on partition 0, 7 on partition 1, nothing on 2");
        try (KafkaConsumer<String, String> consumer = broker.groupConsumer(group, Map.of())) {
            consumer.subscribe(List.of(topic));
            List<ConsumerRecord<String, String>> records = broker.read(consumer, 3 * RECORDS);
            epoch = records.get(0).leaderEpoch();
            consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(11, epoch, "eleven")));
            consumer.commitSync(Map.of(new TopicPartition(topic, 1), new OffsetAndMetadata(6, "overwritten")));
            consumer.commitSync(Map.of(new TopicPartition(topic, 1), new OffsetAndMetadata(7)));
        }
        new StateFile().set("group", group).set("topic", topic).set("epoch", epoch.orElse(-1))
                .set("offset.0", 11).set("metadata.0", "eleven").set("offset.1", 7).set("metadata.1", "")
                .save(options.state().orElseThrow());
    }
}
