"""`make bench-compare`: the load of `tidegate bench` on Tidegate and on Apache Kafka, in turn; writes docs/benchmarks.md.

Environment: ROUNDS (3), SECONDS (4) that a round measures, BROKERS (a comma-separated part of os, sync, kafka), ROWS (a
part of the names in rows.py), BENCH_BIN (the program that makes the load, when it is not the gateway under test). With
less than all of it the table is only printed.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from registry import venv

    venv.enter()

from bench import start
from bench.rows import ROWS, Row
from bench.table import NAMES, Samples, table
from registry import benchmarks, report
from registry.broker import Broker
from registry.gateway import Gateway, binary
from registry.kafka import Kafka
from registry.report import Failure, Report, require
from registry.venv import CACHE

#: On the disk that holds the checkout: a temporary directory may be in memory, where a sync costs nothing.
DATA = CACHE / "bench-compare"
BROKERS = ("os", "sync", "kafka")
#: Rows that are measured on brokers of their own, before those of the other rows are there.
ALONE = ("start", "idle")
TIME_LIMIT_SECONDS = 3600
WARMUP_SECONDS = 1
#: More than a round writes.
FETCHED_BYTES = 6 << 30

Figures = dict[str, float]


def main() -> None:
    rounds, seconds = int(os.environ.get("ROUNDS", "3")), float(os.environ.get("SECONDS", "4"))
    brokers = _chosen("BROKERS", BROKERS)
    names = _chosen("ROWS", tuple(row.name for row in ROWS))
    rows = [row for row in ROWS if row.name in names]

    def body(out: Report, run_dir: Path) -> None:
        require("unknown BROKERS", [name for name in brokers if name not in BROKERS])
        require("unknown ROWS", [name for name in names if all(name != row.name for row in ROWS)])
        load = os.getloadavg()[0]
        shutil.rmtree(DATA, ignore_errors=True)
        try:
            measured = Comparison(out, run_dir, brokers, rounds, seconds).measure(rows)
        finally:
            shutil.rmtree(DATA, ignore_errors=True)
        text = table(measured, brokers, rounds, seconds, load)
        print(f"\n{text}")
        if rounds >= 3 and len(rows) == len(ROWS) and set(brokers) == set(BROKERS):
            print(f"\nwritten to {benchmarks.write(text, 'bench-compare', 'Against Apache Kafka')}")

    report.run("bench-compare", TIME_LIMIT_SECONDS, body)


class Comparison:
    def __init__(self, out: Report, run_dir: Path, brokers: list[str], rounds: int, seconds: float) -> None:
        self.out = out
        self.run_dir = run_dir
        self.names = brokers
        self.rounds = rounds
        self.seconds = seconds
        self.brokers: dict[str, Broker] = {}

    def measure(self, rows: list[Row]) -> list[tuple[Row, Samples]]:
        measured = []
        for row in rows:
            if row.name not in ALONE and not self.brokers:
                self._start_all()
            with self.out.step(row.title) as step:
                samples = self._in_turn(row)
                first = row.figures[0]
                medians = (f"{name} {median(samples[name][first.key]) * first.scale:,.{first.digits}f}" for name in self.names)
                step.result = f"{first.label}: {', '.join(medians)}"
            measured.append((row, samples))
        for broker in self.brokers.values():
            broker.kill()
        return measured

    def _in_turn(self, row: Row) -> Samples:
        """Each round on every broker, in an order that changes: none is always the first after a pause."""
        samples: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in self.names}
        if row.bench and "kafka" in self.names:
            self._measure(row, "kafka")  # so that its code is compiled
        for _ in range(1 if row.name == "memory" else self.rounds):
            for name in random.sample(self.names, len(self.names)):
                # What the one before has written must not be written out in the time of this one.
                os.sync()
                if row.writes_much:
                    _fetch_memory()
                figures = self._measure(row, name)
                for figure in row.figures:
                    if figure.key in figures:
                        samples[name][figure.key].append(figures[figure.key])
        return samples

    def _measure(self, row: Row, name: str) -> Figures:
        match row.name:
            case "start":
                return start.measure(partial(self._fresh, name), DATA / f"fresh-{name}", _fill)
            case "idle":
                return self._idle(name)
            case "memory":
                return _memory(self.brokers[name])
        times = [f"--duration={self.seconds}s", f"--warmup={WARMUP_SECONDS}s"] if row.timed else []
        return _bench(self.brokers[name], [*row.bench, *times])

    def _idle(self, name: str) -> Figures:
        """Each load on a broker that has done nothing else: memory that one gave back is there for the next."""
        if name == "kafka":
            return start.idle_memory(partial(self._fresh, name), DATA / f"fresh-{name}", None)
        figures: Figures = {}
        for load in (["connections"], ["create-topic", "--duration=100ms", "--warmup=0"]):
            found = start.idle_memory(partial(self._fresh, name), DATA / f"fresh-{name}", partial(_bench, arguments=load))
            figures |= found
        return figures

    def _fresh(self, name: str) -> Broker:
        return self._broker(name, DATA / f"fresh-{name}")

    def _start_all(self) -> None:
        for name in self.names:
            with self.out.step(f"start {NAMES[name]}"):
                self.brokers[name] = self._broker(name, DATA / name)
                self.brokers[name].start()

    def _broker(self, name: str, data: Path) -> Broker:
        logs = self.run_dir / data.name
        logs.mkdir(exist_ok=True)
        data.mkdir(parents=True)
        return Kafka(logs, data) if name == "kafka" else Gateway(logs, data, "disk", name)


def _fill(broker: Broker) -> None:
    _bench(broker, ["produce", "--topic=filled", "--total-bytes=1GiB"])


def _bench(broker: Broker, arguments: list[str]) -> Figures:
    program = os.environ.get("BENCH_BIN", str(binary()))
    pid = str(broker.running().pid)
    command = [program, "bench", *arguments, "--bootstrap", broker.bootstrap, "--server-pid", pid, "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Failure(f"{broker.name}: bench {' '.join(arguments)}", done.stderr.splitlines())
    values = json.loads(done.stdout).items()
    return {key: float(value) for key, value in values if isinstance(value, (int, float))}


def _fetch_memory() -> None:
    """Has a virtual machine's memory back from its host before it is filled with records: whoever used it first would pay."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = min(FETCHED_BYTES, available // 2)
    touch = f"memory = bytearray({size})\nfor page in range(0, len(memory), 4096): memory[page] = 1"
    subprocess.run([sys.executable, "-c", touch], check=True, timeout=120)


def _memory(broker: Broker) -> Figures:
    status = Path(f"/proc/{broker.running().pid}/status").read_text()
    kib = {line.split()[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith("Vm")}
    return {"high_water_mib": kib["VmHWM:"] / 1024, "resident_mib": kib["VmRSS:"] / 1024}


def _chosen(variable: str, default: tuple[str, ...]) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, ",".join(default)).split(",") if name.strip()]


if __name__ == "__main__":
    main()
