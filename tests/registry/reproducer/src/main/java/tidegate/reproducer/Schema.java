package tidegate.reproducer;

/**
 * A registered schema.
 *
 * @param subject under which it is found
 * @param version within the subject
 * @param id      under which it is found too, unique in the registry
 * @param text    the Avro schema itself
 */
record Schema(String subject, int version, int id, String text) {
}
