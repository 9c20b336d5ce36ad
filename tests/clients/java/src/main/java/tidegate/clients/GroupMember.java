package tidegate.clients;

import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * A consumer in a group that polls on a thread of its own, as applications do, and writes down what it got and what
 * the group did to it. Anything else is done through {@link #call}, since a consumer belongs to one thread.
 */
public final class GroupMember implements AutoCloseable {
    private final KafkaConsumer<String, String> consumer;
    private final Queue<Runnable> calls = new ConcurrentLinkedQueue<>();
    private final List<ConsumerRecord<String, String>> records = new ArrayList<>();
    private final List<Event> events = new ArrayList<>();
    private final Thread thread;
    private volatile boolean closing;
    private volatile RuntimeException broken;

    public GroupMember(String name, KafkaConsumer<String, String> consumer, String topic) {
        this(name, consumer, List.of(topic));
    }

    public GroupMember(String name, KafkaConsumer<String, String> consumer, List<String> topics) {
        this(name, consumer, listener -> consumer.subscribe(topics, listener));
    }

    public GroupMember(String name, KafkaConsumer<String, String> consumer, SubscriptionPattern pattern) {
        this(name, consumer, listener -> consumer.subscribe(pattern, listener));
    }

    private GroupMember(String name, KafkaConsumer<String, String> consumer, Subscription subscription) {
        this.consumer = consumer;
        this.thread = new Thread(() -> run(subscription), name);
        this.thread.setDaemon(true);
        this.thread.start();
    }

    /** Runs {@code task} between two polls and gives back its result. */
    public <T> T call(Callable<T> task) throws Exception {
        CompletableFuture<T> result = new CompletableFuture<>();
        calls.add(() -> {
            try {
                result.complete(task.call());
            } catch (Exception e) {
                result.completeExceptionally(e);
            }
        });
        try {
            return result.get(Broker.PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        }
    }

    /** Commits all that was read. */
    public void commit() throws Exception {
        call(() -> {
            consumer.commitSync();
            return null;
        });
    }

    public void commit(Map<TopicPartition, OffsetAndMetadata> offsets) throws Exception {
        call(() -> {
            consumer.commitSync(offsets);
            return null;
        });
    }

    /** Whether all that its partitions hold has been read. */
    public boolean caughtUp() throws Exception {
        return call(() -> consumer.endOffsets(consumer.assignment()).entrySet().stream()
                .allMatch(end -> consumer.position(end.getKey()) == end.getValue()));
    }

    public Set<TopicPartition> assignment() throws Exception {
        return call(() -> Set.copyOf(consumer.assignment()));
    }

    public int generation() throws Exception {
        return call(() -> consumer.groupMetadata().generationId());
    }

    public String memberId() throws Exception {
        return call(() -> consumer.groupMetadata().memberId());
    }

    /** Leaves, and reads these topics from now on. */
    public void resubscribe(List<String> topics) throws Exception {
        call(() -> {
            consumer.unsubscribe();
            consumer.subscribe(topics, new Listener());
            return null;
        });
    }

    public void resubscribe(SubscriptionPattern pattern) throws Exception {
        call(() -> {
            consumer.unsubscribe();
            consumer.subscribe(pattern, new Listener());
            return null;
        });
    }

    /** The values read from a partition so far. */
    public List<String> numbers(TopicPartition partition) {
        return records().stream()
                .filter(record -> record.topic().equals(partition.topic()))
                .filter(record -> record.partition() == partition.partition())
                .map(ConsumerRecord::value).toList();
    }

    /** Waits until the member ends by an exception, and tells which. */
    public Class<?> awaitDeath() throws Exception {
        thread.join(Broker.PATIENCE.toMillis());
        Check.that(thread.getName() + " ends by an exception", broken != null);
        return broken.getClass();
    }

    /** All records so far. */
    public List<ConsumerRecord<String, String>> records() {
        synchronized (records) {
            checkAlive();
            return List.copyOf(records);
        }
    }

    /** All that the rebalance listener was told so far. */
    public List<Event> events() {
        synchronized (records) {
            checkAlive();
            return List.copyOf(events);
        }
    }

    /** Leaves the group in order; a static member only stops. */
    @Override
    public void close() throws InterruptedException {
        closing = true;
        thread.join(Broker.PATIENCE.toMillis());
        Check.that(thread.getName() + " closes", !thread.isAlive());
        checkAlive();
    }

    private void run(Subscription subscription) {
        try (consumer) {
            subscription.start(new Listener());
            while (!closing) {
                poll();
                for (Runnable call = calls.poll(); call != null; call = calls.poll()) {
                    call.run();
                }
            }
        } catch (RuntimeException e) {
            broken = e;
        }
    }

    private void poll() {
        try {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(50))) {
                synchronized (records) {
                    records.add(record);
                }
            }
        } catch (RetriableException e) {
            // The broker is away, or the group is between two generations: polling goes on, as it does in applications.
        }
    }

    private void note(Event.Kind kind, Collection<TopicPartition> partitions) {
        synchronized (records) {
            events.add(new Event(kind, Set.copyOf(partitions)));
        }
    }

    private void checkAlive() {
        if (broken != null) {
            throw new IllegalStateException(thread.getName() + " died", broken);
        }
    }

    /** How the consumer is told what to read. */
    @FunctionalInterface
    private interface Subscription {
        void start(ConsumerRebalanceListener listener);
    }

    /** One call of the rebalance listener. */
    public record Event(Kind kind, Set<TopicPartition> partitions) {
        /** Which of its methods. */
        public enum Kind { ASSIGNED, REVOKED, LOST }
    }

    private final class Listener implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            note(Event.Kind.ASSIGNED, partitions);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            note(Event.Kind.REVOKED, partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            note(Event.Kind.LOST, partitions);
        }
    }
}
