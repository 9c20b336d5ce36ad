package tidegate.clients;

import java.io.IOException;
import java.io.Reader;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;

/** What one process consumed and committed, for another that checks it after the broker was restarted. */
public final class StateFile {
    private final Properties properties = new Properties();

    public static StateFile load(Path file) throws IOException {
        StateFile state = new StateFile();
        try (Reader reader = Files.newBufferedReader(file)) {
            state.properties.load(reader);
        }
        return state;
    }

    public void save(Path file) throws IOException {
        try (Writer writer = Files.newBufferedWriter(file)) {
            properties.store(writer, null);
        }
    }

    public StateFile set(String name, Object value) {
        properties.setProperty(name, value.toString());
        return this;
    }

    public String get(String name) {
        String value = properties.getProperty(name);
        Check.that("the state file has " + name, value != null);
        return value;
    }

    public int number(String name) {
        return Integer.parseInt(get(name));
    }
}
