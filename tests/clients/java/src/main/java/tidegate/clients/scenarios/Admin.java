package tidegate.clients.scenarios;

import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.ReplicaInfo;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.GroupMember;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/** What operators do with the admin client, and the errors that tell them what they did wrong. */
public final class Admin implements Scenario {
    private static final short ONE = 1;

    @Override
    public void run(Broker broker, Options options) throws Exception {
        cluster(broker);
        String topic = broker.newName();
        createTopics(broker, topic);
        describeTopics(broker, topic);
        configs(broker, topic);
        partitions(broker, topic);
        offsets(broker, topic);
        logDirs(broker, topic);
        groups(broker, topic);
        deleteTopics(broker, topic);
    }

    private static void cluster(Broker broker) throws Exception {
        broker.step("cluster");
        Collection<Node> nodes = broker.admin().describeCluster().nodes().get();
        Check.that("the cluster has nodes", !nodes.isEmpty());
        Check.that("the controller is one of them",
                nodes.contains(broker.admin().describeCluster().controller().get()));
        Check.that("it has an id", !broker.admin().describeCluster().clusterId().get().isEmpty());
    }

    private static void createTopics(Broker broker, String topic) throws Exception {
        broker.step("create topics");
        NewTopic wanted = new NewTopic(topic, 3, ONE)
                .configs(Map.of("cleanup.policy", "delete", "retention.ms", "3600000"));
        broker.admin().createTopics(List.of(wanted), new CreateTopicsOptions().validateOnly(true)).all().get();
        Check.that("validating creates nothing", !broker.admin().listTopics().names().get().contains(topic));
        CreateTopicsResult created = broker.admin().createTopics(List.of(wanted));
        Check.equal("partitions created", 3, created.numPartitions(topic).get());
        Check.equal("retention.ms created", "3600000", created.config(topic).get().get("retention.ms").value());
        Check.that("it is listed", broker.admin().listTopics().names().get().contains(topic));

        createFails(broker, wanted, TopicExistsException.class);
        createFails(broker, new NewTopic("a/b", 1, ONE), InvalidTopicException.class);
        createFails(broker, new NewTopic("..", 1, ONE), InvalidTopicException.class);
        createFails(broker, new NewTopic("x".repeat(250), 1, ONE), InvalidTopicException.class);
        createFails(broker, new NewTopic(broker.newName(), 0, ONE), InvalidPartitionsException.class);
        createFails(broker, new NewTopic(broker.newName(), 1, (short) 100), InvalidReplicationFactorException.class);
        createFails(broker, new NewTopic(broker.newName(), 1, ONE).configs(Map.of("no.such.setting", "1")),
                InvalidConfigurationException.class);
        createFails(broker, new NewTopic(broker.newName(), 1, ONE).configs(Map.of("retention.ms", "soon")),
                InvalidConfigurationException.class);
    }

    private static void createFails(Broker broker, NewTopic topic, Class<? extends Exception> error)
            throws Exception {
        Check.fails("creating " + topic, error, broker.admin().createTopics(List.of(topic)).all());
    }

    private static void describeTopics(Broker broker, String topic) throws Exception {
        broker.step("describe topics");
        TopicDescription byName = describe(broker, topic);
        Check.equal("partitions", List.of(0, 1, 2), byName.partitions().stream().map(p -> p.partition()).toList());
        Check.that("each has a leader", byName.partitions().stream().allMatch(p -> p.leader() != null));
        TopicDescription byId = broker.admin().describeTopics(TopicCollection.ofTopicIds(List.of(byName.topicId())))
                .allTopicIds().get().get(byName.topicId());
        Check.equal("name of the topic with its id", topic, byId.name());
        Check.equal("leaders by id", leaders(byName), leaders(byId));
        Check.fails("describing an unknown topic", UnknownTopicOrPartitionException.class,
                broker.admin().describeTopics(List.of(broker.newName())).allTopicNames());
        Check.fails("describing an unknown id", UnknownTopicIdException.class, broker.admin()
                .describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds());
    }

