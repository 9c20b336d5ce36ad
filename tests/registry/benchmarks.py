"""The table of `make perf-test`, and the places of tables in docs/benchmarks.md."""

import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from registry.tools import APICURIO_VERSION, KAFKA_VERSION
from registry.venv import REPO

PAGE = REPO / "docs" / "benchmarks.md"


@dataclass
class Measured:
    """Everything about one broker. Times are samples, in the unit that the name ends with."""

    name: str
    registrations_per_second: list[float] = field(default_factory=list)
    broker_cpu_seconds: float = 0.0
    by_id_ms: list[float] = field(default_factory=list)
    by_subject_ms: list[float] = field(default_factory=list)
    sent_to_read_ms: list[float] = field(default_factory=list)
    acknowledged_to_read_ms: list[float] = field(default_factory=list)
    restart_seconds: list[float] = field(default_factory=list)
    verified: int = 0
    broker_memory_mib: float = 0.0


def table(columns: list[Measured], schemas: int, load: float) -> str:
    """Markdown, with the conditions under it that the figures depend on; `load` is the load average before the run."""
    rows: list[tuple[str, list[str]]] = [
        ("registered per second, median", [f"{median(each.registrations_per_second):.1f}" for each in columns]),
        ("broker CPU per registration, ms", [f"{each.broker_cpu_seconds * 1e3 / schemas:.2f}" for each in columns]),
        ("retrieval by id, p50 / p99 ms", [_spread(each.by_id_ms) for each in columns]),
        ("retrieval by subject, p50 / p99 ms", [_spread(each.by_subject_ms) for each in columns]),
        (f"registry restart with {schemas:,}, s", [f"{median(each.restart_seconds):.2f}" for each in columns]),
        ("verified after the restart", [f"{each.verified}/{schemas}" for each in columns]),
        ("record sent → read, p50 / p99 ms", [_spread(each.sent_to_read_ms) for each in columns]),
        ("record acknowledged → read, p50 / p99 ms", [_spread(each.acknowledged_to_read_ms) for each in columns]),
        ("broker memory at the end, MiB", [f"{each.broker_memory_mib:.0f}" for each in columns]),
    ]
    lines = [_row("", [each.name for each in columns]), "|---" + "|---:" * len(columns) + "|"]
    lines += [_row(label, cells) for label, cells in rows]
    return "\n".join([*lines, "", _conditions(schemas, load)])


def write(text: str, target: str = "perf-test", title: str = "Schema Registry") -> Path:
    """Put the table of a make target between its markers; a page without them gets a section for it."""
    begin, end = f"<!-- {target}:begin -->", f"<!-- {target}:end -->"
    page = PAGE.read_text() if PAGE.exists() else "# Benchmarks\n"
    if begin not in page:
        page = f"{page.rstrip()}\n\n## {title}\n\n`make {target}` measures this and writes it here.\n\n{begin}\n{end}\n"
    between = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(between.sub(lambda _: f"\n{text}\n", page))
    return PAGE.relative_to(REPO)


def machine(load: float) -> str:
    """What figures depend on; `load` is the load average before the run."""
    return (
        f"Machine: {os.cpu_count()} cores, {_processor()}, {_congestion_control()} for TCP; its load average before the run\n"
        f"was {load:.1f}."
    )


def _row(label: str, cells: list[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"


def _spread(samples: list[float]) -> str:
    return f"{median(samples):.2f} / {quantiles(samples, n=100)[98]:.2f}"


def _conditions(schemas: int, load: float) -> str:
    return (
        f"{schemas:,} different Avro schemas over one kept-alive connection to Apicurio {APICURIO_VERSION} (kafkasql), which\n"
        "answers a registration when it has read its own write back. All brokers and registries ran at once and were measured\n"
        "in turn, in blocks, in random order. A restart is a new registry process, from its start until it answers with the\n"
        "newest schema; most of it is the registry's own start and its waits of 1 s for a poll that comes back empty. Kafka is\n"
        f"{KAFKA_VERSION} as it ships. {machine(load)}"
    )


def _congestion_control() -> str:
    chosen = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return chosen.read_text().strip() if chosen.exists() else "the usual congestion control"


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", described.read_text()) if described.exists() else None
    return found.group(1) if found else platform.machine()
