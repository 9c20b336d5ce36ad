"""A member by librdkafka: confluent-kafka. The mode: consumer, or an assignor of the classic protocol."""

import member
from confluent_kafka import Consumer, KafkaException, TopicPartition
from member import ARGUMENTS


def main() -> None:
    consumer = Consumer(settings())

    def on_change(changed: Consumer, _partitions: list[TopicPartition]) -> None:
        changing.append(changed)

    changing: list[Consumer] = []
    consumer.subscribe([ARGUMENTS.topic], on_assign=on_change, on_revoke=on_change, on_lost=on_change)
    while True:
        messages = consumer.consume(num_messages=100, timeout=0.1)
        if changing:
            changing.clear()
            member.assigned(partition.partition for partition in consumer.assignment())
        offsets: dict[int, int] = {}
        for message in messages:
            if message.error():
                member.failed(message.error())
                continue
            member.read(message.partition(), message.offset())
            offsets[message.partition()] = message.offset() + 1
        if offsets:
            commit(consumer, offsets)


def commit(consumer: Consumer, offsets: dict[int, int]) -> None:
    wanted = [TopicPartition(ARGUMENTS.topic, partition, offset) for partition, offset in offsets.items()]
    try:
        taken = consumer.commit(offsets=wanted, asynchronous=False)
    except KafkaException as error:
        member.failed(error)
        return
    for partition in taken:
        if partition.error:
            member.failed(partition.error)
        else:
            member.committed(partition.partition, partition.offset)


def settings() -> dict[str, object]:
    common: dict[str, object] = {
        "bootstrap.servers": ARGUMENTS.bootstrap,
        "group.id": ARGUMENTS.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "reconnect.backoff.max.ms": 500,
    }
    if ARGUMENTS.mode == "consumer":
        return common | {"group.protocol": "consumer"}
    return common | {
        "partition.assignment.strategy": ARGUMENTS.mode,
        "session.timeout.ms": member.SESSION_TIMEOUT_MS,
        "heartbeat.interval.ms": member.HEARTBEAT_INTERVAL_MS,
    }


if __name__ == "__main__":
    main()