    private static void configs(Broker broker, String topic) throws Exception {
        broker.step("describe and alter configs");
        ConfigEntry retention = config(broker, topic).get("retention.ms");
        Check.equal("retention.ms", "3600000", retention.value());
        Check.equal("its source", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, retention.source());
        Check.that("segment.bytes is a default", config(broker, topic).get("segment.bytes").isDefault());

        alter(broker, topic, "retention.ms", "7200000", OpType.SET);
        alter(broker, topic, "cleanup.policy", "compact", OpType.APPEND);
        Check.equal("retention.ms once set", "7200000", config(broker, topic).get("retention.ms").value());
        Check.equal("cleanup.policy once appended to", "delete,compact",
                config(broker, topic).get("cleanup.policy").value());
        alter(broker, topic, "cleanup.policy", "compact", OpType.SUBTRACT);
        alter(broker, topic, "retention.ms", "", OpType.DELETE);
        Check.equal("cleanup.policy once subtracted from", "delete",
                config(broker, topic).get("cleanup.policy").value());
        Check.that("retention.ms once deleted is a default", config(broker, topic).get("retention.ms").isDefault());

        Check.fails("an unknown setting", InvalidConfigurationException.class,
                () -> alter(broker, topic, "no.such.setting", "1", OpType.SET));
        Check.fails("a wrong value", InvalidConfigurationException.class,
                () -> alter(broker, topic, "retention.ms", "soon", OpType.SET));
        Check.fails("settings of an unknown topic", UnknownTopicOrPartitionException.class,
                () -> alter(broker, broker.newName(), "retention.ms", "1", OpType.SET));
    }

    private static void partitions(Broker broker, String topic) throws Exception {
        broker.step("create partitions");
        broker.admin().createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        Check.eventually("5 partitions", Broker.PATIENCE, () -> describe(broker, topic).partitions().size() == 5);
        for (int count : List.of(5, 4)) {
            Check.fails("increasing to " + count, InvalidPartitionsException.class,
                    broker.admin().createPartitions(Map.of(topic, NewPartitions.increaseTo(count))).all());
        }
    }

