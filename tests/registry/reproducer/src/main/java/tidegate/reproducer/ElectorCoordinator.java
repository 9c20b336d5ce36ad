package tidegate.reproducer;

import org.apache.kafka.clients.GroupRebalanceConfig;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.internals.AbstractCoordinator;
import org.apache.kafka.clients.consumer.internals.ConsumerNetworkClient;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocolCollection;
import org.apache.kafka.common.message.JoinGroupResponseData.JoinGroupResponseMember;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.utils.LogContext;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Timer;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import static java.nio.charset.StandardCharsets.UTF_8;

/**
 * The group protocol of the election, over the classic group protocol of Kafka's own client: the very class that
 * Confluent's registry extends, so that the broker sees the same requests in the same order.
 *
 * <p>The protocol type is {@code sr} and what members tell each other is JSON. A broker has no business looking into
 * either; one that takes every group for a consumer group fails here.
 *
 * <p>Not safe for use by several threads: everything but the constructor belongs to the elector's thread.
 */
final class ElectorCoordinator extends AbstractCoordinator {
    static final String METRICS = "sr";
    private static final String PROTOCOL_TYPE = "sr";
    private static final String PROTOCOL = "v0";

    private final byte[] identity;
    private volatile Membership membership = Membership.NONE;

    ElectorCoordinator(GroupRebalanceConfig config, ConsumerNetworkClient client, Metrics metrics, byte[] identity) {
        super(config, new LogContext(), client, metrics, METRICS, Time.SYSTEM);
        this.identity = identity.clone();
    }

    /** Keeps the membership alive for {@code duration}: finds the coordinator, joins when needed, heartbeats. */
    void poll(Duration duration) {
        Timer timer = time.timer(duration.toMillis());
        do {
            if (coordinatorUnknown()) {
                ensureCoordinatorReady(timer);
            }
            if (rejoinNeededOrPending()) {
                ensureActiveGroup();
            }
            timer.update();
            pollHeartbeat(timer.currentTimeMs());
            long waitMs = Math.min(timer.remainingMs(), timeToNextHeartbeat(timer.currentTimeMs()));
            client.poll(time.timer(waitMs));
            timer.update();
        } while (timer.notExpired());
    }

    /** Leaves the group and waits for the answer: an orderly stop, after which no session timeout is pending. */
    void leave(Duration timeout) {
        client.disableWakeups();
        close(time.timer(timeout.toMillis()), CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
    }

    /** What the last completed rebalance gave; none while one goes on. Never waits, so any thread may ask. */
    Membership membership() {
        return membership;
    }

    /** True when the member is in the group, as far as it knows, and knows whom to send heartbeats to. */
    boolean isStable() {
        return generationIfStable() != null && !coordinatorUnknown();
    }

    @Override
    protected String protocolType() {
        return PROTOCOL_TYPE;
    }

    @Override
    protected JoinGroupRequestProtocolCollection metadata() {
        JoinGroupRequestProtocolCollection protocols = new JoinGroupRequestProtocolCollection();
        protocols.add(new JoinGroupRequestProtocol().setName(PROTOCOL).setMetadata(identity));
        return protocols;
    }

    @Override
    protected boolean onJoinPrepare(Timer timer, int generation, String memberId) {
        membership = Membership.NONE;
        return true;
    }

    /** The lowest identity leads, so that all members agree whoever is asked. */
    @Override
    protected Map<String, ByteBuffer> onLeaderElected(String leaderId, String protocol,
                                                      List<JoinGroupResponseMember> members, boolean skipAssignment) {
        JoinGroupResponseMember leader = members.stream()
                .min(Comparator.comparing(member -> new String(member.metadata(), UTF_8)))
                .orElseThrow();
        byte[] assignment = Membership.assignment(leader.memberId(), leader.metadata());
        Map<String, ByteBuffer> assignments = new HashMap<>();
        members.forEach(member -> assignments.put(member.memberId(), ByteBuffer.wrap(assignment)));
        return assignments;
    }

    @Override
    protected void onJoinComplete(int generation, String memberId, String protocol, ByteBuffer assignment) {
        byte[] bytes = new byte[assignment.remaining()];
        assignment.get(bytes);
        membership = Membership.of(generation, memberId, bytes);
    }
}
