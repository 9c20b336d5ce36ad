package tidegate.clients;

import tidegate.clients.scenarios.Admin;
import tidegate.clients.scenarios.ConsumerGroupPersistenceCheck;
import tidegate.clients.scenarios.ConsumerGroupPersistencePrepare;
import tidegate.clients.scenarios.ConsumerOffsetCommitAndFetch;
import tidegate.clients.scenarios.ConsumerProtocol;
import tidegate.clients.scenarios.FetchFromOffset;
import tidegate.clients.scenarios.IdempotentProducer;
import tidegate.clients.scenarios.OffsetReset;
import tidegate.clients.scenarios.Rebalance;
import tidegate.clients.scenarios.StableGroupSurvivesRestart;
import tidegate.clients.scenarios.TransactionalRefused;

import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;

/**
 * Runs one scenario of stock Java clients against a broker. Prints {@code ok SCENARIO} and ends with 0, or says what
 * went wrong and ends with 1; 2 means that the command line is wrong.
 */
public final class Main {
    private static final int OK = 0;
    private static final int FAILED = 1;
    private static final int WRONG_USAGE = 2;

    private static final Map<String, Scenario> SCENARIOS = new TreeMap<>(Map.ofEntries(
            Map.entry("admin", new Admin()),
            Map.entry("consumer_group_persistence_check", new ConsumerGroupPersistenceCheck()),
            Map.entry("consumer_group_persistence_prepare", new ConsumerGroupPersistencePrepare()),
            Map.entry("consumer_offset_commit_and_fetch", new ConsumerOffsetCommitAndFetch()),
            Map.entry("consumer_protocol", new ConsumerProtocol()),
            Map.entry("fetch_from_offset", new FetchFromOffset()),
            Map.entry("idempotent_producer", new IdempotentProducer()),
            Map.entry("offset_reset", new OffsetReset()),
            Map.entry("rebalance", new Rebalance()),
            Map.entry("stable_group_survives_restart", new StableGroupSurvivesRestart("classic")),
            Map.entry("stable_group_survives_restart_consumer", new StableGroupSurvivesRestart("consumer")),
            Map.entry("transactional_refused", new TransactionalRefused())));

    private Main() {
    }

    public static void main(String[] args) {
        Options options;
        try {
            options = Options.parse(args, SCENARIOS.keySet());
        } catch (Options.UsageException e) {
            System.err.println(e.getMessage());
            System.err.println(Options.usage(SCENARIOS.keySet()));
            System.exit(WRONG_USAGE);
            return;
        }
        endAfter(options.deadline(), options.scenario());
        try (Broker broker = new Broker(options.bootstrap(), options.scenario())) {
            SCENARIOS.get(options.scenario()).run(broker, options);
            end(OK, "ok " + options.scenario());
        } catch (Check.Failure e) {
            end(FAILED, "failed " + options.scenario() + ": " + e.getMessage());
        } catch (Exception e) {
            e.printStackTrace();
            end(FAILED, "failed " + options.scenario() + ": unexpected " + e);
        }
    }

    /** A scenario that hangs has failed, and its caller should not have to wait to learn it. */
    private static void endAfter(Duration deadline, String scenario) {
        Thread main = Thread.currentThread();
        Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(deadline.toMillis());
            } catch (InterruptedException e) {
                return;
            }
            for (StackTraceElement frame : main.getStackTrace()) {
                System.err.println("  at " + frame);
            }
            end(FAILED, "failed " + scenario + ": not done after " + deadline.toSeconds() + " s");
        }, "deadline");
        watchdog.setDaemon(true);
        watchdog.start();
    }

    /** Halts rather than exits: members that still poll, and a restart command that never came back, end here. */
    private static synchronized void end(int code, String line) {
        System.out.println(line);
        System.out.flush();
        System.err.flush();
        ProcessHandle.current().descendants().forEach(ProcessHandle::destroyForcibly);
        Runtime.getRuntime().halt(code);
    }
}
