"""What a test runs against: a broker and a Schema Registry of its own, or ones that already run."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from registry import apicurio, offsets
from registry.apicurio import Apicurio
from registry.broker import Broker
from registry.gateway import Gateway
from registry.kafka import Kafka
from registry.reader import TopicReader
from registry.report import Failure, Report, require


@dataclass
class Stack:
    bootstrap: str
    registry_url: str
    #: None when it is not ours to stop.
    broker: Broker | None
    registry: Apicurio | None
    reader: TopicReader
    #: Names with this in them are in use by no other run.
    run: str
    run_dir: Path

    @property
    def why_no_crash(self) -> str:
        """Why the broker cannot be killed here; empty when it can."""
        if self.broker is None:
            return "the gateway was running before this test"
        return "" if self.broker.durable else "the memory backend keeps nothing across a kill"

    def check(self) -> None:
        """What must hold at any time, whatever the test did."""
        require("the reader of the registry's topic was reset", self.reader.resets)
        require("the reader of the registry's topic went wrong", self.reader.problems)
        if self.registry is not None:
            require("the registry's own consumer was reset", self.registry.resets())
        if isinstance(self.broker, Gateway):
            require("the gateway panicked", self.broker.panics())
            if found := self.broker.fetches_out_of_range():
                raise Failure(f"the gateway answered {found} fetches with OFFSET_OUT_OF_RANGE")


@contextmanager
def started(report: Report, run_dir: Path, data_dir: Path | None = None) -> Iterator[Stack]:
    """A stack with its reader; what it started is stopped in order at the end, and must end well."""
    url, bootstrap = os.environ.get("SCHEMA_REGISTRY_URL"), os.environ.get("BOOTSTRAP")
    if bool(url) != bool(bootstrap):
        raise Failure("SCHEMA_REGISTRY_URL and BOOTSTRAP go together: set both, or none")
    broker = registry = None
    if not url or not bootstrap:
        broker = make_broker(run_dir, data_dir or run_dir / "data")
        with report.step(f"{broker.name} starts") as step:
            broker.start()
            step.result = broker.bootstrap
        registry = Apicurio(run_dir, broker.bootstrap)
        with report.step("Apicurio starts on it") as step:
            registry.start()
            step.result = registry.url
        url, bootstrap = registry.url, broker.bootstrap
    topic = apicurio.JOURNAL if registry else _topic_of_running_registry(bootstrap)
    reader = TopicReader(bootstrap, topic, contiguous=registry is not None)
    reader.start()
    stack = Stack(bootstrap, url, broker, registry, reader, f"t{secrets.token_hex(4)}", run_dir)
    yield stack
    reader.catch_up()
    reader.stop()
    if registry is not None:
        registry.stop()
    if broker is not None:
        with report.step(f"{broker.name} ends on SIGTERM"):
            broker.stop()
    stack.check()


def make_broker(run_dir: Path, data_dir: Path) -> Broker:
    """`BROKER=kafka` runs the same test on Apache Kafka: it tells a wrong gateway from a wrong test."""
    match os.environ.get("BROKER", "tidegate"):
        case "tidegate":
            return Gateway(run_dir, data_dir, os.environ.get("STORAGE", "disk"), os.environ.get("DURABILITY", "sync"))
        case "kafka":
            return Kafka(run_dir, data_dir)
        case other:
            raise Failure(f"BROKER={other}: tidegate or kafka")


def _topic_of_running_registry(bootstrap: str) -> str:
    """`REGISTRY_TOPIC`, or the one that Confluent's registry or Apicurio uses unless told otherwise."""
    candidates = [os.environ["REGISTRY_TOPIC"]] if "REGISTRY_TOPIC" in os.environ else ["_schemas", apicurio.JOURNAL]
    known = offsets.topics(bootstrap)
    for topic in candidates:
        if topic in known:
            return topic
    raise Failure(f"none of the topics {', '.join(candidates)} is on {bootstrap}: set REGISTRY_TOPIC")
