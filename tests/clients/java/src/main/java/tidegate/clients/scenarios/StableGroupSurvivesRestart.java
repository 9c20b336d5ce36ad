package tidegate.clients.scenarios;

import org.apache.kafka.clients.CommonClientConfigs;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.errors.RetriableException;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.GroupMember;
import tidegate.clients.Options;
import tidegate.clients.Scenario;
import tidegate.clients.Shell;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * Two members live through a restart of the broker: nothing is skipped, and with {@code --expect-no-rebalance} they
 * do not even notice, apart from the pause. Without it a rebalance is fine, and so is what it reads twice.
 */
public final class StableGroupSurvivesRestart implements Scenario {
    private static final int PARTITIONS = 4;
    private static final int RECORDS = 10;
    private static final Duration RECOVERY = Duration.ofSeconds(45);

    private final String protocol;

    /** The members' {@code group.protocol}. */
    public StableGroupSurvivesRestart(String protocol) {
        this.protocol = protocol;
    }

    @Override
    public void run(Broker broker, Options options) throws Exception {
        String group = broker.newName();
        String topic = broker.newTopic(PARTITIONS);
        produce(broker, topic, 0);
        GroupMember one = new GroupMember("one", broker.groupConsumer(group, settings(options)), topic);
        GroupMember two = new GroupMember("two", broker.groupConsumer(group, settings(options)), topic);
        broker.step("two members share the partitions, read and commit");
        Check.eventually("both have half of the partitions", Broker.PATIENCE,
                () -> one.assignment().size() == PARTITIONS / 2 && two.assignment().size() == PARTITIONS / 2);
        awaitAll(one, two, RECORDS, Broker.PATIENCE);
        one.commit();
        two.commit();

        List<Integer> generations = List.of(one.generation(), two.generation());
        List<String> memberIds = List.of(one.memberId(), two.memberId());
        List<GroupMember.Event> events = events(one, two);
        int readBefore = numbers(one, two).size();
        broker.step("generation " + generations + ", restarting the broker");
        Shell.run(options.restartCommand().orElseThrow());

        broker.step("both read on and commit");
        produce(broker, topic, RECORDS);
        awaitAll(one, two, 2 * RECORDS, RECOVERY);
        if (options.expectNoRebalance()) {
            one.commit();
            two.commit();
            // A broker that forgot the group tells it with the next heartbeat, not at once.
            Thread.sleep(Broker.SILENCE.toMillis());
            Check.equal("generations after the restart", generations, List.of(one.generation(), two.generation()));
            Check.equal("member ids after the restart", memberIds, List.of(one.memberId(), two.memberId()));
            Check.equal("what the rebalance listeners were told", events, events(one, two));
            Check.equal("records read, each once", readBefore + PARTITIONS * RECORDS, numbers(one, two).size());
        } else {
            commitEventually(one);
            commitEventually(two);
            broker.step("generation " + List.of(one.generation(), two.generation()));
        }
        one.close();
        two.close();
    }

    /**
     * By default a client that has lost its only broker forgets all metadata (KIP-899); if the group's leader looks at
     * its subscription just then, it asks for a rebalance of its own accord. That is a race in the client which no
     * broker can win, so members that must not rebalance keep what they know.
     */
    private Map<String, Object> settings(Options options) {
        Map<String, Object> settings = new HashMap<>(Map.of(ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol));
        if (options.expectNoRebalance()) {
            settings.put(CommonClientConfigs.METADATA_RECOVERY_STRATEGY_CONFIG, "none");
        }
        return settings;
    }

    private static void produce(Broker broker, String topic, int from) throws Exception {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            broker.produce(topic, partition, from, from + RECORDS);
        }
    }

    /** Waits until both together have every record of every partition, up to {@code recordsEach}. */
    private static void awaitAll(GroupMember one, GroupMember two, int recordsEach, Duration timeout)
            throws Exception {
        Set<String> wanted = new TreeSet<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            for (int i = 0; i < recordsEach; i++) {
                wanted.add(partition + ":" + i);
            }
        }
        try {
            Check.eventually("all records read", timeout, () -> numbers(one, two).containsAll(wanted));
        } catch (Check.Failure e) {
            wanted.removeAll(numbers(one, two));
            Check.equal("records skipped", Set.of(), wanted);
        }
    }

    /** A rebalance may be going on, in which a commit is refused until it is over. */
    private static void commitEventually(GroupMember member) throws Exception {
        Check.eventually("a commit is taken", RECOVERY, () -> {
            try {
                member.commit();
                return true;
            } catch (CommitFailedException | RetriableException e) {
                return false;
            }
        });
    }

    private static List<String> numbers(GroupMember one, GroupMember two) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>(one.records());
        records.addAll(two.records());
        return records.stream().map(record -> record.partition() + ":" + record.value()).toList();
    }

    private static List<GroupMember.Event> events(GroupMember one, GroupMember two) {
        return Stream.concat(one.events().stream(), two.events().stream()).toList();
    }
}
