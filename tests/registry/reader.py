"""A second reader of the registry's topic, which shows what the registry's own reader sees.

The failure that started this project was a background consumer that never advanced. This one reads
the same topic the same way (assigned, from its start, no group) and notes every step backwards.
"""

import threading
import time

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from registry import clients, offsets
from registry.report import Failure

# What librdkafka reports, instead of going elsewhere by itself, when `auto.offset.reset` is `error`.
_RESETS = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
# A broker that is away for a moment: librdkafka connects again by itself.
_PASSING = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}


class TopicReader(threading.Thread):
    """Reads partition 0 from its start for as long as the test runs, also across a kill of the broker."""

    def __init__(self, bootstrap: str, topic: str, contiguous: bool) -> None:
        """`contiguous`: nothing compacts or deletes, so offsets must be exactly 0, 1, 2 …"""
        super().__init__(name=f"reader of {topic}", daemon=True)
        self.topic = topic
        self.start_offset = offsets.log_start(bootstrap, topic)
        #: The offset that it reads next.
        self.position = self.start_offset
        self.resets: list[str] = []
        self.problems: list[str] = []
        if contiguous and self.start_offset != 0:
            self.problems.append(f"{topic} starts at {self.start_offset}, not at 0")
        self._servers = bootstrap
        self._contiguous = contiguous
        self._ending = threading.Event()

    def run(self) -> None:
        # It neither joins the group nor commits; the client library wants a name all the same.
        consumer = Consumer(clients.consumer_settings(self._servers, "tidegate-topic-reader"))
        consumer.assign([TopicPartition(self.topic, 0, self.start_offset)])
        while not self._ending.is_set():
            message = consumer.poll(0.2)
            if message is not None:
                self._take(message)
        consumer.close()

    def catch_up(self, timeout: float = 30) -> None:
        """Wait until it has read all that the topic holds now."""
        end = offsets.log_ends(self._servers, [self.topic])[(self.topic, 0)]
        deadline = time.monotonic() + timeout
        while self.position < end and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.position > end:
            raise Failure(f"{self.topic} lost records: {self.position} were read, it ends at {end}", self.resets)
        if self.position < end:
            raise Failure(f"the reader of {self.topic} stays at {self.position}, the topic ends at {end}", self.resets + self.problems)

    def stop(self) -> None:
        self._ending.set()
        self.join(10)

    def progress(self) -> str:
        """`0, 1, 2 … 11`: the offsets read, in the order in which they came."""
        read = [str(offset) for offset in range(self.start_offset, self.position)]
        return ", ".join(read if len(read) <= 4 else [*read[:2], f"{read[2]} … {read[-1]}"])

    def _take(self, message: Message) -> None:
        if error := message.error():
            if error.code() in _RESETS:
                self.resets.append(f"at {self.position}: {error.str()}")
            elif error.code() not in _PASSING:
                self.problems.append(f"at {self.position}: {error.str()}")
            return
        offset = message.offset() or 0
        if offset < self.position:
            self.resets.append(f"at {self.position}: went back to {offset}")
        elif offset > self.position and self._contiguous:
            self.problems.append(f"at {self.position}: jumped to {offset}")
        self.position = offset + 1
