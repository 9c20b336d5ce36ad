package tidegate.clients;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.IntStream;

/**
 * The broker as scenarios see it: stock clients, names that no other run uses, and the few things that all of them
 * do. Records carry a number as their value, the same as their offset unless a scenario says otherwise, so that what
 * is read can be judged.
 */
public final class Broker implements AutoCloseable {
    /** Long enough for a busy machine; what takes longer is broken. */
    public static final Duration PATIENCE = Duration.ofSeconds(20);
    /** How long nothing must come to believe that nothing will. */
    public static final Duration SILENCE = Duration.ofSeconds(1);

    private final String bootstrap;
    private final String prefix;
    private final Admin admin;
    private int names;

    Broker(String bootstrap, String scenario) {
        this.bootstrap = bootstrap;
        this.prefix = scenario + "-" + Long.toString(System.currentTimeMillis(), 36);
        this.admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, (int) PATIENCE.toMillis(),
                AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, (int) PATIENCE.toMillis()));
    }

    /** Says what the scenario is about to do. */
    public void step(String what) {
        System.out.println("  " + what);
    }

    public Admin admin() {
        return admin;
    }

    /** A name for a topic or a group that nobody has used before. */
    public String newName() {
        return prefix + "-" + ++names;
    }

    /** For a topic whose name matters. */
    public void createTopic(String name, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
    }

    public String newTopic(int partitions) throws Exception {
        return newTopic(partitions, Map.of());
    }

    public String newTopic(int partitions, Map<String, String> configs) throws Exception {
        String topic = newName();
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        return topic;
    }

    public KafkaProducer<String, String> producer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ProducerConfig.MAX_BLOCK_MS_CONFIG, PATIENCE.toMillis(),
                ProducerConfig.LINGER_MS_CONFIG, 0));
        all.putAll(settings);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    /** A consumer without a group; {@code reset} as in {@code auto.offset.reset}. */
    public KafkaConsumer<String, String> consumer(String reset) {
        return consumer(Map.of(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, reset));
    }

    /** A consumer in a group that commits only when told to, and notices a rebalance soon. */
    public KafkaConsumer<String, String> groupConsumer(String group, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
                ConsumerConfig.GROUP_ID_CONFIG, group,
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"));
        // In the consumer protocol the broker says when.
        if (!"consumer".equals(settings.get(ConsumerConfig.GROUP_PROTOCOL_CONFIG))) {
            all.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 500);
        }
        all.putAll(settings);
        return consumer(all);
    }

    /** Writes the numbers {@code from} to {@code to}, the latter not included, each in a batch of its own. */
    public void produce(String topic, int partition, int from, int to) throws Exception {
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(topic, partition, "k" + i, "" + i)).get();
            }
        }
    }

    /** Writes the same numbers to each of the first {@code partitions}. */
    public void produceAll(String topic, int partitions, int from, int to) throws Exception {
        for (int partition = 0; partition < partitions; partition++) {
            produce(topic, partition, from, to);
        }
    }

    /** Writes the numbers in batches of {@code size}, compressed with {@code codec}. */
    public void produceBatches(String topic, int from, int to, int size, String codec) throws Exception {
        try (KafkaProducer<String, String> producer = producer(Map.of(
                ProducerConfig.COMPRESSION_TYPE_CONFIG, codec, ProducerConfig.LINGER_MS_CONFIG, 1_000))) {
            for (int i = from; i < to; i += size) {
                List<Future<?>> sent = new ArrayList<>();
                for (int j = i; j < Math.min(to, i + size); j++) {
                    sent.add(producer.send(new ProducerRecord<>(topic, 0, "k" + j, "" + j)));
                }
                producer.flush();
                for (Future<?> future : sent) {
                    future.get();
                }
            }
        }
    }

    /** Polls until {@code count} records came, and fails when they do not come or more come with them. */
    public List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        long endNanos = System.nanoTime() + PATIENCE.toNanos();
        while (records.size() < count && System.nanoTime() < endNanos) {
            consumer.poll(Duration.ofMillis(100)).forEach(records::add);
        }
        Check.equal("records read from " + consumer.assignment(), count, records.size());
        return records;
    }

    /** Polls for a while during which nothing must come. */
    public void readNothing(KafkaConsumer<String, String> consumer) {
        long endNanos = System.nanoTime() + SILENCE.toNanos();
        while (System.nanoTime() < endNanos) {
            consumer.poll(Duration.ofMillis(100)).forEach(record ->
                    Check.that("nothing to read, but record " + record.offset() + " of " + record.topic(), false));
        }
    }

    /** The records must be the numbers from {@code from} on, at the offsets of the same number. */
    public static void checkNumbers(String what, int from, List<ConsumerRecord<String, String>> records) {
        Check.equal(what + ": values", IntStream.range(from, from + records.size()).mapToObj(i -> "" + i).toList(),
                records.stream().map(ConsumerRecord::value).toList());
        Check.equal(what + ": offsets", IntStream.range(from, from + records.size()).mapToObj(i -> (long) i).toList(),
                records.stream().map(ConsumerRecord::offset).toList());
    }

    /** What the group has committed, as the admin client sees it: offset and metadata, in words. */
    public String committed(String group, TopicPartition partition) throws ExecutionException, InterruptedException {
        return Optional.ofNullable(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                .get(partition)).map(offset -> offset.offset() + " " + offset.metadata()).orElse("nothing");
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(1));
    }

    private KafkaConsumer<String, String> consumer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                // A seek waits for the fetch that is under way; at the end of a log that takes this long.
                ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG, 100,
                ConsumerConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, (int) PATIENCE.toMillis()));
        all.putAll(settings);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }
}
