"""The real Schema Registry of the tests: Apicurio, with everything it knows in the broker."""

import re
import shutil
from pathlib import Path

from registry import tools
from registry.process import Command, Process, wait_until
from registry.schemas import SchemaRegistry

#: Where it keeps its schemas: one partition, one record a change.
JOURNAL = "kafkasql-journal"
START_TIMEOUT_SECONDS = 120

# At start it waits twice for a poll that comes back empty; 5 s each unless told otherwise.
_POLL_TIMEOUT_MS = 1000


class Apicurio:
    """A registry with an empty memory at each start: what it answers, it has read from the broker."""

    def __init__(self, run_dir: Path, bootstrap: str, name: str = "apicurio") -> None:
        self.name = name
        self.url = ""
        self._run_dir = run_dir
        self._bootstrap = bootstrap
        self._port = 0
        self._starts = 0
        self._process: Process | None = None

    def start(self) -> None:
        """Start and wait until it has read its journal to the end. A restart keeps the port."""
        self._starts += 1
        java, home = tools.java(21), tools.apicurio_home()
        temporary = self._run_dir / f"{self.name}-tmp"
        temporary.mkdir(exist_ok=True)
        command: Command = [java, "-Xmx512m", f"-Djava.io.tmpdir={temporary}", "-jar", home / "quarkus-run.jar"]
        self._process = Process(self.name, command, self._log, self._environment())
        wait_until(f"{self.name} has started ({self._log})", self._has_started, START_TIMEOUT_SECONDS)
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"
        SchemaRegistry(self.url).wait_until_ready(START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None
        shutil.rmtree(self._run_dir / f"{self.name}-tmp", ignore_errors=True)

    def restart(self) -> None:
        self.stop()
        self.start()

    def resets(self) -> list[str]:
        """What its own consumers logged about losing their place, over all starts.

        A new consumer group has no committed offset, and begins at 0: that line is expected. A later
        one, or one that goes anywhere else, is the failure that this project exists to prevent.
        """
        found = []
        for log in sorted(self._run_dir.glob(f"{self.name}-*.log")):
            lines = log.read_text(errors="replace").splitlines()
            started = next((i for i, line in enumerate(lines) if "storage bootstrapped in" in line), len(lines))
            for number, line in enumerate(lines):
                reset = "Resetting offset for partition" in line
                if "out of range" in line or reset and (number > started or "FetchPosition{offset=0," not in line):
                    found.append(f"{log.name}:{number + 1}: {line}")
        return found

    @property
    def _log(self) -> Path:
        return self._run_dir / f"{self.name}-{self._starts}.log"

    def _environment(self) -> dict[str, str]:
        return {
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": self._bootstrap,
            "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": str(_POLL_TIMEOUT_MS),
            "QUARKUS_HTTP_HOST": "127.0.0.1",
            "QUARKUS_HTTP_PORT": str(self._port),
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "QUARKUS_MANAGEMENT_HOST": "127.0.0.1",
            "QUARKUS_MANAGEMENT_PORT": "0",
        }

    def _has_started(self) -> bool:
        if self._process is None:
            return False
        self._process.check_alive()
        text = self._log.read_text(errors="replace")
        listening = re.search(r"Listening on: http://127\.0\.0\.1:(\d+)", text)
        if listening is None or "storage bootstrapped in" not in text:
            return False
        self._port = int(listening.group(1))
        return True
