"""`make standard-test`: two minutes of Avro records over several topics, read by several groups.

Environment: as for quick_test.py; DURATION is 120 seconds here.
"""

import os
import sys
from itertools import chain
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from registry import venv

    venv.enter()

from registry import offsets, report, schemas, stack
from registry.report import Report, require
from registry.schemas import Schema, SchemaRegistry
from registry.stack import Stack
from registry.traffic import AvroProducer, Group

SCHEMAS = 10
TOPICS = 3
PARTITIONS = 4
PRODUCERS = 2
RATE = 50
#: Members of each group; they come one after the other, so that the larger groups rebalance under load.
GROUPS = (1, 2, 3)
JOIN_STAGGER_SECONDS = 1.0


def main() -> None:
    seconds = float(os.environ.get("DURATION", "120"))

    def body(out: Report, run_dir: Path) -> None:
        with stack.started(out, run_dir) as running:
            check(out, running, seconds)
        out.print_summary("standard-test")

    report.run("standard-test", seconds + 600, body)


def check(out: Report, running: Stack, seconds: float) -> None:
    """All steps on a stack that has just started."""
    with out.step(f"register {SCHEMAS} schemas") as step:
        wanted = schemas.make(running.run, SCHEMAS)
        ids, failures = schemas.register_all(SchemaRegistry(running.registry_url), wanted)
        require(f"registered {len(ids)}/{SCHEMAS}", failures)
        step.result = f"{len(ids)}/{SCHEMAS}"
    verified = [_verify(out, running, ids, "before the records")]
    topics = [schemas.topic_of(schema) for schema in wanted[:TOPICS]]
    offsets.create_topics(running.bootstrap, topics, PARTITIONS)

    producers = [AvroProducer(running.bootstrap, running.registry_url, f"producer-{n}", topics) for n in range(PRODUCERS)]
    groups = [Group(running.bootstrap, running.registry_url, f"{running.run}-group-{n}", topics, n) for n in GROUPS]
    _send_and_read(out, producers, groups, seconds)
    _check_offsets(out, running, producers, groups, topics)
    verified.append(_verify(out, running, ids, "after the records"))

    running.reader.catch_up()
    running.check()
    out.add("schemas", f"registered {len(ids)}/{SCHEMAS} verified {min(verified)}/{SCHEMAS}")
    sent = sum(len(each.acknowledged) for each in producers)
    out.add("sent", f"{sent} records by {PRODUCERS} producers to {TOPICS} topics of {PARTITIONS} partitions")
    for group, members in zip(groups, GROUPS, strict=True):
        text = f"received {len(group.received)} lost 0 duplicates {group.duplicates}"
        out.add(f"group of {members}", f"{text}, committed {group.commits} times, up to the end of each log")
    out.add("reader", f"{running.reader.topic}: {running.reader.progress()}, resets {len(running.reader.resets)}")


def _verify(out: Report, running: Stack, ids: dict[Schema, int], when: str) -> int:
    with out.step(f"verify {when}") as step:
        found = schemas.verify(SchemaRegistry(running.registry_url), ids)
        require(f"verified {found.count}/{SCHEMAS}", found.missing)
        step.result = f"by subject {found.by_subject}/{SCHEMAS}, by id {found.by_id}/{SCHEMAS}"
    return found.count


def _send_and_read(out: Report, producers: list[AvroProducer], groups: list[Group], seconds: float) -> None:
    with out.step(f"Avro records for {seconds:.0f} s, {PRODUCERS} producers of {RATE} a second, {len(groups)} groups") as step:
        for producer in producers:
            producer.send(RATE, seconds)
        for group in groups:
            group.start(JOIN_STAGGER_SECONDS)
        for producer in producers:
            producer.join(seconds + 60)
        sent = set().union(*(producer.acknowledged for producer in producers))
        lost = {group.name: group.wait_for(sent, timeout=30) for group in groups}
        for group in groups:
            group.stop()
        problems = chain([each.problems for each in producers], [each.problems for each in groups])
        require("the clients had problems", [*chain.from_iterable(problems)])
        missing = [f"{name}: {source} {number}" for name, records in lost.items() for source, number in records]
        require(f"{len(missing)} acknowledged records never arrived", missing)
        step.result = f"{len(sent)} sent, received by every group"


def _check_offsets(out: Report, running: Stack, producers: list[AvroProducer], groups: list[Group], topics: list[str]) -> None:
    with out.step("every group has committed the end of every log") as step:
        ends = offsets.log_ends(running.bootstrap, topics)
        wrong = [f"{group.name}: {text}" for group in groups
                 for text in offsets.differences(offsets.committed(running.bootstrap, group.name, topics), ends)]
        require("committed offsets are not at the end", wrong)
        sent = sum(len(producer.acknowledged) for producer in producers)
        if sum(ends.values()) != sent:
            require("the logs hold another number of records", [f"{sum(ends.values())} in the logs, {sent} acknowledged"])
        step.result = f"{len(groups)} × {len(ends)} partitions, {sent} records"


if __name__ == "__main__":
    main()
