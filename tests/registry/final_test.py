"""`make final-test`: storage reset, quick-test, standard-test and the reproducer, all on one data directory.

Each part starts the gateway anew on what the part before it left. Anything below 100 % ends with exit code 1.
Environment: STORAGE, DURABILITY and BROKER as for quick_test.py; DURATION replaces that of both parts.
"""

import os
import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from registry import venv

    venv.enter()

from registry import java_reproducer, offsets, quick_test, report, stack, standard_test
from registry.report import Failure, Report, require
from registry.venv import CACHE

DATA = CACHE / "final-test"
REPRODUCER_SCHEMAS = 100


def main() -> None:
    quick, standard = (float(os.environ.get("DURATION", seconds)) for seconds in ("60", "120"))

    def body(out: Report, run_dir: Path) -> None:
        if "SCHEMA_REGISTRY_URL" in os.environ or "BOOTSTRAP" in os.environ:
            raise Failure("final-test resets the storage: it cannot run on a gateway that is not its own")
        _reset_storage(out, _part(run_dir, "reset"))
        with stack.started(out, _part(run_dir, "quick"), DATA) as running:
            quick_test.check(out, running, quick)
        out.print_summary("quick-test: 100 %")
        with stack.started(out, _part(run_dir, "standard"), DATA) as running:
            standard_test.check(out, running, standard)
        out.print_summary("standard-test: 100 %")
        _run_reproducer(out, _part(run_dir, "reproducer"))
        out.print_summary("reproducer: 100 %")
        shutil.rmtree(DATA)

    report.run("final-test", quick + standard + 1200, body)


def _part(run_dir: Path, name: str) -> Path:
    """A place for the logs of one part."""
    place = run_dir / name
    place.mkdir()
    print(f"\n{name}")
    return place


def _reset_storage(out: Report, run_dir: Path) -> None:
    with out.step("remove the data, and start on nothing") as step:
        shutil.rmtree(DATA, ignore_errors=True)
        broker = stack.make_broker(run_dir, DATA)
        broker.start()
        left = [*offsets.topics(broker.bootstrap), *offsets.groups(broker.bootstrap)]
        require("the storage is not empty", left)
        broker.stop()
        step.result = "no topics, no groups"


def _run_reproducer(out: Report, run_dir: Path) -> None:
    broker = stack.make_broker(run_dir, DATA)
    with out.step(f"Java reproducer with {REPRODUCER_SCHEMAS} schemas") as step:
        broker.start()
        crash = broker if broker.durable else None
        step.result = java_reproducer.run(run_dir, broker.bootstrap, REPRODUCER_SCHEMAS, crash)
        broker.stop()
    out.add("schemas", step.result)


if __name__ == "__main__":
    main()
