package tidegate.reproducer;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Writes the registry's records: idempotent, acks=all, and one by one, so that each is a batch of its own.
 *
 * <p>Like the registry it bounds the wait, not the producer's delivery: an idempotent producer whose batch expires
 * has to begin a new epoch, which the registry never does.
 */
final class SchemaWriter implements AutoCloseable {
    /** A producer that lost its broker may forget the topic too, and {@code send} itself then waits for metadata. */
    private static final Duration BLOCK_MAX = Registry.WRITE_TIMEOUT;

    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;
    private long last = -1;

    SchemaWriter(String bootstrap, String topic) {
        this.topic = topic;
        this.producer = new KafkaProducer<>(Map.of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ProducerConfig.ACKS_CONFIG, "all",
                ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
                ProducerConfig.LINGER_MS_CONFIG, 0,
                ProducerConfig.MAX_BLOCK_MS_CONFIG, BLOCK_MAX.toMillis()),
                new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** The offset at which the broker says that the record is. */
    long write(byte[] key, byte[] value, Duration timeout) throws RegistryException, InterruptedException {
        long offset = acknowledged(key, value, timeout);
        if (offset <= last) {
            throw new RegistryException("offset " + offset + " was acknowledged after " + last
                    + ": the log went back, records are lost");
        }
        last = offset;
        return offset;
    }

    @Override
    public void close() {
        producer.close(Duration.ofSeconds(1));
    }

    private long acknowledged(byte[] key, byte[] value, Duration timeout)
            throws RegistryException, InterruptedException {
        long endNanos = System.nanoTime() + timeout.toNanos();
        while (true) {
            long leftNanos = Math.max(0, endNanos - System.nanoTime());
            try {
                return producer.send(new ProducerRecord<>(topic, 0, key, value))
                        .get(leftNanos, TimeUnit.NANOSECONDS).offset();
            } catch (TimeoutException e) {
                throw new RegistryException("the write was not acknowledged within " + timeout.toMillis() + " ms");
            } catch (ExecutionException e) {
                // Without metadata nothing was sent, so sending again cannot write twice.
                boolean retriable = e.getCause() instanceof org.apache.kafka.common.errors.TimeoutException;
                if (!retriable || System.nanoTime() >= endNanos) {
                    throw new RegistryException("the write failed", e);
                }
            }
        }
    }
}
