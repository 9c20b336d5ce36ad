package tidegate.reproducer;

import java.time.Duration;
import java.util.Optional;

/**
 * One life of a registry: from an empty memory to an orderly stop. What one life knows and the next does not is what
 * the broker has lost.
 */
final class Registry implements AutoCloseable {
    /** The registry's own bound, once for the write and once for reading it back; its users see an error beyond it. */
    static final Duration WRITE_TIMEOUT = Duration.ofMillis(500);
    private static final String HOST = "127.0.0.1";
    private static final int PORT = 8081;

    private final Report report;
    private final SchemasTopic topic;
    private final SchemaStore store = new SchemaStore();
    private final ReaderProgress progress;
    private final BackgroundReader reader;
    private final SchemaWriter writer;
    private final LeaderElector elector;
    private final Duration timeout;

    /**
     * @param wholeFrom the first offset of this run when it is known, {@code Long.MAX_VALUE} when not
     * @param timeout   bounds each step of the start
     */
    Registry(Options options, Report report, long wholeFrom, Duration timeout) {
        this.report = report;
        this.timeout = timeout;
        this.topic = new SchemasTopic(options.bootstrap(), options.topic(), timeout);
        this.progress = new ReaderProgress(wholeFrom);
        this.reader = new BackgroundReader(options.bootstrap(), options.topic(), store, progress);
        this.writer = new SchemaWriter(options.bootstrap(), options.topic());
        this.elector = new LeaderElector(options.bootstrap(), options.group(), Membership.identity(HOST, PORT));
    }

    /** Starts in the registry's order and returns the first offset that this run wrote, or 0 for a new topic. */
    long start() throws RegistryException, InterruptedException {
        report.say("cluster id " + topic.clusterId());
        boolean created = topic.createOrVerify();
        report.say(created ? "topic created: 1 partition, compact" : "topic verified: 1 partition, compact");
        reader.start();
        long noop = catchUp(timeout);
        long wholeFrom = created ? 0 : noop;
        progress.wholeFrom(wholeFrom);
        report.say("caught up with offset " + noop + ", " + store.size() + " schemas in memory");

        elector.start();
        Membership membership = elector.awaitLeadership(timeout);
        long second = catchUp(timeout);
        report.say("leading the group in generation " + membership.generation() + ", caught up with offset " + second);
        return wholeFrom;
    }

    /** Writes a NOOP and waits until the reader is there: then memory holds all that was written before. */
    long catchUp(Duration limit) throws RegistryException, InterruptedException {
        long offset = writer.write(Records.noopKey(), null, limit);
        reader.await(offset, limit);
        return offset;
    }

    /** Registers a new schema, as version 1 of its subject, and returns it with its id. */
    Schema register(String subject, String text) throws RegistryException, InterruptedException {
        Schema schema = new Schema(subject, 1, store.nextId(), text);
        long offset = writer.write(Records.key(schema), Records.value(schema), WRITE_TIMEOUT);
        reader.await(offset, WRITE_TIMEOUT);
        return schema;
    }

    /** Why a lookup, by subject and by id, does not give back what was registered; nothing when it does. */
    Optional<String> complaint(Schema schema) {
        Optional<Schema> bySubject = store.find(schema.subject(), schema.version());
        if (bySubject.isEmpty()) {
            return Optional.of("not found by subject");
        }
        if (!bySubject.get().equals(schema)) {
            return Optional.of("registered as " + schema + ", found " + bySubject.get());
        }
        return store.find(schema.id()).filter(schema::equals).isPresent() ? Optional.empty()
                : Optional.of("not found by id " + schema.id());
    }

    LeaderElector elector() {
        return elector;
    }

    ReaderProgress progress() {
        return progress;
    }

    /** An orderly stop; nothing of the memory outlives it. */
    @Override
    public void close() throws InterruptedException {
        elector.close();
        reader.close();
        writer.close();
        topic.close();
    }
}
