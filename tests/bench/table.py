"""The table of `make bench-compare`."""

from collections.abc import Mapping
from statistics import median

from bench.rows import Figure, Goal, Row
from registry import benchmarks
from registry.tools import KAFKA_VERSION

#: broker → key of a figure → what each round measured, for one row.
Samples = Mapping[str, Mapping[str, list[float]]]

NAMES = {"os": "Tidegate `os`", "sync": "Tidegate `sync`", "kafka": f"Kafka {KAFKA_VERSION}"}


def table(rows: list[tuple[Row, Samples]], brokers: list[str], rounds: int, seconds: float, load: float) -> str:
    """Markdown: a line for each figure, with the medians, the ratios to Kafka, and the goals."""
    tidegate = [broker for broker in brokers if broker != "kafka"]
    heads = ["", "", *(NAMES[broker] for broker in brokers), *(f"`{broker}`: goal" for broker in tidegate)]
    lines = [_line(heads), "|---|---" + "|---:" * len(brokers) + "|---" * len(tidegate) + "|"]
    for row, samples in rows:
        for index, figure in enumerate(row.figures):
            # A figure that says nothing of a broker is not measured there.
            medians = {broker: median(samples[broker][figure.key]) for broker in brokers if figure.key in samples[broker]}
            goals = [_against_goal(figure, getattr(figure, broker), medians, broker) for broker in tidegate]
            cells = [_cell(figure, medians.get(broker)) for broker in brokers]
            lines.append(_line([row.title if index == 0 else "", figure.label, *cells, *goals]))
    return "\n".join([*lines, "", _conditions(rounds, seconds, load)])


def _against_goal(figure: Figure, goal: Goal | None, medians: Mapping[str, float], broker: str) -> str:
    """`1.83× ≥ 1.5×: met`."""
    value, kafka = medians[broker], medians.get("kafka", 0)
    ratio = f"{value / kafka:.2f}×" if kafka > 0 else ""
    if goal is None:
        return ratio
    if goal.is_ratio and not ratio:
        return f"{goal}: no Kafka to compare with"
    met = goal.is_met(value / kafka if goal.is_ratio else value * figure.scale)
    return f"{ratio if goal.is_ratio else ''} {goal}: {'met' if met else '**not met**'}".strip()


def _cell(figure: Figure, value: float | None) -> str:
    return "" if value is None else f"{value * figure.scale:,.{figure.digits}f}"


def _conditions(rounds: int, seconds: float, load: float) -> str:
    return (
        f"Medians of {rounds} rounds of {seconds:g} s on the disk backend, in turn and in random order; all brokers ran side by side,\n"
        "each with nothing to do while another was measured, and Kafka had a round of each row before, so that its code was\n"
        "compiled. `tidegate bench` makes the load, on the same cores. A ratio is to Kafka "
        f"{KAFKA_VERSION} in the same run: one node\n"
        "as it ships, 1 GiB of heap, `group.initial.rebalance.delay.ms=0`. CPU and memory are the broker process's; starts, and\n"
        "memory when idle, are of brokers of their own. Memory a connection and a partition is what anonymous memory grew by,\n"
        f"which says nothing of a Java heap. {benchmarks.machine(load)}"
    )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
