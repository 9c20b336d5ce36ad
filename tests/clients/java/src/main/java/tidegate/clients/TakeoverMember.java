package tidegate.clients;

import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** A member of the takeover test, as tests/clients/README.md has it. The mode: range, cooperative or consumer. */
public final class TakeoverMember {
    private final KafkaConsumer<byte[], byte[]> consumer;

    private final String name;

    private TakeoverMember(KafkaConsumer<byte[], byte[]> consumer, String name) {
        this.consumer = consumer;
        this.name = name;
    }

    public static void main(String[] args) {
        String topic = args[1];
        Map<String, Object> settings = new HashMap<>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, args[0],
                ConsumerConfig.GROUP_ID_CONFIG, args[2],
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                ConsumerConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, 3_000,
                ConsumerConfig.REQUEST_TIMEOUT_MS_CONFIG, 3_000));
        settings.putAll(switch (args[3]) {
            case "range" -> classic(RangeAssignor.class);
            case "cooperative" -> classic(CooperativeStickyAssignor.class);
            case "consumer" -> Map.of(ConsumerConfig.GROUP_PROTOCOL_CONFIG, "consumer");
            default -> throw new IllegalArgumentException(args[3]);
        });
        TakeoverMember member = new TakeoverMember(
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer()), args[4]);
        member.run(topic);
    }

    private static Map<String, Object> classic(Class<?> assignor) {
        return Map.of(
                ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG, assignor.getName(),
                ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6_000,
                ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 500);
    }

    /** Reads until it is killed. */
    private void run(String topic) {
        consumer.subscribe(List.of(topic), new Listener());
        while (true) {
            try {
                take(consumer.poll(Duration.ofMillis(100)));
            } catch (KafkaException e) {
                say("failed " + e);
            }
        }
    }

    private void take(ConsumerRecords<byte[], byte[]> records) {
        for (ConsumerRecord<byte[], byte[]> record : records) {
            say("read " + record.partition() + " " + record.offset());
        }
        if (!records.isEmpty()) {
            consumer.commitSync(records.nextOffsets());
            records.nextOffsets().forEach((partition, next) ->
                    say("committed " + partition.partition() + " " + next.offset()));
        }
    }

    /** One write a line: the other member writes to the same file. */
    private void say(String what) {
        System.out.print(name + " " + what + "\n");
        System.out.flush();
    }

    private final class Listener implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            say(consumer.assignment().stream().map(partition -> " " + partition.partition()).sorted()
                    .collect(Collectors.joining("", "assigned", "")));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        }
    }
}
