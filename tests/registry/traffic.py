"""Avro records through the broker, with clients that ask the Schema Registry how to read them."""

import threading
import time
from collections import Counter
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from registry import clients

#: Who sent a record, and its number there.
Identity = tuple[str, int]

_FLUSH_TIMEOUT_SECONDS = 30
_COMMIT_INTERVAL_SECONDS = 1.0


class AvroProducer(threading.Thread):
    """Sends records at a steady rate, to the topics in turn, each with the schema registered for it."""

    def __init__(self, bootstrap: str, registry_url: str, name: str, topics: Sequence[str]) -> None:
        super().__init__(name=name, daemon=True)
        #: What the broker acknowledged.
        self.acknowledged: set[Identity] = set()
        self.problems: list[str] = []
        self._topics = topics
        self._rate = self._count = 0
        self._producer = Producer(clients.settings(bootstrap, {"enable.idempotence": True, "linger.ms": 5}))
        registry = SchemaRegistryClient({"url": registry_url})
        # The schemas are there already; a serializer that registers its own would hide a lost one.
        settings = {"auto.register.schemas": False, "use.latest.version": True}
        self._serializers = {topic: AvroSerializer(registry, conf=settings) for topic in topics}

    def send(self, rate: int, seconds: float) -> None:
        """Start in the background: `rate` records a second."""
        self._rate, self._count = rate, int(rate * seconds)
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        try:
            for number in range(self._count):
                time.sleep(max(0.0, began + number / self._rate - time.monotonic()))
                self._send_one(number)
                self._producer.poll(0)
        except Exception as error:  # a thread's error belongs in the report, whatever it is
            self.problems.append(f"{self.name}: {error!r}")
        if left := self._producer.flush(_FLUSH_TIMEOUT_SECONDS):
            self.problems.append(f"{self.name}: {left} records without an answer")

    def _send_one(self, number: int) -> None:
        topic = self._topics[number % len(self._topics)]
        record = {"source": self.name, "number": number, "sent_at": int(time.time() * 1000), "payload": "x" * 100}
        value = self._serializers[topic](record, SerializationContext(topic, MessageField.VALUE))

        def answered(error: KafkaError | None, _: Message) -> None:
            if error:
                self.problems.append(f"{self.name} record {number}: {error.str()}")
            else:
                self.acknowledged.add((self.name, number))

        self._producer.produce(topic, value, key=str(number), on_delivery=answered)


class Group:
    """A consumer group: what all its members received together, each record with how often it came."""

    def __init__(self, bootstrap: str, registry_url: str, name: str, topics: Sequence[str], members: int = 1) -> None:
        self.name = name
        self.topics = list(topics)
        self.received: Counter[Identity] = Counter()
        self.commits = 0
        self.problems: list[str] = []
        self.lock = threading.Lock()
        self._members = [_Member(self, bootstrap, registry_url) for _ in range(members)]

    @property
    def duplicates(self) -> int:
        return self.received.total() - len(self.received)

    def start(self, stagger: float = 0.0) -> None:
        """Start the members, `stagger` seconds apart: each that comes later makes the group rebalance."""
        for member in self._members:
            member.start()
            time.sleep(stagger)

    def wait_for(self, expected: set[Identity], timeout: float) -> list[Identity]:
        """Wait until all expected records have come; answers those that have not."""
        deadline = time.monotonic() + timeout
        while (lost := expected - self.received.keys()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return sorted(lost)

    def stop(self) -> None:
        """Every member commits where it is, and leaves."""
        for member in self._members:
            member.ending.set()
        for member in self._members:
            member.join(30)
            if member.is_alive():
                self.problems.append(f"{self.name}: a member did not leave within 30 s")


class _Member(threading.Thread):
    def __init__(self, group: Group, bootstrap: str, registry_url: str) -> None:
        super().__init__(name=f"member of {group.name}", daemon=True)
        self.ending = threading.Event()
        self._group = group
        self._uncommitted = 0
        self._deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry_url}))
        self._consumer = Consumer(clients.consumer_settings(bootstrap, group.name, on_reset="earliest"))

    def run(self) -> None:
        self._consumer.subscribe(self._group.topics, on_revoke=lambda *_: self._commit())
        last_commit = time.monotonic()
        while not self.ending.is_set():
            message = self._consumer.poll(0.2)
            if message is not None:
                self._take(message)
            if time.monotonic() - last_commit > _COMMIT_INTERVAL_SECONDS:
                self._commit()
                last_commit = time.monotonic()
        self._commit()
        self._consumer.close()

    def _take(self, message: Message) -> None:
        if error := message.error():
            if not error.retriable():
                self._group.problems.append(f"{self.name}: {error.str()}")
            return
        try:
            record = self._deserialize(message.value(), SerializationContext(message.topic() or "", MessageField.VALUE))
        except Exception as error:  # a thread's error belongs in the report, whatever it is
            self._group.problems.append(f"{self.name}: {message.topic()}-{message.partition()} offset {message.offset()}: {error!r}")
            return
        with self._group.lock:
            self._group.received[(record["source"], record["number"])] += 1
        self._uncommitted += 1

    def _commit(self) -> None:
        if not self._uncommitted:
            return
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            # Between a rebalance and the next poll a commit is refused; the next one carries the same offsets.
            if not error.args[0].retriable() and error.args[0].code() != KafkaError.REBALANCE_IN_PROGRESS:
                self._group.problems.append(f"{self.name}: commit: {error.args[0].str()}")
            return
        self._uncommitted = 0
        with self._group.lock:
            self._group.commits += 1
