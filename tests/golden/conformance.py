"""`make conformance`: the scenarios of `cargo test --test golden`, said to an Apache Kafka and then to Tidegate.

First Kafka's replies are compared with those in replies/, then Tidegate's: every difference is shown. Environment:
UPDATE=1 keeps what Kafka replies, BOOTSTRAP=IP:PORT takes a Kafka that runs already, FILTER is a part of the scenarios'
names.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from registry import venv

    venv.enter()

from registry import report
from registry.kafka import Kafka
from registry.report import Failure, Report
from registry.venv import REPO

TIME_LIMIT_SECONDS = 1800


def main() -> None:
    update = os.environ.pop("UPDATE", "") not in ("", "0")

    def body(out: Report, run_dir: Path) -> None:
        with _kafka(out, run_dir) as bootstrap:
            # What Tidegate does not know yet is asked of Kafka, too.
            asked = {"TEST_BOOTSTRAP": bootstrap, **({"UPDATE": "1"} if update else {})}
            title = "Kafka's replies are kept" if update else "Kafka replies as it did"
            _compare(out, title, asked, ["--include-ignored"])
        _compare(out, "Tidegate replies as Kafka, but for what docs/protocol.md says", {}, [])

    report.run("conformance", TIME_LIMIT_SECONDS, body)


@contextmanager
def _kafka(out: Report, run_dir: Path) -> Iterator[str]:
    if bootstrap := os.environ.get("BOOTSTRAP"):
        yield bootstrap
        return
    data_dir = run_dir / "data"
    data_dir.mkdir()
    kafka = Kafka(run_dir, data_dir)
    with out.step(f"{kafka.name} started"):
        kafka.start()
    yield kafka.bootstrap
    kafka.kill()


def _compare(out: Report, title: str, env: dict[str, str], arguments: list[str]) -> None:
    command = [os.environ.get("CARGO", "cargo"), "test", "--locked", "--quiet", "--test", "golden", "--", *arguments]
    command += [os.environ["FILTER"]] if os.environ.get("FILTER") else []
    with out.step(title):
        env = {**os.environ, "RUST_BACKTRACE": "0", **env}
        done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stdout + done.stderr, flush=True)
            raise Failure("replies differ")


if __name__ == "__main__":
    main()
