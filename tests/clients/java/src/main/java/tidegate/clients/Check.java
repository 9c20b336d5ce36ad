package tidegate.clients;

import org.apache.kafka.common.KafkaFuture;

import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.ExecutionException;

/** What a scenario claims. A claim that does not hold ends it, with a message that says which and what was found. */
public final class Check {
    private Check() {
    }

    public static void that(String claim, boolean holds) {
        if (!holds) {
            throw new Failure(claim + ": not so");
        }
    }

    public static void equal(String what, Object expected, Object found) {
        if (!Objects.equals(expected, found)) {
            throw new Failure(what + ": expected " + expected + ", found " + found);
        }
    }

    /** The action must fail with exactly this kind of error, bare or as the cause of a future's failure. */
    public static <E extends Throwable> E fails(String what, Class<E> kind, Action action) throws Exception {
        try {
            action.run();
        } catch (Failure e) {
            throw e;
        } catch (Exception e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            if (cause.getClass() == kind) {
                return kind.cast(cause);
            }
            throw new Failure(what + ": expected " + kind.getSimpleName() + ", found " + cause, e);
        }
        throw new Failure(what + ": expected " + kind.getSimpleName() + ", but it succeeded");
    }

    /** As above, for what an admin client answers. */
    public static <E extends Throwable> E fails(String what, Class<E> kind, KafkaFuture<?> future) throws Exception {
        return fails(what, kind, () -> future.get());
    }

    /** The claim may take a while to become true, but not longer than {@code timeout}. */
    public static void eventually(String claim, Duration timeout, Condition condition) throws Exception {
        long endNanos = System.nanoTime() + timeout.toNanos();
        while (!condition.holds()) {
            if (System.nanoTime() > endNanos) {
                throw new Failure(claim + ": not so after " + timeout.toMillis() + " ms");
            }
            Thread.sleep(20);
        }
    }

    /** Something that may fail. */
    @FunctionalInterface
    public interface Action {
        void run() throws Exception;
    }

    /** Something that becomes true. */
    @FunctionalInterface
    public interface Condition {
        boolean holds() throws Exception;
    }

    /** A claim that did not hold. */
    public static final class Failure extends RuntimeException {
        private static final long serialVersionUID = 1;

        Failure(String message) {
            super(message);
        }

        Failure(String message, Throwable cause) {
            super(message, cause);
        }
    }
}
