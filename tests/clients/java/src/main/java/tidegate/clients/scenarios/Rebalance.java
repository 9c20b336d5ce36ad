package tidegate.clients.scenarios;

import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.GroupMember;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Members come, share, go and are replaced; what one has committed is where the next one begins. */
public final class Rebalance implements Scenario {
    private static final int PARTITIONS = 4;
    private static final int RECORDS = 10;

    @Override
    public void run(Broker broker, Options options) throws Exception {
        broker.step("range: the first member gives up all when the second joins");
        takeOver(broker, RangeAssignor.class, PARTITIONS);
        broker.step("cooperative-sticky: it gives up only what moves");
        takeOver(broker, CooperativeStickyAssignor.class, PARTITIONS / 2);
        broker.step("static members: a restart is no rebalance");
        staticRestart(broker);
    }

    private static void takeOver(Broker broker, Class<?> assignor, int givenUp) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        Map<String, Object> settings = Map.of(ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG, assignor.getName());
        produce(broker, topic, 0);
        GroupMember one = new GroupMember("one", broker.groupConsumer(group, settings), topic);
        await("one reads all", one, all(topic), 0, RECORDS);
        one.commit();

        GroupMember two = new GroupMember("two", broker.groupConsumer(group, settings), topic);
        awaitShared(one, two);
        Check.equal("partitions that the first member gave up", givenUp, revoked(one).size());
        Check.equal("generation of both", one.generation(), two.generation());
        produce(broker, topic, RECORDS);
        Set<TopicPartition> ofOne = one.assignment();
        Set<TopicPartition> ofTwo = two.assignment();
        await("one reads its own", one, ofOne, RECORDS, 2 * RECORDS);
        await("two reads its own, from what one committed", two, ofTwo, RECORDS, 2 * RECORDS);
        two.commit();

        // Less than it has read, to tell the committed offset from the position and from the end.
        int committed = RECORDS + 5;
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        ofOne.forEach(partition -> offsets.put(partition, new OffsetAndMetadata(committed)));
        one.commit(offsets);
        one.close();
        Check.eventually("two takes over", Broker.PATIENCE, () -> two.assignment().equals(all(topic)));
        produce(broker, topic, 2 * RECORDS);
        await("two reads on", two, ofTwo, RECORDS, 3 * RECORDS);
        await("two reads what it took over", two, ofOne, committed, 3 * RECORDS);
        two.close();
    }

    private static void staticRestart(Broker broker) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        produce(broker, topic, 0);
        Map<String, GroupMember> members = new HashMap<>();
        for (String name : List.of("a", "b")) {
            members.put(name, staticMember(broker, group, topic, name));
        }
        awaitShared(members.get("a"), members.get("b"));
        int written = RECORDS;
        for (String name : List.of("b", "a")) {
            GroupMember leaving = members.get(name);
            GroupMember staying = members.get(name.equals("a") ? "b" : "a");
            Check.eventually("all records read", Broker.PATIENCE, () -> leaving.caughtUp() && staying.caughtUp());
            leaving.commit();
            staying.commit();
            Set<TopicPartition> partitions = leaving.assignment();
            List<GroupMember.Event> events = staying.events();
            int generation = staying.generation();

            leaving.close();
            written += RECORDS;
            produce(broker, topic, written - RECORDS);
            GroupMember back = staticMember(broker, group, topic, name);
            members.put(name, back);
            await(name + " reads on after its restart", back, partitions, written - RECORDS, written);
            Check.equal("partitions of " + name + " after its restart", partitions, back.assignment());
            Thread.sleep(Broker.SILENCE.toMillis());
            Check.equal("what the other was told", events, staying.events());
            Check.equal("generations", List.of(generation, generation),
                    List.of(staying.generation(), back.generation()));
        }
        members.get("a").close();
        members.get("b").close();
        broker.admin().removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
        Check.equal("state of the group whose members were removed", GroupState.EMPTY,
                broker.admin().describeConsumerGroups(List.of(group)).all().get().get(group).groupState());
    }

    private static GroupMember staticMember(Broker broker, String group, String topic, String name) {
        return new GroupMember(name, broker.groupConsumer(group,
                Map.of(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, name)), topic);
    }

    private static void produce(Broker broker, String topic, int from) throws Exception {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            broker.produce(topic, partition, from, from + RECORDS);
        }
    }

    private static void awaitShared(GroupMember one, GroupMember two) throws Exception {
        Check.eventually("both members have half of the partitions, and none is shared", Broker.PATIENCE, () -> {
            Set<TopicPartition> both = new HashSet<>(one.assignment());
            both.addAll(two.assignment());
            return both.size() == PARTITIONS && one.assignment().size() == PARTITIONS / 2
                    && two.assignment().size() == PARTITIONS / 2;
        });
    }

    /** The member must get exactly these numbers of each of these partitions, from the first that it got of them. */
    private static void await(String what, GroupMember member, Set<TopicPartition> partitions, int from, int to)
            throws Exception {
        try {
            Check.eventually(what, Broker.PATIENCE, () -> partitions.stream().allMatch(partition ->
                    numbers(member, partition).contains("" + (to - 1))));
        } finally {
            for (TopicPartition partition : partitions) {
                List<String> found = numbers(member, partition);
                int before = found.indexOf("" + from);
                Check.equal(what + ", " + partition, IntStream.range(from, to).mapToObj(i -> "" + i).toList(),
                        before < 0 ? found : found.subList(before, found.size()));
            }
        }
    }

    private static List<String> numbers(GroupMember member, TopicPartition partition) {
        return member.records().stream().filter(record -> record.partition() == partition.partition())
                .map(ConsumerRecord::value).toList();
    }

    private static Set<TopicPartition> revoked(GroupMember member) {
        return member.events().stream().filter(event -> event.kind() == GroupMember.Event.Kind.REVOKED)
                .flatMap(event -> event.partitions().stream()).collect(Collectors.toSet());
    }

    private static Set<TopicPartition> all(String topic) {
        return IntStream.range(0, PARTITIONS).mapToObj(i -> new TopicPartition(topic, i)).collect(Collectors.toSet());
    }
}
