package tidegate.reproducer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What happened so far, said aloud as it happens, and summed up at the end.
 *
 * <p>A schema counts as verified only when every verification found it, and the run as good only when nothing else
 * failed either: a reader that was reset may well end up with all the schemas.
 */
final class Report {
    private final long startNanos = System.nanoTime();
    private final List<String> subjects;
    private final int verificationsWanted;
    private final List<String> failures = new ArrayList<>();
    private final Map<String, String> missing = new LinkedHashMap<>();
    private String phase = "starting";
    private int registered;
    private int verifications;
    private long resets;

    /**
     * @param subjects            all that is to be registered
     * @param verificationsWanted how often each of them is to be verified
     */
    Report(List<String> subjects, int verificationsWanted) {
        this.subjects = List.copyOf(subjects);
        this.verificationsWanted = verificationsWanted;
    }

    /** Begins a part of the run; the name is what a failure or the deadline refers to. */
    synchronized void phase(String name) {
        phase = name;
        say("== " + name);
    }

    synchronized String phase() {
        return phase;
    }

    synchronized void say(String line) {
        System.out.printf("%7.3f %s%n", (System.nanoTime() - startNanos) / 1e9, line);
    }

    synchronized void fail(String reason) {
        failures.add(phase + ": " + reason);
        say("FAILED " + reason);
    }

    /** One more schema was registered. */
    synchronized void registered() {
        registered++;
    }

    /** All that was registered has been looked up once more. */
    synchronized void verification() {
        verifications++;
    }

    /** A schema that one verification did not find; the first reason is kept. */
    synchronized void missing(String subject, String reason) {
        missing.putIfAbsent(subject, phase + ": " + reason);
    }

    synchronized void resets(long count) {
        resets += count;
    }

    /** Prints the summary; true when everything registered was verified and nothing failed. */
    synchronized boolean print() {
        say("== summary");
        if (verifications < verificationsWanted) {
            String reason = "verified " + verifications + " of " + verificationsWanted + " times";
            subjects.forEach(subject -> missing.putIfAbsent(subject, reason));
        }
        missing.forEach((subject, reason) -> say("missing " + subject + " (" + reason + ")"));
        failures.forEach(failure -> say("failure " + failure));
        int wanted = subjects.size();
        int verified = wanted - missing.size();
        System.out.printf("registered %d/%d verified %d/%d resets %d%n", registered, wanted, verified, wanted, resets);
        return registered == wanted && verified == wanted && resets == 0 && failures.isEmpty();
    }
}
