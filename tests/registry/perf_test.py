"""`make perf-test`: 1,000 schemas through the real Schema Registry, on every backend and on Apache Kafka.

All brokers and their registries run at the same time and are measured in turn, block by block, so that whatever else
the machine does falls on all of them alike. The table goes to docs/benchmarks.md.

Environment: SCHEMAS (1,000), SYSTEMS (a comma-separated part of memory, os, sync, kafka). With less than all of it the
table is only printed.
"""

import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from registry import venv

    venv.enter()

from registry import benchmarks, report, schemas
from registry.apicurio import Apicurio
from registry.benchmarks import Measured
from registry.broker import Broker
from registry.gateway import Gateway
from registry.kafka import Kafka
from registry.read_back import ReadBack
from registry.report import Failure, Report, require
from registry.schemas import Schema, SchemaRegistry
from registry.venv import CACHE

#: On the disk that holds the checkout: a temporary directory may be in memory, where a sync costs nothing.
DATA = CACHE / "perf-test"
SYSTEMS = ("memory", "os", "sync", "kafka")
BLOCK = 50
READ_BACKS = 1000
RESTARTS = 3


class System:
    """One broker with a registry of its own, and what was measured of them."""

    def __init__(self, name: str, run_dir: Path, run: str, count: int) -> None:
        logs = run_dir / name
        logs.mkdir()
        self.broker = _broker(name, logs)
        self.broker.start()
        self.registry = Apicurio(logs, self.broker.bootstrap)
        self.registry.start()
        self.schemas = schemas.make(run, count)
        self.ids: dict[Schema, int] = {}
        self.read_back = ReadBack(self.broker.bootstrap)
        self.measured = Measured(self.broker.name)
        self._rest = SchemaRegistry(self.registry.url)

    def register(self, block: slice) -> None:
        cpu, began = self.broker.running().cpu_seconds(), time.perf_counter()
        ids, failures = schemas.register_all(self._rest, self.schemas[block])
        took = time.perf_counter() - began
        self.measured.broker_cpu_seconds += self.broker.running().cpu_seconds() - cpu
        require(f"{self.broker.name}: registered {len(ids)}/{len(self.schemas[block])}", failures)
        self.ids.update(ids)
        self.measured.registrations_per_second.append(len(ids) / took)

    def retrieve(self, block: slice) -> None:
        for schema in self.schemas[block]:
            began = time.perf_counter()
            by_id = self._rest.by_id(self.ids[schema])
            between = time.perf_counter()
            _, by_subject = self._rest.by_subject(schema.subject)
            self.measured.by_subject_ms.append((time.perf_counter() - between) * 1e3)
            self.measured.by_id_ms.append((between - began) * 1e3)
            if not by_id == by_subject == schema.definition:
                raise Failure(f"{self.broker.name}: {schema.subject} came back as another schema")

    def measure_read_back(self, rounds: int) -> None:
        for _ in range(rounds):
            after_send, after_ack = self.read_back.measure()
            self.measured.sent_to_read_ms.append(after_send * 1e3)
            self.measured.acknowledged_to_read_ms.append(after_ack * 1e3)

    def restart_registry(self) -> None:
        """Until the registry, which begins with nothing in memory, answers with the newest schema."""
        self.registry.stop()
        began = time.perf_counter()
        self.registry.start()
        self._rest = SchemaRegistry(self.registry.url)
        self._rest.by_subject(self.schemas[-1].subject)
        self.measured.restart_seconds.append(time.perf_counter() - began)

    def verify(self) -> None:
        found = schemas.verify(self._rest, self.ids)
        require(f"{self.broker.name}: verified {found.count}/{len(self.schemas)}", found.missing)
        self.measured.verified = found.count
        self.measured.broker_memory_mib = self.broker.running().memory_mib()

    def stop(self) -> None:
        self.read_back.close()
        self.registry.stop()
        self.broker.stop()


def main() -> None:
    count = int(os.environ.get("SCHEMAS", "1000"))
    names = [name.strip() for name in os.environ.get("SYSTEMS", ",".join(SYSTEMS)).split(",")]

    def body(out: Report, run_dir: Path) -> None:
        require("unknown SYSTEMS", [name for name in names if name not in SYSTEMS])
        load = os.getloadavg()[0]
        shutil.rmtree(DATA, ignore_errors=True)
        try:
            measured = _measure(out, run_dir, names, count)
        finally:
            shutil.rmtree(DATA, ignore_errors=True)
        table = benchmarks.table(measured, count, load)
        print(f"\n{table}")
        if count >= 1000 and set(names) == set(SYSTEMS):
            print(f"\nwritten to {benchmarks.write(table)}")

    report.run("perf-test", 1800 + count, body)


def _measure(out: Report, run_dir: Path, names: list[str], count: int) -> list[Measured]:
    run = f"p{random.randrange(16**8):08x}"
    systems = []
    for name in names:
        with out.step(f"start {name} with a registry") as step:
            systems.append(System(name, run_dir, run, count))
            step.result = systems[-1].broker.name
    blocks = [slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    with out.step(f"register {count} schemas on each, {BLOCK} in turn"):
        _in_turn(systems, [partial(System.register, block=block) for block in blocks])
    with out.step(f"retrieve {count} schemas by id and by subject from each"):
        _in_turn(systems, [partial(System.retrieve, block=block) for block in blocks])
    with out.step(f"read {READ_BACKS} acknowledged writes back at the tail of each"):
        _in_turn(systems, [partial(System.measure_read_back, rounds=BLOCK)] * (READ_BACKS // BLOCK))
    with out.step(f"restart each registry {RESTARTS} times"):
        _in_turn(systems, [System.restart_registry] * RESTARTS)
    with out.step(f"verify {count} schemas in the restarted registries"):
        _in_turn(systems, [System.verify])
    with out.step("stop everything"):
        _in_turn(systems, [System.stop])
    return [system.measured for system in systems]


def _in_turn(systems: list[System], rounds: Sequence[Callable[[System], None]]) -> None:
    """Each round on every system, in an order that changes: none is always the first after a pause."""
    for action in rounds:
        for system in random.sample(systems, len(systems)):
            action(system)


def _broker(name: str, logs: Path) -> Broker:
    data = DATA / name
    data.mkdir(parents=True)
    match name:
        case "memory":
            return Gateway(logs, data, "memory")
        case "kafka":
            return Kafka(logs, data)
        case durability:
            return Gateway(logs, data, "disk", durability)


if __name__ == "__main__":
    main()
