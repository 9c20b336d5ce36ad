package tidegate.clients;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.Optional;

/**
 * The command line.
 *
 * @param bootstrap         where the broker listens, {@code HOST:PORT}
 * @param scenario          what to run
 * @param state             the file through which one scenario tells a later one what it did
 * @param restartCommand    a shell command that kills the broker and starts it again
 * @param expectNoRebalance whether a group must go on in its generation across the restart
 * @param deadline          the whole run is over by then
 */
public record Options(String bootstrap, String scenario, Optional<Path> state, Optional<String> restartCommand,
                      boolean expectNoRebalance, Duration deadline) {

    public static String usage(Collection<String> scenarios) {
        return """
                usage: java-clients --bootstrap HOST:PORT SCENARIO [options]
                  --state FILE            what consumer_group_persistence_prepare leaves for ..._check
                  --restart-command CMD   run by sh in stable_group_survives_restart: kills the broker and starts it
                                          again on the same port and data
                  --expect-no-rebalance   there: the group must go on in the same generation
                  --deadline SECONDS      end with exit code 1 when not done by then (120)
                scenarios: """ + " " + String.join(", ", scenarios);
    }

    static Options parse(String[] args, Collection<String> scenarios) throws UsageException {
        String bootstrap = null;
        String scenario = null;
        Optional<Path> state = Optional.empty();
        Optional<String> restartCommand = Optional.empty();
        boolean expectNoRebalance = false;
        Duration deadline = Duration.ofSeconds(120);
        for (int i = 0; i < args.length; i++) {
            switch (args[i]) {
                case "--bootstrap" -> bootstrap = value(args, i++);
                case "--state" -> state = Optional.of(Path.of(value(args, i++)));
                case "--restart-command" -> restartCommand = Optional.of(value(args, i++));
                case "--expect-no-rebalance" -> expectNoRebalance = true;
                case "--deadline" -> deadline = seconds(value(args, i++));
                default -> {
                    if (scenario != null || !scenarios.contains(args[i])) {
                        throw new UsageException("unknown: " + args[i]);
                    }
                    scenario = args[i];
                }
            }
        }
        if (bootstrap == null || scenario == null) {
            throw new UsageException((bootstrap == null ? "--bootstrap" : "the scenario") + " is missing");
        }
        if (scenario.startsWith("consumer_group_persistence_") && state.isEmpty()) {
            throw new UsageException(scenario + " needs --state");
        }
        if (scenario.startsWith("stable_group_survives_restart") && restartCommand.isEmpty()) {
            throw new UsageException(scenario + " needs --restart-command");
        }
        return new Options(bootstrap, scenario, state, restartCommand, expectNoRebalance, deadline);
    }

    private static String value(String[] args, int i) throws UsageException {
        if (i + 1 == args.length) {
            throw new UsageException(args[i] + " needs a value");
        }
        return args[i + 1];
    }

    private static Duration seconds(String value) throws UsageException {
        if (!value.matches("[1-9]\\d{0,5}")) {
            throw new UsageException("--deadline wants seconds, not " + value);
        }
        return Duration.ofSeconds(Long.parseLong(value));
    }

    /** What the user typed cannot be run. */
    static final class UsageException extends Exception {
        private static final long serialVersionUID = 1;

        UsageException(String message) {
            super(message);
        }
    }
}
