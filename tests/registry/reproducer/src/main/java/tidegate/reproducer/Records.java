package tidegate.reproducer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.io.IOException;
import java.util.Optional;

/** The registry's records as bytes: JSON, with the names and the order of names that Confluent's registry writes. */
final class Records {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Records() {
    }

    /** The key of the record, with a null value, whose only purpose is to learn where the log ends. */
    static byte[] noopKey() {
        return bytes(JSON.createObjectNode().put("keytype", "NOOP").put("magic", 0));
    }

    static byte[] key(Schema schema) {
        return bytes(JSON.createObjectNode().put("keytype", "SCHEMA").put("subject", schema.subject())
                .put("version", schema.version()).put("magic", 1));
    }

    static byte[] value(Schema schema) {
        return bytes(JSON.createObjectNode().put("subject", schema.subject()).put("version", schema.version())
                .put("id", schema.id()).put("schema", schema.text()).put("deleted", false));
    }

    /** The schema in a record, or nothing when the record holds none: a NOOP, a setting, a tombstone. */
    static Optional<Schema> schema(byte[] key, byte[] value) throws IOException {
        if (key == null || value == null || !JSON.readTree(key).path("keytype").asText().equals("SCHEMA")) {
            return Optional.empty();
        }
        JsonNode node = JSON.readTree(value);
        return Optional.of(new Schema(node.path("subject").asText(), node.path("version").asInt(),
                node.path("id").asInt(), node.path("schema").asText()));
    }

    static byte[] bytes(ObjectNode node) {
        try {
            return JSON.writeValueAsBytes(node);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a tree always has a JSON form", e);
        }
    }

    static ObjectNode object() {
        return JSON.createObjectNode();
    }

    static JsonNode tree(byte[] json) throws IOException {
        return JSON.readTree(json);
    }
}
