package tidegate.reproducer;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * The registry's memory: what it answers lookups from. Only the background reader fills it, never the writer, so
 * that a lookup finds exactly what came back from the broker.
 */
final class SchemaStore {
    private final Map<String, Schema> bySubjectAndVersion = new HashMap<>();
    private final Map<Integer, Schema> byId = new HashMap<>();
    private int idMax;

    synchronized void put(Schema schema) {
        bySubjectAndVersion.put(name(schema.subject(), schema.version()), schema);
        byId.put(schema.id(), schema);
        idMax = Math.max(idMax, schema.id());
    }

    synchronized Optional<Schema> find(String subject, int version) {
        return Optional.ofNullable(bySubjectAndVersion.get(name(subject, version)));
    }

    synchronized Optional<Schema> find(int id) {
        return Optional.ofNullable(byId.get(id));
    }

    /** The id for the next schema. The topic may hold those of earlier runs. */
    synchronized int nextId() {
        return idMax + 1;
    }

    synchronized int size() {
        return byId.size();
    }

    private static String name(String subject, int version) {
        return version + "/" + subject;
    }
}
