"""How soon an acknowledged write can be read: what a registry waits for after every registration."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from registry import clients, offsets

TOPIC = "read-back"
_TIMEOUT_SECONDS = 10
_VALUE = b"x" * 500


class ReadBack:
    """One producer and one consumer that waits at the end of the same partition."""

    def __init__(self, bootstrap: str) -> None:
        offsets.create_topics(bootstrap, [TOPIC], partitions=1)
        self._producer = Producer(clients.settings(bootstrap, {"enable.idempotence": True, "linger.ms": 0}))
        self._consumer = Consumer(clients.consumer_settings(bootstrap, "read-back"))
        self._consumer.assign([TopicPartition(TOPIC, 0, 0)])
        self._acknowledged = 0.0

    def measure(self) -> tuple[float, float]:
        """Seconds from sending a record, and from its acknowledgement, until it is read back."""
        self._acknowledged = 0.0
        sent = time.perf_counter()
        self._producer.produce(TOPIC, _VALUE, on_delivery=self._answered)
        while not self._acknowledged:
            if time.perf_counter() - sent > _TIMEOUT_SECONDS:
                raise TimeoutError(f"a record was not acknowledged within {_TIMEOUT_SECONDS} s")
            self._producer.poll(1)
        message = self._consumer.poll(_TIMEOUT_SECONDS)
        if message is None:
            raise TimeoutError(f"an acknowledged record was not readable within {_TIMEOUT_SECONDS} s")
        if message.error():
            raise KafkaException(message.error())
        read = time.perf_counter()
        return read - sent, read - self._acknowledged

    def close(self) -> None:
        self._consumer.close()

    def _answered(self, error: KafkaError | None, _: Message) -> None:
        if error:
            raise KafkaException(error)
        self._acknowledged = time.perf_counter()