    /** Leaves partition 0 with the records 4 to 9. */
    private static void offsets(Broker broker, String topic) throws Exception {
        broker.step("list offsets, delete records");
        TopicPartition partition = new TopicPartition(topic, 0);
        long start = System.currentTimeMillis() - 100_000;
        try (KafkaProducer<String, String> producer = broker.producer(Map.of())) {
            for (int i = 0; i < 10; i++) {
                // Out of order, so that the greatest timestamp is neither the first nor the last: 6 has it.
                long timestamp = start + (i == 6 ? 50_000 : i * 1_000);
                producer.send(new ProducerRecord<>(topic, 0, timestamp, "k", "" + i)).get();
            }
        }
        Check.equal("earliest", 0L, offset(broker, partition, OffsetSpec.earliest()));
        Check.equal("latest", 10L, offset(broker, partition, OffsetSpec.latest()));
        Check.equal("max timestamp", 6L, offset(broker, partition, OffsetSpec.maxTimestamp()));
        Check.equal("the timestamp found", start + 50_000,
                listed(broker, partition, OffsetSpec.maxTimestamp()).timestamp());
        Check.equal("by timestamp", 3L, offset(broker, partition, OffsetSpec.forTimestamp(start + 2_001)));
        Check.equal("by the timestamp of a record", 2L, offset(broker, partition, OffsetSpec.forTimestamp(start + 2_000)));
        Check.equal("by a timestamp after all", -1L, offset(broker, partition, OffsetSpec.forTimestamp(start + 60_000)));
        Check.equal("latest of an empty partition", 0L,
                offset(broker, new TopicPartition(topic, 1), OffsetSpec.latest()));

        Check.equal("low watermark", 4L, broker.admin()
                .deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(partition).get()
                .lowWatermark());
        Check.equal("earliest after deleting", 4L, offset(broker, partition, OffsetSpec.earliest()));
        Check.fails("deleting beyond the end", OffsetOutOfRangeException.class, broker.admin()
                .deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(11))).all());
    }

    private static void logDirs(Broker broker, String topic) throws Exception {
        broker.step("describe log dirs");
        TopicPartition partition = new TopicPartition(topic, 0);
        List<Integer> nodes = broker.admin().describeCluster().nodes().get().stream().map(Node::id).toList();
        List<ReplicaInfo> replicas = broker.admin().describeLogDirs(nodes).allDescriptions().get().values().stream()
                .flatMap(dirs -> dirs.values().stream()).map(dir -> dir.replicaInfos().get(partition))
                .filter(info -> info != null).toList();
        Check.equal("replicas of " + partition, 1, replicas.size());
        Check.that("the log has a size", replicas.get(0).size() > 0);
    }

    private static void groups(Broker broker, String topic) throws Exception {
        broker.step("groups");
        String group = broker.newName();
        TopicPartition partition = new TopicPartition(topic, 0);
        GroupMember member = new GroupMember("member", broker.groupConsumer(group, Map.of()), topic);
        Check.eventually("the member reads", Broker.PATIENCE, () -> member.records().size() == 6);
        member.commit();
        ConsumerGroupDescription active = describeGroup(broker, group);
        Check.equal("state", GroupState.STABLE, active.groupState());
        Check.equal("assignor", "range", active.partitionAssignor());
        Check.equal("assigned", member.assignment(), active.members().stream()
                .flatMap(found -> found.assignment().topicPartitions().stream()).collect(Collectors.toSet()));
        Check.equal("listed state", Optional.of(GroupState.STABLE), listedState(broker, group));

        Check.fails("deleting it", GroupNotEmptyException.class,
                broker.admin().deleteConsumerGroups(List.of(group)).all());
        Check.fails("deleting an offset", GroupSubscribedToTopicException.class,
                broker.admin().deleteConsumerGroupOffsets(group, Set.of(partition)).all());
        Check.fails("altering an offset", UnknownMemberIdException.class, broker.admin()
                .alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(5))).all());
        Check.equal("committed", "10 ", broker.committed(group, partition));
        member.close();

        Check.eventually("the group is empty", Broker.PATIENCE,
                () -> describeGroup(broker, group).groupState() == GroupState.EMPTY);
        broker.admin().alterConsumerGroupOffsets(group,
                Map.of(partition, new OffsetAndMetadata(5, "by hand"))).all().get();
        Check.equal("altered", "5 by hand", broker.committed(group, partition));
        broker.admin().deleteConsumerGroupOffsets(group, Set.of(partition)).all().get();
        Check.equal("deleted", "nothing", broker.committed(group, partition));
        broker.admin().deleteConsumerGroups(List.of(group)).all().get();
        Check.equal("listed once deleted", Optional.empty(), listedState(broker, group));
        Check.fails("deleting it again", GroupIdNotFoundException.class,
                broker.admin().deleteConsumerGroups(List.of(group)).all());
        Check.fails("describing it", GroupIdNotFoundException.class,
                broker.admin().describeConsumerGroups(List.of(group)).all());
    }

    private static void deleteTopics(Broker broker, String topic) throws Exception {
        broker.step("delete topics");
        Uuid first = describe(broker, topic).topicId();
        broker.admin().deleteTopics(List.of(topic)).all().get();
        Check.eventually("it is gone", Broker.PATIENCE,
                () -> !broker.admin().listTopics().names().get().contains(topic));
        Check.fails("deleting it again", UnknownTopicOrPartitionException.class,
                broker.admin().deleteTopics(List.of(topic)).all());

        broker.admin().createTopics(List.of(new NewTopic(topic, 1, ONE))).all().get();
        Uuid second = describe(broker, topic).topicId();
        Check.that("the same name has a new id", !first.equals(second));
        Check.equal("and no records", 0L, offset(broker, new TopicPartition(topic, 0), OffsetSpec.latest()));
        Check.fails("deleting by the old id", UnknownTopicIdException.class,
                broker.admin().deleteTopics(TopicCollection.ofTopicIds(List.of(first))).all());
        broker.admin().deleteTopics(TopicCollection.ofTopicIds(List.of(second))).all().get();
    }

    private static TopicDescription describe(Broker broker, String topic) throws Exception {
        return broker.admin().describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private static List<String> leaders(TopicDescription topic) {
        return topic.partitions().stream().map(p -> p.partition() + " on " + p.leader()).toList();
    }

    private static Config config(Broker broker, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return broker.admin().describeConfigs(List.of(resource)).all().get().get(resource);
    }

    private static void alter(Broker broker, String topic, String name, String value, OpType type) throws Exception {
        broker.admin().incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic),
                List.of(new AlterConfigOp(new ConfigEntry(name, value), type)))).all().get();
    }

    private static long offset(Broker broker, TopicPartition partition, OffsetSpec spec) throws Exception {
        return listed(broker, partition, spec).offset();
    }

    private static ListOffsetsResultInfo listed(Broker broker, TopicPartition partition, OffsetSpec spec)
            throws Exception {
        return broker.admin().listOffsets(Map.of(partition, spec)).all().get().get(partition);
    }

    private static ConsumerGroupDescription describeGroup(Broker broker, String group) throws Exception {
        return broker.admin().describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    private static Optional<GroupState> listedState(Broker broker, String group) throws Exception {
        return broker.admin().listGroups().all().get().stream().filter(found -> found.groupId().equals(group))
                .findFirst().flatMap(GroupListing::groupState);
    }
}
