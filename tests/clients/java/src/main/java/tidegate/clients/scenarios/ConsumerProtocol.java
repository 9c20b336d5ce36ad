package tidegate.clients.scenarios;

import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.GroupMember;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Groups of the consumer protocol (KIP-848): what members and administrators see of them. */
public final class ConsumerProtocol implements Scenario {
    private static final int PARTITIONS = 4;
    private static final int RECORDS = 10;
    private static final Map<String, Object> CONSUMER = Map.of(ConsumerConfig.GROUP_PROTOCOL_CONFIG, "consumer");
    private static final Map<String, Object> CLASSIC = Map.of();

    @Override
    public void run(Broker broker, Options options) throws Exception {
        broker.step("two members share, one leaves, the other goes on where it committed");
        share(broker);
        broker.step("range assigns neighbours");
        range(broker);
        broker.step("a pattern takes in topics as they come and go");
        pattern(broker);
        broker.step("more partitions and a new topic are shared");
        growth(broker);
        broker.step("static members: a restart is no rebalance");
        staticRestart(broker);
        broker.step("a group moves from the classic to the consumer protocol and back, a member at a time");
        migrate(broker);
        broker.step("static members do so, too");
        migrateStatic(broker);
    }

    private static void share(Broker broker) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        broker.produceAll(topic, PARTITIONS, 0, RECORDS);
        GroupMember one = member(broker, "one", group, topic, CONSUMER);
        Check.eventually("one has all", Broker.PATIENCE, () -> one.assignment().equals(all(topic)) && one.caughtUp());
        one.commit();
        GroupMember two = member(broker, "two", group, topic, CONSUMER);
        awaitShared(topic, List.of(one, two));
        Set<TopicPartition> ofOne = one.assignment();

        ConsumerGroupDescription described = describe(broker, group);
        Check.equal("type", GroupType.CONSUMER, described.type());
        Check.equal("state", GroupState.STABLE, described.groupState());
        Check.equal("assignor", "uniform", described.partitionAssignor());
        Check.equal("epochs", List.of(described.groupEpoch().get(), described.groupEpoch().get()),
                List.of(described.targetAssignmentEpoch().get(), one.generation()));
        String idOfOne = one.memberId();
        MemberDescription member = described.members().stream()
                .filter(candidate -> candidate.consumerId().equals(idOfOne)).findFirst().orElseThrow();
        Check.equal("assignment of one", ofOne, member.assignment().topicPartitions());
        Check.equal("target of one", ofOne, member.targetAssignment().get().topicPartitions());
        Check.equal("upgraded", Optional.of(true), member.upgraded());
        Check.that("listed by type and state", broker.admin()
                .listGroups(ListGroupsOptions.forConsumerGroups().withTypes(Set.of(GroupType.CONSUMER))
                        .inGroupStates(Set.of(GroupState.STABLE))).all().get().stream()
                .anyMatch(listed -> listed.groupId().equals(group)));

