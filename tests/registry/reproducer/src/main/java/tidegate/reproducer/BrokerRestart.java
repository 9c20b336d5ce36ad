package tidegate.reproducer;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Runs the caller's command that kills the broker and starts it again.
 *
 * <p>Its output goes to a file, not to a pipe: the broker that it leaves running inherits what it writes to, and a
 * pipe would keep whoever reads this program's output waiting for the broker's end.
 */
final class BrokerRestart {
    private BrokerRestart() {
    }

    static void run(String command) throws RegistryException, InterruptedException {
        try {
            Path output = Files.createTempFile("restart-broker", ".log");
            try {
                int code = new ProcessBuilder("sh", "-c", command)
                        .redirectErrorStream(true).redirectOutput(output.toFile()).start().waitFor();
                if (code != 0) {
                    List<String> lines = Files.readAllLines(output);
                    throw new RegistryException("the restart command ended with code " + code
                            + (lines.isEmpty() ? "" : ": " + String.join("; ", lines)));
                }
            } finally {
                Files.delete(output);
            }
        } catch (IOException e) {
            throw new RegistryException("the restart command could not be run", e);
        }
    }
}
