package tidegate.reproducer;

import java.time.Duration;
import java.util.Optional;

/**
 * The command line.
 *
 * @param bootstrap     where the broker listens, {@code HOST:PORT}
 * @param schemas       how many schemas to register and verify
 * @param topic         where the registry keeps them
 * @param group         the group in which the registry elects its leader
 * @param restartBroker a shell command that kills the broker and starts it again, on the same port and data
 * @param deadline      the whole run is over by then
 */
record Options(String bootstrap, int schemas, String topic, String group, Optional<String> restartBroker,
               Duration deadline) {

    static final String USAGE = """
            usage: schema-registry-reproducer --bootstrap HOST:PORT [options]
              --schemas N                how many schemas to register and verify (10)
              --topic NAME               the registry's topic (_schemas)
              --group NAME               the registry's group (schema-registry)
              --restart-broker COMMAND   run by sh between registration and the second verification: kills the
                                         broker with -9 and starts it again on the same port and data
              --deadline SECONDS         end with exit code 1 when not done by then (120)
            exit code: 0 everything registered was verified, 1 it was not, 2 wrong usage""";

    static Options parse(String[] args) throws UsageException {
        String bootstrap = null;
        int schemas = 10;
        String topic = "_schemas";
        String group = "schema-registry";
        Optional<String> restartBroker = Optional.empty();
        Duration deadline = Duration.ofSeconds(120);
        for (int i = 0; i < args.length; i += 2) {
            String name = args[i];
            if (i + 1 == args.length) {
                throw new UsageException(name.startsWith("--") ? name + " needs a value" : "unexpected: " + name);
            }
            String value = args[i + 1];
            switch (name) {
                case "--bootstrap" -> bootstrap = value;
                case "--schemas" -> schemas = positive(name, value);
                case "--topic" -> topic = value;
                case "--group" -> group = value;
                case "--restart-broker" -> restartBroker = Optional.of(value);
                case "--deadline" -> deadline = Duration.ofSeconds(positive(name, value));
                default -> throw new UsageException("unknown option " + name);
            }
        }
        if (bootstrap == null) {
            throw new UsageException("--bootstrap is missing");
        }
        if (!bootstrap.matches(".+:\\d{1,5}")) {
            throw new UsageException("--bootstrap wants HOST:PORT, not " + bootstrap);
        }
        return new Options(bootstrap, schemas, topic, group, restartBroker, deadline);
    }

    private static int positive(String name, String value) throws UsageException {
        try {
            int number = Integer.parseInt(value);
            if (number > 0) {
                return number;
            }
        } catch (NumberFormatException e) {
            // Said below, in the same words.
        }
        throw new UsageException(name + " wants a positive number, not " + value);
    }

    /** What the user typed cannot be run. */
    static final class UsageException extends Exception {
        private static final long serialVersionUID = 1;

        UsageException(String message) {
            super(message);
        }
    }
}