        broker.produceAll(topic, PARTITIONS, RECORDS, 2 * RECORDS);
        awaitRead(topic, List.of(one, two), 2 * RECORDS);
        two.commit();
        one.close();
        Check.eventually("two takes over", Broker.PATIENCE, () -> two.assignment().equals(all(topic)));
        Check.eventually("two reads again what one did not commit", Broker.PATIENCE, () ->
                ofOne.stream().allMatch(partition -> two.numbers(partition)
                        .equals(numbers(RECORDS, 2 * RECORDS))));
        two.close();
        Check.equal("state when all are gone", GroupState.EMPTY, describe(broker, group).groupState());
        broker.admin().deleteConsumerGroups(List.of(group)).all().get();
    }

    private static void range(Broker broker) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        Map<String, Object> settings = Map.of(ConsumerConfig.GROUP_PROTOCOL_CONFIG, "consumer",
                ConsumerConfig.GROUP_REMOTE_ASSIGNOR_CONFIG, "range");
        List<GroupMember> members = List.of(member(broker, "one", group, topic, settings),
                member(broker, "two", group, topic, settings));
        awaitShared(topic, members);
        Check.equal("assignor", "range", describe(broker, group).partitionAssignor());
        Set<Set<Integer>> shares = new HashSet<>();
        for (GroupMember member : members) {
            shares.add(member.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet()));
        }
        Check.equal("shares", Set.of(Set.of(0, 1), Set.of(2, 3)), shares);
        closeAll(members);
    }

    private static void pattern(Broker broker) throws Exception {
        String group = broker.newName();
        String first = broker.newTopic(1);
        String other = broker.newTopic(1);
        String prefix = broker.newName();
        SubscriptionPattern pattern = new SubscriptionPattern("(" + prefix + "-.*|" + first + ")");
        GroupMember member = new GroupMember("one", broker.groupConsumer(group, CONSUMER), pattern);
        Check.eventually("the topic that is there", Broker.PATIENCE,
                () -> member.assignment().equals(Set.of(new TopicPartition(first, 0))));
        String later = prefix + "-later";
        broker.createTopic(later, 2);
        Check.eventually("the topic that comes", Broker.PATIENCE, () -> member.assignment().equals(Set.of(
                new TopicPartition(first, 0), new TopicPartition(later, 0), new TopicPartition(later, 1))));
        member.resubscribe(List.of(other));
        Check.eventually("a list in place of the pattern", Broker.PATIENCE,
                () -> member.assignment().equals(Set.of(new TopicPartition(other, 0))));
        member.resubscribe(pattern);
        Check.eventually("the pattern again", Broker.PATIENCE, () -> member.assignment().size() == 3);
        // Last: a client of 4.1.0 that asks for a topic by an id that is gone cannot read the answer, here as on Kafka.
        broker.admin().deleteTopics(List.of(first)).all().get();
        Check.eventually("the topic that goes", Broker.PATIENCE, () -> member.assignment().equals(Set.of(
                new TopicPartition(later, 0), new TopicPartition(later, 1))));
        member.close();
        GroupMember wrong = new GroupMember("wrong", broker.groupConsumer(group, CONSUMER),
                new SubscriptionPattern("(" + prefix));
        Check.equal("how a wrong pattern ends", InvalidRegularExpression.class, wrong.awaitDeath());
    }

    private static void growth(Broker broker) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(2);
        String later = broker.newName();
        Map<String, Object> settings = Map.of(ConsumerConfig.GROUP_PROTOCOL_CONFIG, "consumer",
                ConsumerConfig.ALLOW_AUTO_CREATE_TOPICS_CONFIG, false,
                ConsumerConfig.METADATA_MAX_AGE_CONFIG, 500);
        List<GroupMember> members = new ArrayList<>();
        for (String name : List.of("one", "two")) {
            members.add(new GroupMember(name, broker.groupConsumer(group, settings), List.of(topic, later)));
        }
        Check.eventually("each has one", Broker.PATIENCE, () -> members.get(0).assignment().size() == 1
                && members.get(1).assignment().size() == 1);
        broker.admin().createPartitions(Map.of(topic,
                NewPartitions.increaseTo(PARTITIONS))).all().get();
        awaitShared(topic, members);
        broker.createTopic(later, 2);
        Check.eventually("each has three", Broker.PATIENCE, () -> members.get(0).assignment().size() == 3
                && members.get(1).assignment().size() == 3);
        closeAll(members);
    }

    private static void staticRestart(Broker broker) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        broker.produceAll(topic, PARTITIONS, 0, RECORDS);
        GroupMember staying = staticMember(broker, group, topic, "a");
        GroupMember leaving = staticMember(broker, group, topic, "b");
        awaitShared(topic, List.of(staying, leaving));
        GroupMember duplicate = staticMember(broker, group, topic, "a");
        Check.equal("how a second one with the same id ends", UnreleasedInstanceIdException.class,
                duplicate.awaitDeath());
        Check.eventually("all read", Broker.PATIENCE, leaving::caughtUp);
        leaving.commit();
        Set<TopicPartition> ofStaying = staying.assignment();
        Set<TopicPartition> ofLeaving = leaving.assignment();
        int epoch = staying.generation();
        leaving.close();
        broker.produceAll(topic, PARTITIONS, RECORDS, 2 * RECORDS);
        GroupMember back = staticMember(broker, group, topic, "b");
        Check.eventually("b is back", Broker.PATIENCE, () -> back.assignment().equals(ofLeaving)
                && ofLeaving.stream().allMatch(partition -> back.numbers(partition)
                        .equals(numbers(RECORDS, 2 * RECORDS))));
        Check.equal("partitions of a", ofStaying, staying.assignment());
        Check.equal("epochs", List.of(epoch, epoch), List.of(staying.generation(), back.generation()));
        closeAll(List.of(staying, back));
    }

    private static void migrate(Broker broker) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        List<GroupMember> members = new ArrayList<>();
        int written = 0;
        for (String name : List.of("one", "two")) {
            members.add(member(broker, name, group, topic, CLASSIC));
        }
        awaitShared(topic, members);
        for (Map<String, Object> settings : List.of(CONSUMER, CLASSIC)) {
            for (int i = 0; i < 2; i++) {
                broker.produceAll(topic, PARTITIONS, written, written + RECORDS);
                written += RECORDS;
                awaitRead(topic, members, written);
                for (GroupMember member : members) {
                    member.commit();
                }
                GroupMember leaving = members.remove(0);
                leaving.close();
                members.add(member(broker, "next", group, topic, settings));
                awaitShared(topic, members);
                boolean isConsumer = settings == CONSUMER || i == 0;
                Check.equal("type", isConsumer ? GroupType.CONSUMER : GroupType.CLASSIC,
                        describe(broker, group).type());
                broker.produceAll(topic, PARTITIONS, written, written + RECORDS);
                List<String> fresh = numbers(written, written + RECORDS);
                written += RECORDS;
                awaitOnce(topic, members, fresh);
            }
        }
        closeAll(members);
    }

    /** Members of the classic protocol do not leave when they end, and are replaced by those of the other with their id. */
    private static void migrateStatic(Broker broker) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        Map<String, GroupMember> members = new TreeMap<>();
        for (String name : List.of("a", "b")) {
            members.put(name, staticMember(broker, group, topic, name, "classic"));
        }
        awaitShared(topic, members.values());
        int written = 0;
        for (String protocol : List.of("consumer", "classic")) {
            for (String name : List.of("a", "b")) {
                broker.produceAll(topic, PARTITIONS, written, written + RECORDS);
                written += RECORDS;
                awaitRead(topic, members.values(), written);
                for (GroupMember member : members.values()) {
                    member.commit();
                }
                members.get(name).close();
                members.put(name, staticMember(broker, group, topic, name, protocol));
                awaitShared(topic, members.values());
                boolean isConsumer = protocol.equals("consumer") || name.equals("a");
                Check.equal("type", isConsumer ? GroupType.CONSUMER : GroupType.CLASSIC,
                        describe(broker, group).type());
                broker.produceAll(topic, PARTITIONS, written, written + RECORDS);
                List<String> fresh = numbers(written, written + RECORDS);
                written += RECORDS;
                awaitOnce(topic, members.values(), fresh);
            }
        }
        closeAll(members.values());
    }

    private static GroupMember staticMember(Broker broker, String group, String topic, String name) {
        return staticMember(broker, group, topic, name, "consumer");
    }

    private static GroupMember staticMember(Broker broker, String group, String topic, String name, String protocol) {
        return member(broker, name, group, topic, Map.of(ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol,
                ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, name));
    }

    private static GroupMember member(Broker broker, String name, String group, String topic,
                                      Map<String, Object> settings) {
        return new GroupMember(name, broker.groupConsumer(group, settings), topic);
    }

    private static ConsumerGroupDescription describe(Broker broker, String group) throws Exception {
        return broker.admin().describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    private static void awaitShared(String topic, Collection<GroupMember> members) throws Exception {
        Check.eventually("members have half of the partitions each", Broker.PATIENCE, () -> {
            Set<TopicPartition> together = new HashSet<>();
            boolean even = true;
            for (GroupMember member : members) {
                together.addAll(member.assignment());
                even &= member.assignment().size() == PARTITIONS / members.size();
            }
            return even && together.equals(all(topic));
        });
    }

    /** Waits until the members together have read all of the numbers below {@code to}. */
    private static void awaitRead(String topic, Collection<GroupMember> members, int to) throws Exception {
        Check.eventually("all read up to " + to, Broker.PATIENCE, () -> all(topic).stream().allMatch(partition ->
                members.stream().anyMatch(member -> member.numbers(partition).contains("" + (to - 1)))));
    }

    /** Waits until the members together have read these numbers of each partition, each once. */
    private static void awaitOnce(String topic, Collection<GroupMember> members, List<String> numbers)
            throws Exception {
        Check.eventually("what is new is read once", Broker.PATIENCE, () -> all(topic).stream().allMatch(partition ->
                members.stream().flatMap(member -> member.numbers(partition).stream())
                        .filter(numbers::contains).toList().equals(numbers)));
    }

    private static void closeAll(Collection<GroupMember> members) throws Exception {
        for (GroupMember member : members) {
            member.close();
        }
    }

    private static List<String> numbers(int from, int to) {
        return IntStream.range(from, to).mapToObj(i -> "" + i).toList();
    }

    private static Set<TopicPartition> all(String topic) {
        return IntStream.range(0, PARTITIONS).mapToObj(i -> new TopicPartition(topic, i)).collect(Collectors.toSet());
    }
}
