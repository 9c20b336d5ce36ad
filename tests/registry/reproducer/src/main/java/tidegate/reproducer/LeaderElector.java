package tidegate.reproducer;

import org.apache.kafka.clients.ApiVersions;
import org.apache.kafka.clients.ClientUtils;
import org.apache.kafka.clients.CommonClientConfigs;
import org.apache.kafka.clients.GroupRebalanceConfig;
import org.apache.kafka.clients.Metadata;
import org.apache.kafka.clients.NetworkClient;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.internals.ConsumerNetworkClient;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.internals.ClusterResourceListeners;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.utils.LogContext;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;

/**
 * Elects who may write, with a group of Kafka's: the member that the assignment names leads. Runs the
 * {@link ElectorCoordinator} on a thread of its own until it is closed.
 */
final class LeaderElector implements AutoCloseable {
    private static final String CLIENT_ID = "sr-1";
    private static final int SESSION_TIMEOUT_MS = 10_000;
    private static final int HEARTBEAT_MS = 3_000;
    private static final int REBALANCE_TIMEOUT_MS = 300_000;
    private static final Duration POLL = Duration.ofMillis(500);
    private static final Duration LEAVE = Duration.ofSeconds(3);
    /** One heartbeat may have been on its way before; and an error answers a heartbeat too, but then none follows. */
    private static final int HEARTBEATS_PROVING_MEMBERSHIP = 2;

    private final Metrics metrics = new Metrics(Time.SYSTEM);
    private final ConsumerNetworkClient client;
    private final ElectorCoordinator coordinator;
    private final Thread thread;
    private volatile boolean closing;
    private volatile boolean stable;
    private volatile RuntimeException broken;

    LeaderElector(String bootstrap, String group, byte[] identity) {
        ConsumerConfig config = new ConsumerConfig(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ConsumerConfig.CLIENT_ID_CONFIG, CLIENT_ID,
                ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class,
                ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class));
        this.client = networkClient(config);
        this.coordinator = new ElectorCoordinator(new GroupRebalanceConfig(SESSION_TIMEOUT_MS, REBALANCE_TIMEOUT_MS,
                HEARTBEAT_MS, group, Optional.empty(), null,
                config.getLong(CommonClientConfigs.RETRY_BACKOFF_MS_CONFIG),
                config.getLong(CommonClientConfigs.RETRY_BACKOFF_MAX_MS_CONFIG), true), client, metrics, identity);
        this.thread = new Thread(this::run, "elector");
        this.thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    /** Waits for the end of a rebalance that made this member the leader. */
    Membership awaitLeadership(Duration timeout) throws RegistryException, InterruptedException {
        await(timeout, () -> membership() != Membership.NONE, "joining the group");
        Membership membership = membership();
        if (!membership.leads()) {
            throw new RegistryException("another member, " + membership.leaderId()
                    + ", leads the group: is another registry running?");
        }
        return membership;
    }

    /** Waits until the broker has answered heartbeats sent after this call, with the member still in its group. */
    Membership awaitHeartbeats(Duration timeout) throws RegistryException, InterruptedException {
        double wanted = heartbeats() + HEARTBEATS_PROVING_MEMBERSHIP;
        await(timeout, () -> stable && heartbeats() >= wanted, "heartbeats");
        return awaitLeadership(timeout);
    }

    Membership membership() {
        return coordinator.membership();
    }

    @Override
    public void close() throws InterruptedException {
        closing = true;
        client.wakeup();
        thread.join(LEAVE.multipliedBy(2).toMillis());
    }

    private void run() {
        try {
            while (!closing) {
                coordinator.poll(POLL);
                stable = coordinator.isStable();
            }
        } catch (WakeupException e) {
            // Only close() wakes this thread.
        } catch (RuntimeException e) {
            broken = e;
        } finally {
            coordinator.leave(LEAVE);
            Utils.closeQuietly(client, "network client");
            Utils.closeQuietly(metrics, "metrics");
        }
    }

    private void await(Duration timeout, BooleanSupplier condition, String what)
            throws RegistryException, InterruptedException {
        long endNanos = System.nanoTime() + timeout.toNanos();
        while (!condition.getAsBoolean()) {
            if (broken != null) {
                throw new RegistryException("the elector died", broken);
            }
            if (System.nanoTime() > endNanos) {
                throw new RegistryException("the elector is still waiting for " + what + " after "
                        + timeout.toMillis() + " ms");
            }
            Thread.sleep(20);
        }
    }

    /** How many heartbeats were answered, as the client's own metrics count them. */
    private double heartbeats() {
        KafkaMetric total = metrics.metric(metrics.metricName("heartbeat-total",
                ElectorCoordinator.METRICS + "-coordinator-metrics"));
        return ((Number) total.metricValue()).doubleValue();
    }

    private ConsumerNetworkClient networkClient(ConsumerConfig config) {
        LogContext log = new LogContext();
        Metadata metadata = new Metadata(
                config.getLong(CommonClientConfigs.RETRY_BACKOFF_MS_CONFIG),
                config.getLong(CommonClientConfigs.RETRY_BACKOFF_MAX_MS_CONFIG),
                config.getLong(CommonClientConfigs.METADATA_MAX_AGE_CONFIG), log, new ClusterResourceListeners());
        metadata.bootstrap(ClientUtils.parseAndValidateAddresses(config));
        NetworkClient network = ClientUtils.createNetworkClient(config, metrics, ElectorCoordinator.METRICS, log,
                new ApiVersions(), Time.SYSTEM, 100, metadata, null, null);
        return new ConsumerNetworkClient(log, network, metadata, Time.SYSTEM,
                config.getLong(CommonClientConfigs.RETRY_BACKOFF_MS_CONFIG),
                config.getInt(CommonClientConfigs.REQUEST_TIMEOUT_MS_CONFIG), HEARTBEAT_MS);
    }
}
