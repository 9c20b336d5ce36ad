package tidegate.clients;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Runs a caller's command. Its output goes to a file: a broker that it leaves running would hold a pipe open. */
public final class Shell {
    private Shell() {
    }

    public static void run(String command) throws IOException, InterruptedException {
        Path output = Files.createTempFile("command", ".log");
        try {
            int code = new ProcessBuilder("sh", "-c", command)
                    .redirectErrorStream(true).redirectOutput(output.toFile()).start().waitFor();
            Check.that("`" + command + "` ended with code " + code + " " + Files.readAllLines(output), code == 0);
        } finally {
            Files.delete(output);
        }
    }
}
