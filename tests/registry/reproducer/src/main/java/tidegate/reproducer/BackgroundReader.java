package tidegate.reproducer;

import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * The thread that fills the registry's memory from the topic, from offset 0, for as long as the registry lives.
 *
 * <p>It has no group and commits nothing: assign and seek to the beginning, as Confluent's reader does. With
 * {@code auto.offset.reset=earliest}, as there, a broker that loses an offset sends it back without any error.
 */
final class BackgroundReader implements AutoCloseable {
    private static final Duration POLL = Duration.ofMillis(500);
    private static final Duration CLOSE = Duration.ofSeconds(2);

    private final KafkaConsumer<byte[], byte[]> consumer;
    private final TopicPartition partition;
    private final SchemaStore store;
    private final ReaderProgress progress;
    private final Thread thread;
    private volatile boolean closing;
    private volatile RuntimeException broken;

    BackgroundReader(String bootstrap, String topic, SchemaStore store, ReaderProgress progress) {
        this.store = store;
        this.progress = progress;
        this.partition = new TopicPartition(topic, 0);
        this.consumer = new KafkaConsumer<>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ConsumerConfig.CLIENT_ID_CONFIG, "KafkaStore-reader-" + topic,
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_uncommitted",
                ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, 500),
                new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.thread = new Thread(this::read, "reader");
        this.thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    /** Waits until the record at {@code offset} is in memory. */
    void await(long offset, Duration timeout) throws RegistryException, InterruptedException {
        boolean reached = progress.await(offset, timeout.toMillis());
        if (broken != null) {
            throw new RegistryException("the reader died", broken);
        }
        if (!reached) {
            throw new RegistryException("offset " + offset + " was written but not read back within "
                    + timeout.toMillis() + " ms: the reader is at " + progress.next());
        }
    }

    @Override
    public void close() throws InterruptedException {
        closing = true;
        consumer.wakeup();
        thread.join(CLOSE.multipliedBy(2).toMillis());
    }

    private void read() {
        try (consumer) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            while (!closing) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
                    remember(record);
                    progress.sawRecord(record.offset());
                }
                checkPosition();
            }
        } catch (WakeupException e) {
            // Only close() wakes this thread.
        } catch (RuntimeException e) {
            broken = e;
        }
    }

    private void remember(ConsumerRecord<byte[], byte[]> record) {
        try {
            Records.schema(record.key(), record.value()).ifPresent(store::put);
        } catch (IOException e) {
            throw new IllegalStateException("the record at offset " + record.offset() + " is not a registry's", e);
        }
    }

    private void checkPosition() {
        try {
            progress.sawPosition(consumer.position(partition, Duration.ofMillis(1)));
        } catch (TimeoutException e) {
            // No position for now: not found yet, or being validated after the leader changed. The next round tells.
        }
    }
}
