package tidegate.reproducer;

import java.util.ArrayList;
import java.util.List;

/**
 * Judges the offsets that the background reader sees: 0, 1, 2, … each once and in order.
 *
 * <p>This is the heart of the failure that the reproducer is for. A reader that is sent back reads everything
 * again and still fills its memory, or never gets to the end; from outside both look like a slow registry.
 *
 * <p>Compaction leaves gaps, and rightly, but only among records that were there before this run: from
 * {@code wholeFrom} on every offset must come.
 */
final class ReaderProgress {
    private final List<String> faults = new ArrayList<>();
    private long wholeFrom;
    private long next;
    private long first = -1;
    private long records;
    private long resets;
    private long compacted;

    ReaderProgress(long wholeFrom) {
        this.wholeFrom = wholeFrom;
    }

    /** The first offset from which nothing may be missing, known only after the first own write. */
    synchronized void wholeFrom(long offset) {
        wholeFrom = Math.min(wholeFrom, offset);
    }

    synchronized void sawRecord(long offset) {
        if (offset < next) {
            reset("record " + offset + " came again, expected " + next);
        } else if (offset > next) {
            skipped(offset);
        }
        if (first < 0) {
            first = offset;
        }
        records++;
        next = offset + 1;
        notifyAll();
    }

    /** Where the consumer says that it will read next: finds a reset even when no record follows it. */
    synchronized void sawPosition(long position) {
        if (position < next) {
            reset("position went from " + next + " back to " + position);
            next = position;
        }
    }

    /** Waits until the record at {@code offset} was read; false when it was not in time. */
    synchronized boolean await(long offset, long timeoutMs) throws InterruptedException {
        long endNanos = System.nanoTime() + timeoutMs * 1_000_000;
        while (next <= offset) {
            long leftMs = (endNanos - System.nanoTime()) / 1_000_000;
            if (leftMs <= 0) {
                return false;
            }
            wait(leftMs);
        }
        return true;
    }

    synchronized long next() {
        return next;
    }

    synchronized long resets() {
        return resets;
    }

    synchronized List<String> faults() {
        return List.copyOf(faults);
    }

    /** For people: {@code 0, 1, 2 … 11 (12 records), resets 0}. */
    @Override
    public synchronized String toString() {
        String range = records == 0 ? "nothing read"
                : records <= 3 || first != 0 || compacted > 0 ? first + " … " + (next - 1) : "0, 1, 2 … " + (next - 1);
        String gaps = compacted == 0 ? "" : ", " + compacted + " offsets compacted away before this run";
        return range + " (" + records + " records), resets " + resets + gaps;
    }

    private void reset(String how) {
        resets++;
        faults.add(how);
    }

    private void skipped(long offset) {
        long missed = offset - Math.max(next, wholeFrom);
        if (missed > 0) {
            faults.add("record " + offset + " came when " + next + " was expected: " + missed + " skipped");
        }
        compacted += offset - next - Math.max(missed, 0);
    }
}
