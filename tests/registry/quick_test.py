"""`make quick-test`: 10 schemas through a real Schema Registry on the gateway, and through restarts of both.

Environment: STORAGE (memory, disk, filer), DURABILITY (sync, os), DURATION (seconds of traffic), BROKER=kafka (the same on Apache
Kafka), or SCHEMA_REGISTRY_URL with BOOTSTRAP for a registry and a gateway that already run.
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from registry import venv

    venv.enter()

from registry import java_reproducer, offsets, report, schemas, stack, traffic
from registry.report import Report, require
from registry.schemas import Schema, SchemaRegistry
from registry.stack import Stack

SCHEMAS = 10
RATE = 50
PARTITIONS = 3
RECOVERY_SECONDS = 60


def main() -> None:
    seconds = float(os.environ.get("DURATION", "60"))

    def body(out: Report, run_dir: Path) -> None:
        with stack.started(out, run_dir) as running:
            check(out, running, seconds)
        out.print_summary("quick-test")

    report.run("quick-test", seconds + 600, body)


def check(out: Report, running: Stack, seconds: float) -> None:
    """All steps on a stack that has just started."""
    test = _QuickTest(out, running)
    test.register()
    test.verify("10 schemas by subject and by id")
    test.send_and_read(seconds)
    test.restart_registry()
    test.crash_broker()
    test.run_reproducer()
    test.conclude()


class _QuickTest:
    def __init__(self, out: Report, running: Stack) -> None:
        self._out = out
        self._stack = running
        self._ids: dict[Schema, int] = {}
        self._verified: list[int] = []
        self._schemas = schemas.make(running.run, SCHEMAS)
        self._topic = schemas.topic_of(self._schemas[0])
        self._group = f"{running.run}-readers"
        self._records = self._offsets = self._reproducer = ""

    def register(self) -> None:
        with self._out.step(f"register {SCHEMAS} schemas") as step:
            self._ids, failures = schemas.register_all(SchemaRegistry(self._stack.registry_url), self._schemas)
            require(f"registered {len(self._ids)}/{SCHEMAS}", failures)
            step.result = f"{len(self._ids)}/{SCHEMAS}"

    def verify(self, when: str) -> None:
        with self._out.step(f"verify {when}") as step:
            found = schemas.verify(SchemaRegistry(self._stack.registry_url), self._ids)
            self._verified.append(found.count)
            require(f"verified {found.count}/{SCHEMAS}", found.missing)
            self._stack.reader.catch_up()
            step.result = f"by subject {found.by_subject}/{SCHEMAS}, by id {found.by_id}/{SCHEMAS}"

    def send_and_read(self, seconds: float) -> None:
        with self._out.step(f"Avro records for {seconds:.0f} s, {RATE} a second") as step:
            offsets.create_topics(self._stack.bootstrap, [self._topic], PARTITIONS)
            group = traffic.Group(self._stack.bootstrap, self._stack.registry_url, self._group, [self._topic])
            producer = traffic.AvroProducer(self._stack.bootstrap, self._stack.registry_url, "producer", [self._topic])
            group.start()
            producer.send(RATE, seconds)
            producer.join(seconds + 60)
            lost = group.wait_for(producer.acknowledged, timeout=30)
            group.stop()
            require("the clients had problems", producer.problems + group.problems)
            require(f"{len(lost)} acknowledged records never arrived", [f"{source} {number}" for source, number in lost])
            step.result = f"{len(producer.acknowledged)} sent, {len(group.received)} received"
        received = f"received {len(group.received)} lost 0 duplicates {group.duplicates}"
        self._records = f"sent {len(producer.acknowledged)} {received}"
        self._require_committed_to_the_end(group.commits)

    def restart_registry(self) -> None:
        if self._stack.registry is None:
            self._out.skip("restart the registry", "it was running before this test")
            return
        with self._out.step("restart the registry"):
            self._stack.registry.restart()
        self.verify("after the restart of the registry")

    def crash_broker(self) -> None:
        """Kill it; the registry must find back by itself, and one that starts anew must find everything."""
        title = "kill -9 of the gateway"
        if self._stack.broker is None or self._stack.registry is None or self._stack.why_no_crash:
            self._out.skip(title, self._stack.why_no_crash)
            return
        before = offsets.committed(self._stack.bootstrap, self._group, [self._topic])
        with self._out.step(f"{title}, and restart on the same port and data"):
            self._stack.broker.crash_and_restart()
        with self._out.step("the registry recovers by itself and takes another schema"):
            another = schemas.make(f"{self._stack.run}-after-kill", 1)[0]
            number = SchemaRegistry(self._stack.registry_url).register_when_possible(another, RECOVERY_SECONDS)
        self.verify("after the kill")
        with self._out.step("committed offsets are as before the kill") as step:
            after = offsets.committed(self._stack.bootstrap, self._group, [self._topic])
            require("committed offsets changed in the kill", offsets.differences(after, before))
            step.result = _shown(after)
        self._resume_group()
        with self._out.step("a fresh registry reads the log from its start"):
            self._stack.registry.restart()
            found = schemas.verify(SchemaRegistry(self._stack.registry_url), {another: number})
            require("a schema registered after the kill is missing", found.missing)
        self.verify("in the fresh registry")

    def run_reproducer(self) -> None:
        crash = self._stack.broker if not self._stack.why_no_crash else None
        if crash is None:
            self._out.skip("restart inside the reproducer", self._stack.why_no_crash)
        # Beside somebody's registry it must neither write to its topic nor join its election.
        run = self._stack.run
        aside = [] if self._stack.registry else ["--topic", f"{run}-schemas", "--group", f"{run}-registry"]
        with self._out.step("Java reproducer" + (", with a kill -9 of the gateway" if crash else "")) as step:
            step.result = java_reproducer.run(self._stack.run_dir, self._stack.bootstrap, SCHEMAS, crash, aside)
        self._reproducer = step.result

    def conclude(self) -> None:
        reader = self._stack.reader
        reader.catch_up()
        self._stack.check()
        text = f"registered {len(self._ids)}/{SCHEMAS} verified {min(self._verified)}/{SCHEMAS}"
        self._out.add("schemas", f"{text}, in {len(self._verified)} rounds")
        self._out.add("records", self._records)
        self._out.add("offsets", self._offsets)
        self._out.add("reader", f"{reader.topic}: {reader.progress()}, resets {len(reader.resets)}")
        self._out.add("reproducer", self._reproducer)

    def _require_committed_to_the_end(self, commits: int) -> None:
        with self._out.step("committed offsets are at the end of the log") as step:
            committed = offsets.committed(self._stack.bootstrap, self._group, [self._topic])
            ends = offsets.log_ends(self._stack.bootstrap, [self._topic])
            require("the group's committed offsets are not at the end", offsets.differences(committed, ends))
            step.result = _shown(committed)
        self._offsets = f"committed {commits} times, {_shown(committed)}, the end of the log"

    def _resume_group(self) -> None:
        """After the kill the group goes on where it was: exactly what is new, nothing again."""
        with self._out.step("the group goes on behind its committed offsets") as step:
            producer = traffic.AvroProducer(self._stack.bootstrap, self._stack.registry_url, "after the kill", [self._topic])
            producer.send(RATE, 1)
            producer.join(60)
            group = traffic.Group(self._stack.bootstrap, self._stack.registry_url, self._group, [self._topic])
            group.start()
            lost = group.wait_for(producer.acknowledged, timeout=30)
            group.stop()
            again = sorted(group.received.keys() - producer.acknowledged)
            require("the clients had problems", producer.problems + group.problems)
            require("records after the kill never arrived", [f"{source} {number}" for source, number in lost])
            require("records came again though committed", [f"{source} {number}" for source, number in again])
            step.result = f"{len(group.received)} new records, none again"


def _shown(found: offsets.Offsets) -> str:
    return ", ".join(f"partition {partition} at {offset}" for (_, partition), offset in sorted(found.items()))


if __name__ == "__main__":
    main()
