"""The rows of `make bench-compare`: what is run, which figures of it are shown, and what Tidegate must reach."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Goal:
    """Against Kafka in the same run when it is a ratio, else in the figure's own unit."""

    kind: Literal["at least", "at most"]
    value: float
    is_ratio: bool = True

    def is_met(self, value: float) -> bool:
        return value >= self.value if self.kind == "at least" else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.kind == 'at least' else '≤'} {self.value:g}{'×' if self.is_ratio else ''}"


@dataclass(frozen=True)
class Figure:
    """One line of the table: a key of the JSON that `tidegate bench` prints, or of what is measured beside it."""

    key: str
    label: str
    digits: int = 1
    scale: float = 1
    os: Goal | None = None
    sync: Goal | None = None


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    figures: tuple[Figure, ...]
    #: Arguments of `tidegate bench`; none when the row is measured in another way.
    bench: tuple[str, ...] = ()
    #: Whether it runs for a time, and not until it is done.
    timed: bool = True
    #: Whether it fills gigabytes of page cache.
    writes_much: bool = False


def _at_least(ratio: float) -> Goal:
    return Goal("at least", ratio)


def _at_most(ratio: float) -> Goal:
    return Goal("at most", ratio)


def _limit(value: float) -> Goal:
    return Goal("at most", value, is_ratio=False)


def _requests(os: float, sync: float | None = None, label: str = "requests/s") -> Figure:
    return Figure("requests_per_second", label, 0, os=_at_least(os), sync=None if sync is None else _at_least(sync))


def _cpu(os: float | None = None) -> Figure:
    goal = None if os is None else _at_most(os)
    return Figure("server_cpu_us_per_request", "CPU, µs a request", os=goal)


def _cpu_per_gib(os: float) -> Figure:
    return Figure("server_cpu_seconds_per_gib", "CPU, s/GiB", 2, os=_at_most(os))


def _latency(quantile: str, os: Goal | None = None) -> Figure:
    return Figure(f"latency_{quantile}_ms", f"{quantile}, ms", 2, os=os)


ROWS = (
    Row(
        "start",
        "start: exec to first Metadata answer",
        (
            Figure("start_empty_ms", "empty, ms", os=_limit(10), sync=_limit(10)),
            Figure("start_killed_ms", "with 1 GiB of log after kill -9, ms", os=_limit(500), sync=_limit(500)),
        ),
    ),
    Row(
        "idle",
        "memory of a broker that was just started",
        (
            Figure("idle_mib", "resident, MiB", os=_limit(12), sync=_limit(12)),
            Figure("idle_bytes_per_connection", "KiB an idle connection", 2, 1 / 1024, os=_limit(8), sync=_limit(8)),
            Figure("idle_bytes_per_partition", "KiB an idle partition", 2, 1 / 1024, os=_limit(4), sync=_limit(4)),
        ),
    ),
    Row(
        "produce",
        "produce, 64 KiB batches of 1 KiB records, 4 connections, 5 in flight",
        (
            Figure("mib_per_second", "MiB/s", 0, os=_at_least(1.5), sync=_at_least(1)),
            _cpu_per_gib(0.33),
            _latency("p99"),
        ),
        ("produce",),
        writes_much=True,
    ),
    Row(
        "produce-small",
        "produce, one record of 100 B, 16 connections",
        (_requests(1.7, 1), _cpu(0.35), _latency("p50"), _latency("p99", _at_most(0.5))),
        ("produce-small",),
    ),
    Row("produce-many", "produce to 100 partitions in one request", (_requests(3, 1), _cpu()), ("produce-many",)),
    Row(
        "fetch",
        "fetch from the start of 512 MiB, 4 connections",
        (Figure("mib_per_second", "MiB/s", 0, os=_at_least(1.2)), _cpu_per_gib(0.7)),
        ("fetch",),
    ),
    Row(
        "tail",
        "produce to consumer, 1,000 records/s",
        (_latency("p50", _at_most(0.7)), _latency("p99", _at_most(0.5)), Figure("server_cpu_us_per_request", "CPU, µs a record")),
        ("tail",),
    ),
    Row(
        "offset-commit",
        "OffsetCommit, 10 partitions, 64 groups, 16 connections",
        (_requests(10, 3), _cpu(0.25), _latency("p50")),
        ("offset-commit",),
    ),
    Row(
        "offset-fetch",
        "OffsetFetch, 10 partitions",
        (_requests(1.8), _cpu(0.4), _latency("p50")),
        ("offset-fetch",),
    ),
    Row(
        "offset-fetch-all",
        "OffsetFetch, all of a group",
        (_requests(1.8), _cpu(0.4), _latency("p50")),
        ("offset-fetch", "--all"),
    ),
    Row(
        "join",
        "join of 10 groups of 10 members to stable; leave",
        (
            Figure("members_per_second", "members/s", 0, os=_at_least(2)),
            Figure("latency_p50_ms", "a rebalance of all, p50, ms", 2, os=_limit(2)),
            Figure("leave_ms", "until all have left, ms", 2),
        ),
        ("join",),
    ),
    Row(
        "connections",
        "open 5,000 connections",
        (
            _requests(1, label="connections/s"),
            Figure("server_cpu_us_per_request", "CPU, µs a connection", os=_at_most(1)),
        ),
        ("connections",),
        timed=False,
    ),
    Row(
        "create-topic",
        "create a topic of 2,000 partitions",
        (
            Figure("create_served_ms", "until all are served, ms", 0, os=_limit(500), sync=_limit(500)),
            _requests(3, label="Metadata of all, requests/s"),
        ),
        ("create-topic",),
    ),
    Row(
        "memory",
        "memory after all of this",
        (
            Figure("high_water_mib", "at most, MiB", 0, os=_limit(256), sync=_limit(256)),
            Figure("resident_mib", "at the end, MiB", 0),
        ),
    ),
)
