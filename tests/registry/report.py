"""How a test tells what it did: a line for each step as it goes, and a summary or a failure at its end."""

import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from registry import clients


class Failure(Exception):
    """Something is missing or wrong: each line names one thing."""

    def __init__(self, what: str, details: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.details = details


class Step:
    """`result` is what the step found out, shown on its line."""

    result = ""


class Report:
    def __init__(self) -> None:
        self._summary: list[tuple[str, str]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Say what happens now when it is done, with how long it took; on an error, that it failed."""
        began = time.monotonic()
        step = Step()
        try:
            yield step
        except BaseException:
            self._line("FAIL", title)
            raise
        result = f": {step.result}" if step.result else ""
        self._line("ok", f"{title}{result} ({time.monotonic() - began:.1f} s)")

    def skip(self, title: str, reason: str) -> None:
        self._line("skip", f"{title}: {reason}")

    def add(self, label: str, value: str) -> None:
        """A line of the summary."""
        self._summary.append((label, value))

    def print_summary(self, title: str) -> None:
        width = max((len(label) for label, _ in self._summary), default=0)
        print(f"\n{title}")
        for label, value in self._summary:
            print(f"  {label:<{width}}  {value}")
        self._summary.clear()

    def _line(self, mark: str, text: str) -> None:
        print(f"{mark:<5} {text}", flush=True)


def require(what: str, details: Sequence[str]) -> None:
    """Fail unless there is nothing to complain about."""
    if details:
        raise Failure(what, details)


def run(name: str, limit_seconds: float, body: Callable[[Report, Path], None]) -> None:
    """Run a test in a temporary directory: removed when all is well, named and kept when not. Ends the process."""
    run_dir = Path(tempfile.mkdtemp(prefix=f"tidegate-{name}-"))
    clients.log_to(run_dir / "clients.log")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(int(limit_seconds))
    began = time.monotonic()
    try:
        body(Report(), run_dir)
    except KeyboardInterrupt:
        print(f"\n{name} interrupted; logs are in {run_dir}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        (run_dir / "failure.txt").write_text(traceback.format_exc())
        details = list(error.details) if isinstance(error, Failure) else []
        if len(details) > _DETAILS_SHOWN:
            details = [*details[:_DETAILS_SHOWN], f"… and {len(details) - _DETAILS_SHOWN} more"]
        print("\n  ".join([f"\n{name} FAILED: {error}", *details]), file=sys.stderr)
        print(f"logs are in {run_dir}", file=sys.stderr)
        sys.exit(1)
    shutil.rmtree(run_dir)
    print(f"\n{name} passed in {time.monotonic() - began:.0f} s")
    sys.exit(0)


def _interrupted(number: int, _: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def _too_long(_: int, __: FrameType | None) -> None:
    raise Failure("the test took longer than its time limit")


_DETAILS_SHOWN = 30
