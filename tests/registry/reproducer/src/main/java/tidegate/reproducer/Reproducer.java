package tidegate.reproducer;

import java.time.Duration;
import java.util.List;

/**
 * Does to a broker what Confluent's Schema Registry does, and checks that nothing it was told is lost.
 *
 * <p>It exists because of one failure: a registry registered 10 of 10 schemas and then found 0 of 10, since its
 * background reader never advanced. A test that only produces and consumes does not see that; this one lives
 * the registry's life, including its restart with empty memory.
 *
 * <p>Exit code 0: everything registered was verified. 1: it was not. 2: wrong usage.
 */
public final class Reproducer {
    private static final int VERIFIED = 0;
    private static final int FAILED = 1;
    private static final int WRONG_USAGE = 2;

    private Reproducer() {
    }

    public static void main(String[] args) {
        if (List.of(args).contains("--help")) {
            System.out.println(Options.USAGE);
            System.exit(VERIFIED);
        }
        Options options;
        try {
            options = Options.parse(args);
        } catch (Options.UsageException e) {
            System.err.println(e.getMessage());
            System.err.println(Options.USAGE);
            System.exit(WRONG_USAGE);
            return;
        }

        List<String> subjects = Scenario.subjects(options.schemas());
        Report report = new Report(subjects, Scenario.verifications(options));
        endAfter(options.deadline(), report);
        try {
            new Scenario(options, subjects, report).run();
        } catch (RegistryException e) {
            report.fail(e.getMessage());
        } catch (InterruptedException e) {
            report.fail("interrupted");
        } catch (RuntimeException e) {
            e.printStackTrace();
            report.fail("unexpected: " + e);
        }
        end(report);
    }

    /**
     * A registry that hangs is as broken as one that fails, and a caller should learn of it in the same way: some
     * of what is called here (closing clients, joining threads) has no timeout that covers every case.
     */
    private static void endAfter(Duration deadline, Report report) {
        Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(deadline.toMillis());
            } catch (InterruptedException e) {
                return;
            }
            report.fail("not done after " + deadline.toSeconds() + " s, ended while: " + report.phase());
            end(report);
        }, "deadline");
        watchdog.setDaemon(true);
        watchdog.start();
    }

    /**
     * Halts rather than exits: a hanging shutdown hook must not decide. All that is left to clean up is a restart
     * command that never came back.
     */
    private static synchronized void end(Report report) {
        boolean verified = report.print();
        ProcessHandle.current().descendants().forEach(ProcessHandle::destroyForcibly);
        System.out.flush();
        System.err.flush();
        Runtime.getRuntime().halt(verified ? VERIFIED : FAILED);
    }
}
