"""The gateway under test, as its own process."""

import os
import re
import urllib.error
import urllib.request
from pathlib import Path

from registry.broker import Broker
from registry.process import Command, Process, wait_until
from registry.seaweed import SeaweedFS
from registry.venv import REPO

START_TIMEOUT_SECONDS = 30
#: The gateway promises to drain and exit 0 within 5 s of SIGTERM.
STOP_TIMEOUT_SECONDS = 5


def binary() -> Path:
    """What to test: `TIDEGATE_BIN`, else the release build of this checkout."""
    path = Path(os.environ.get("TIDEGATE_BIN", REPO / "target" / "release" / "tidegate"))
    if not path.is_file():
        raise FileNotFoundError(f"no gateway at {path}: build it with `cargo build --release`, or set TIDEGATE_BIN")
    return path


class Gateway(Broker):
    """`tidegate serve` on free ports; a restart takes the same ports and the same data. With `filer` a SeaweedFS runs beside it."""

    def __init__(self, run_dir: Path, data_dir: Path, storage: str = "disk", durability: str = "sync") -> None:
        super().__init__(run_dir)
        self.name = f"Tidegate {storage}" + (f" {durability}" if storage == "disk" else "")
        self.durable = storage != "memory"
        self.bootstrap = "127.0.0.1:0"
        self.admin = "http://127.0.0.1:0"
        self._out_of_range_before = 0
        self._command: Command = [binary(), "serve", "--data-dir", data_dir, "--storage", storage]
        self._command += ["--durability", durability, "--log", os.environ.get("TIDEGATE_LOG", "info")]
        # `TIDEGATE_FILER_URL` names one that runs already.
        self._filer = SeaweedFS(run_dir) if storage == "filer" and "TIDEGATE_FILER_URL" not in os.environ else None
        if self._filer is not None:
            self._filer.start()
            self._command += ["--filer-url", self._filer.url]

    def start(self) -> None:
        log = self.run_dir / "tidegate.log"
        seen = log.stat().st_size if log.exists() else 0
        listen = ["--listen", self.bootstrap, "--admin-listen", self.admin.removeprefix("http://")]
        # The gateway refuses variables of its prefix that it does not know, and this one is ours.
        self.process = Process(self.name, [*self._command, *listen], log, {"TIDEGATE_BIN": None})
        # Only what this start printed: the file also holds what earlier starts did.
        wait_until(f"{self.name} says where it listens ({log})", lambda: self._read_addresses(log, seen), START_TIMEOUT_SECONDS, 0.005)
        wait_until(f"{self.admin}/readyz answers 200", self._is_ready, START_TIMEOUT_SECONDS, 0.005)

    def kill(self) -> None:
        self._out_of_range_before = self.fetches_out_of_range()
        super().kill()

    def stop(self) -> None:
        self._out_of_range_before = self.fetches_out_of_range()
        code = self.running().stop(STOP_TIMEOUT_SECONDS)
        self.process = None
        if code != 0:
            raise RuntimeError(f"{self.name} did not end with 0 within {STOP_TIMEOUT_SECONDS} s of SIGTERM: code {code}")

    def metrics(self) -> dict[str, float]:
        """Every sample that /metrics shows, by its name with labels."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def fetches_out_of_range(self) -> int:
        """How often a consumer asked for an offset that is not there, over all starts: each is a reset to come."""
        now = self.metrics() if self.process is not None else {}
        name = "tidegate_fetch_offset_out_of_range_total"
        return self._out_of_range_before + int(sum(value for key, value in now.items() if key.startswith(name)))

    def panics(self) -> list[str]:
        """Lines of its log that tell of a bug that it survived."""
        log = self.run_dir / "tidegate.log"
        return [line for line in log.read_text(errors="replace").splitlines() if "panicked" in line]

    def _read_addresses(self, log: Path, start: int) -> bool:
        self.running()
        text = log.read_bytes()[start:].decode(errors="replace")
        kafka = re.search(r"^tidegate listening on (\S+)$", text, re.MULTILINE)
        admin = re.search(r"^tidegate admin on (\S+)$", text, re.MULTILINE)
        if not kafka or not admin:
            return False
        self.bootstrap, self.admin = kafka.group(1), admin.group(1).rstrip("/")
        return True

    def _is_ready(self) -> bool:
        self.running()
        try:
            with urllib.request.urlopen(f"{self.admin}/readyz", timeout=5) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False
