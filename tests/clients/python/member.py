"""What the members of the takeover test have in common: their command line, and the lines they print (see ../README.md)."""

import sys
from collections.abc import Iterable
from typing import NamedTuple

SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_INTERVAL_MS = 500


class Arguments(NamedTuple):
    bootstrap: str
    topic: str
    group: str
    mode: str
    name: str


ARGUMENTS = Arguments(*sys.argv[1:])


def assigned(partitions: Iterable[int]) -> None:
    say(" ".join(["assigned", *map(str, sorted(partitions))]))


def read(partition: int, offset: int) -> None:
    say(f"read {partition} {offset}")


def committed(partition: int, offset: int) -> None:
    say(f"committed {partition} {offset}")


def failed(error: object) -> None:
    """The gateway is away, or the group is between two generations: told, and no reason to end."""
    say(f"failed {error!r}")


def say(what: str) -> None:
    # One write a line: the other member writes to the same file.
    sys.stdout.write(f"{ARGUMENTS.name} {what}\n")
    sys.stdout.flush()
