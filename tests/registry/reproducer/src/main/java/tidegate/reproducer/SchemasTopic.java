package tidegate.reproducer;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.TopicExistsException;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Creates the registry's topic, or verifies the one that exists.
 *
 * <p>The registry refuses to start on a topic that is not exactly compacted, and rightly: with any other policy its
 * schemas would one day be deleted. A broker that auto-created the topic for a Metadata request, or that leaves
 * {@code cleanup.policy} out of its answer, fails here.
 */
final class SchemasTopic implements AutoCloseable {
    private static final int REPLICAS_MAX = 3;

    private final Admin admin;
    private final String name;
    private final Duration timeout;

    SchemasTopic(String bootstrap, String name, Duration timeout) {
        this.admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap));
        this.name = name;
        this.timeout = timeout;
    }

    String clusterId() throws RegistryException, InterruptedException {
        String id = answer("DescribeCluster", admin.describeCluster().clusterId());
        if (id == null || id.isEmpty()) {
            throw new RegistryException("DescribeCluster gave no cluster id");
        }
        return id;
    }

    /** True when the topic was created now, false when it was there and is as it must be. */
    boolean createOrVerify() throws RegistryException, InterruptedException {
        if (answer("listing topics", admin.listTopics().names()).contains(name) || !create()) {
            verify();
            return false;
        }
        return true;
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(1));
    }

    /** False when another instance was faster. */
    private boolean create() throws RegistryException, InterruptedException {
        DescribeClusterResult cluster = admin.describeCluster();
        int brokers = answer("DescribeCluster", cluster.nodes()).size();
        NewTopic topic = new NewTopic(name, 1, (short) Math.min(brokers, REPLICAS_MAX))
                .configs(Map.of(TopicConfig.CLEANUP_POLICY_CONFIG, TopicConfig.CLEANUP_POLICY_COMPACT));
        try {
            answer("creating " + name, admin.createTopics(List.of(topic)).all());
            return true;
        } catch (RegistryException e) {
            if (e.getCause() != null && e.getCause().getCause() instanceof TopicExistsException) {
                return false;
            }
            throw e;
        }
    }

    private void verify() throws RegistryException, InterruptedException {
        int partitions = answer("describing " + name, admin.describeTopics(List.of(name)).allTopicNames())
                .get(name).partitions().size();
        if (partitions != 1) {
            throw new RegistryException("topic " + name + " has " + partitions + " partitions and must have 1");
        }
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        Config config = answer("describing the settings of " + name,
                admin.describeConfigs(List.of(resource)).all()).get(resource);
        ConfigEntry policy = config.get(TopicConfig.CLEANUP_POLICY_CONFIG);
        String found = policy == null ? "missing from the answer" : policy.value();
        if (!TopicConfig.CLEANUP_POLICY_COMPACT.equals(found)) {
            throw new RegistryException("cleanup.policy of topic " + name + " is " + found
                    + " and must be exactly compact");
        }
    }

    private <T> T answer(String what, KafkaFuture<T> future) throws RegistryException, InterruptedException {
        try {
            return future.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            throw new RegistryException(what + " has no answer after " + timeout.toMillis() + " ms");
        } catch (ExecutionException e) {
            throw new RegistryException(what + " failed", e);
        }
    }
}
