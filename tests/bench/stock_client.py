#!/usr/bin/env python3
"""What librdkafka gets out of a broker, for brokers that `tidegate bench` cannot talk to: SeaweedFS's own gateway takes
no version of Produce, Fetch and Metadata that the bench speaks. One JSON object a workload.

    python3 tests/bench/stock_client.py HOST:PORT [produce produce-small offset-commit offset-fetch fetch]

Environment: SECONDS (5) that each lasts, SERVER_PID: its processor time is added.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from registry import venv

    venv.enter()

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SECONDS = float(os.environ.get("SECONDS", "5"))
PATIENCE_SECONDS = 30
PARTITIONS = 4
COMMITTED_PARTITIONS = 10
THREADS = 16
RECORD = os.urandom(1024)
SMALL_RECORD = os.urandom(100)


def main() -> None:
    bootstrap, names = sys.argv[1], sys.argv[2:] or list(WORKLOADS)
    for name in names:
        before, start = server_seconds(), time.monotonic()
        try:
            figures = WORKLOADS[name](bootstrap)
        except (KafkaException, TimeoutError) as error:
            figures = {"error": str(error)}
        figures |= {"workload": name, "seconds": round(time.monotonic() - start, 1)}
        figures["server_cpu_seconds"] = round(server_seconds() - before, 2)
        print(json.dumps(figures), flush=True)


def produce(bootstrap: str) -> dict:
    """1 KiB records in batches of 64 KiB, as many as it takes, acks=all."""
    topic = new_topic(bootstrap, PARTITIONS)
    producer = Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "batch.size": 65536, "linger.ms": 5, "compression.type": "none",
        "queue.buffering.max.kbytes": 32768, "max.in.flight.requests.per.connection": 5,
    })
    outcomes = Outcomes()
    start = time.monotonic()
    number = 0
    while time.monotonic() - start < SECONDS:
        try:
            producer.produce(topic, RECORD, partition=number % PARTITIONS, on_delivery=outcomes)
            number += 1
            if number % 256 == 0:
                producer.poll(0)
        except BufferError:
            producer.poll(0.05)
    producer.flush(PATIENCE_SECONDS)
    elapsed = time.monotonic() - start
    return outcomes.figures() | {"mib_per_second": round(outcomes.good * len(RECORD) / elapsed / (1 << 20), 2)}


def produce_small(bootstrap: str) -> dict:
    """One record of 100 bytes a request, on 16 connections, each of which waits for the answer."""
    topic = new_topic(bootstrap, PARTITIONS)
    outcomes = Outcomes()
    producers = [Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0}) for _ in range(THREADS)]

    def send(index: int) -> None:
        producers[index].produce(topic, SMALL_RECORD, partition=index % PARTITIONS, on_delivery=outcomes)
        producers[index].flush(PATIENCE_SECONDS)

    return in_threads(send) | outcomes.figures()


def offset_commit(bootstrap: str) -> dict:
    """16 groups commit 10 partitions each, one request after the other."""
    topic = new_topic(bootstrap, COMMITTED_PARTITIONS)
    groups = [consumer(bootstrap, f"{topic}-{index}") for index in range(THREADS)]
    counts = [0] * THREADS

    def commit(index: int) -> None:
        counts[index] += 1
        offsets = [TopicPartition(topic, partition, counts[index]) for partition in range(COMMITTED_PARTITIONS)]
        for committed in groups[index].commit(offsets=offsets, asynchronous=False):
            if committed.error:
                raise KafkaException(committed.error)

    return in_threads(commit)


def offset_fetch(bootstrap: str) -> dict:
    """16 groups read 10 committed offsets each, one request after the other; each must be what was committed."""
    topic = new_topic(bootstrap, COMMITTED_PARTITIONS)
    groups = [consumer(bootstrap, f"{topic}-{index}") for index in range(THREADS)]
    for index, group in enumerate(groups):
        group.commit(offsets=[TopicPartition(topic, p, 100 + index) for p in range(COMMITTED_PARTITIONS)], asynchronous=False)

    def fetch(index: int) -> None:
        found = groups[index].committed([TopicPartition(topic, p) for p in range(COMMITTED_PARTITIONS)], PATIENCE_SECONDS)
        if any(partition.offset != 100 + index for partition in found):
            raise TimeoutError(f"not what was committed: {[partition.offset for partition in found]}")

    return in_threads(fetch)


def fetch(bootstrap: str) -> dict:
    """One consumer reads what `produce` has just written, from its start to its end."""
    topic = new_topic(bootstrap, PARTITIONS)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "batch.size": 65536, "linger.ms": 5})
    outcomes = Outcomes()
    for number in range(FETCHED_RECORDS):
        while True:
            try:
                producer.produce(topic, RECORD, partition=number % PARTITIONS, on_delivery=outcomes)
                break
            except BufferError:
                producer.poll(0.05)
    producer.flush(120)
    reader = consumer(bootstrap, f"{topic}-reader")
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    start, records, last = time.monotonic(), 0, time.monotonic()
    while records < outcomes.good and time.monotonic() - last < PATIENCE_SECONDS:
        for message in reader.consume(1000, 1.0):
            if message.error():
                raise KafkaException(message.error())
            records += 1
            last = time.monotonic()
    figures = {"written": outcomes.good, "read": records}
    return figures | {"mib_per_second": round(records * len(RECORD) / (last - start) / (1 << 20), 2)}


class Outcomes:
    """Counts what producers were answered."""

    def __init__(self) -> None:
        self.good = 0
        self.bad = 0
        self.last_error: str | None = None

    def __call__(self, error: object, _message: object) -> None:
        if error is None:
            self.good += 1
        else:
            self.bad += 1
            self.last_error = str(error)

    def figures(self) -> dict:
        return {"records": self.good} | ({"refused": self.bad, "error": self.last_error} if self.bad else {})


def in_threads(call: Callable[[int], None]) -> dict:
    """Has each thread call again and again; how often, and how long a call takes."""
    times: list[list[float]] = [[] for _ in range(THREADS)]
    errors: list[str] = []
    end = time.monotonic() + SECONDS

    def run(index: int) -> None:
        while (begun := time.monotonic()) < end and not errors:
            try:
                call(index)
            except (KafkaException, TimeoutError) as error:
                errors.append(str(error))
            times[index].append(time.monotonic() - begun)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = sorted(took for of_thread in times for took in of_thread)
    figures = {"requests_per_second": round(len(taken) / SECONDS, 1)}
    figures |= {f"p{rank}_ms": round(taken[len(taken) * rank // 100] * 1000, 2) for rank in (50, 99)}
    return figures | ({"error": errors[0]} if errors else {})


def consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})


def new_topic(bootstrap: str, partitions: int) -> str:
    topic = f"stock-client-{os.urandom(4).hex()}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(PATIENCE_SECONDS)
    return topic


def server_seconds() -> float:
    """Processor time of the processes in SERVER_PID so far."""
    total = 0
    for pid in os.environ.get("SERVER_PID", "").split():
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


FETCHED_RECORDS = 64 << 10
WORKLOADS = {
    "produce": produce,
    "produce-small": produce_small,
    "offset-commit": offset_commit,
    "offset-fetch": offset_fetch,
    "fetch": fetch,
}

if __name__ == "__main__":
    main()
