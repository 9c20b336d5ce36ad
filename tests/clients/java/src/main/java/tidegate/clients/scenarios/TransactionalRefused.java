package tidegate.clients.scenarios;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.errors.TransactionalIdAuthorizationException;
import tidegate.clients.Broker;
import tidegate.clients.Check;
import tidegate.clients.Options;
import tidegate.clients.Scenario;

import java.time.Duration;
import java.util.Map;

/**
 * A gateway without transactions says so at once, rather than leaving the application to wait for
 * {@code max.block.ms}. Kafka has transactions, so there this scenario fails, as it should.
 */
public final class TransactionalRefused implements Scenario {
    private static final Duration AT_ONCE = Duration.ofSeconds(5);

    @Override
    public void run(Broker broker, Options options) throws Exception {
        try (KafkaProducer<String, String> producer = broker.producer(
                Map.of(ProducerConfig.TRANSACTIONAL_ID_CONFIG, broker.newName()))) {
            long startNanos = System.nanoTime();
            Check.fails("initTransactions", TransactionalIdAuthorizationException.class, producer::initTransactions);
            long tookMs = (System.nanoTime() - startNanos) / 1_000_000;
            Check.that("refused at once, and not after " + tookMs + " ms", tookMs < AT_ONCE.toMillis());
        }
    }
}
