package tidegate.reproducer;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * The story: register and verify; when asked, lose the broker and get it back under the feet of the living clients;
 * then forget everything, start afresh and verify again.
 */
final class Scenario {
    private static final Duration START_TIMEOUT = Duration.ofSeconds(30);
    /** What clients may need to find back to a broker that has just started: their backoffs, and a session. */
    private static final Duration RECOVERY_TIMEOUT = Duration.ofSeconds(40);

    /** So many in a row that fail mean that the broker is gone; the others would only take their time to fail too. */
    private static final int FAILURES_MAX = 5;

    private final Options options;
    private final List<String> subjects;
    private final Report report;
    private final List<Schema> registered = new ArrayList<>();
    private long wholeFrom = Long.MAX_VALUE;

    Scenario(Options options, List<String> subjects, Report report) {
        this.options = options;
        this.subjects = subjects;
        this.report = report;
    }

    /** Names for the schemas of this run that no other run on the same topic has used. */
    static List<String> subjects(int count) {
        String runId = "run" + Long.toString(System.currentTimeMillis(), 36);
        return IntStream.rangeClosed(1, count).mapToObj(i -> runId + "-s-" + i).toList();
    }

    /** How often {@link #run} verifies each schema: once in each life, and once after the restart of the broker. */
    static int verifications(Options options) {
        return options.restartBroker().isPresent() ? 3 : 2;
    }

    void run() throws RegistryException, InterruptedException {
        live("start", registry -> {
            registerAll(registry);
            report.phase("verify what is in memory");
            verify(registry);
            if (options.restartBroker().isPresent()) {
                survive(registry, options.restartBroker().get());
            }
        });
        if (!registered.isEmpty()) {
            live("start afresh, with empty memory", registry -> {
                report.phase("verify what was read from offset 0");
                verify(registry);
            });
        }
    }

    private void live(String phase, Life life) throws InterruptedException {
        report.phase(phase);
        Registry registry = new Registry(options, report, wholeFrom, START_TIMEOUT);
        try {
            wholeFrom = Math.min(wholeFrom, registry.start());
            life.live(registry);
        } catch (RegistryException e) {
            report.fail(e.getMessage());
        }
        report.phase("stop");
        registry.close();
        judge(registry.progress());
    }

    private void registerAll(Registry registry) throws InterruptedException {
        report.phase("register " + subjects.size());
        long slowestNanos = 0;
        int failuresInRow = 0;
        for (String subject : subjects) {
            if (failuresInRow == FAILURES_MAX) {
                report.missing(subject, "not registered: not tried after " + FAILURES_MAX + " failures in a row");
                continue;
            }
            long startNanos = System.nanoTime();
            try {
                registered.add(registry.register(subject, text(subject)));
                report.registered();
                failuresInRow = 0;
            } catch (RegistryException e) {
                report.say("FAILED to register " + subject + ": " + e.getMessage());
                report.missing(subject, "not registered: " + e.getMessage());
                failuresInRow++;
            }
            slowestNanos = Math.max(slowestNanos, System.nanoTime() - startNanos);
        }
        report.say(String.format("registered %d/%d, slowest write and read-back %.1f ms",
                registered.size(), subjects.size(), slowestNanos / 1e6));
    }

    private void verify(Registry registry) {
        int found = 0;
        for (Schema schema : registered) {
            Optional<String> complaint = registry.complaint(schema);
            complaint.ifPresent(reason -> report.missing(schema.subject(), reason));
            found += complaint.isEmpty() ? 1 : 0;
        }
        report.verification();
        report.say("verified " + found + "/" + subjects.size() + ", reader at " + registry.progress());
    }

    /** The clients that live through the restart must find back by themselves, each to where it was. */
    private void survive(Registry registry, String command) throws RegistryException, InterruptedException {
        report.phase("restart the broker");
        int generation = registry.elector().membership().generation();
        long next = registry.progress().next();
        BrokerRestart.run(command);
        report.say("the restart command is done, the reader is at " + next);

        report.phase("verify with the clients that lived through the restart");
        long offset = registry.catchUp(RECOVERY_TIMEOUT);
        report.say("writer and reader go on at offset " + offset);
        Membership membership = registry.elector().awaitHeartbeats(RECOVERY_TIMEOUT);
        report.say(membership.generation() == generation
                ? "elector goes on in generation " + generation
                : "elector joined again, generation " + generation + " became " + membership.generation());
        verify(registry);
    }

    private void judge(ReaderProgress progress) {
        report.say("reader progress: " + progress);
        progress.faults().forEach(report::fail);
        report.resets(progress.resets());
    }

    /** An Avro record, unlike all others, so that a mixed-up answer shows. */
    private static String text(String subject) {
        return "{\"type\":\"record\",\"name\":\"R\",\"doc\":\"" + subject
                + "\",\"fields\":[{\"name\":\"f\",\"type\":\"string\"}]}";
    }

    /** What a started registry does before it is stopped. */
    private interface Life {
        void live(Registry registry) throws RegistryException, InterruptedException;
    }
}
