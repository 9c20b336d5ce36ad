"""Child processes that never outlive the test, whatever ends it."""

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path


Command = list[str | Path]


class Process:
    """A child with its output in a file. Each is the leader of its own group, so that Ctrl-C on the
    terminal reaches only the test, which then stops its children in order."""

    def __init__(self, name: str, command: Command, log: Path, env: Mapping[str, str | None] | None = None) -> None:
        """`env` is put over this process's own environment; None there takes a variable away."""
        self.name = name
        self.log = log
        merged = {**os.environ, **(env or {})}
        with open(log, "ab") as output:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={key: value for key, value in merged.items() if value is not None},
                start_new_session=True,
            )
        _running.append(self)

    @property
    def pid(self) -> int:
        return self._child.pid

    def exit_code(self) -> int | None:
        return self._child.poll()

    def check_alive(self) -> None:
        if (code := self.exit_code()) is not None:
            raise RuntimeError(f"{self.name} ended with code {code}; see {self.log}")

    def wait(self, timeout: float) -> int | None:
        """Its exit code, or None when it still runs then."""
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, patience: float = 15) -> int:
        """Ask it to end, wait, and then insist; answers its exit code."""
        self._signal(signal.SIGTERM)
        code = self.wait(patience)
        if code is None:
            return self.kill()
        self._forget()
        return code

    def kill(self) -> int:
        """End it as a power cut would: no handler of its own runs."""
        self._signal(signal.SIGKILL)
        code = self._child.wait(10)
        self._forget()
        return code

    def cpu_seconds(self) -> float:
        """Processor time used so far, in user and kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _signal(self, number: int) -> None:
        if self.exit_code() is None:
            os.killpg(self.pid, number)

    def _forget(self) -> None:
        if self in _running:
            _running.remove(self)


def wait_until(what: str, ready: Callable[[], bool], timeout: float, pause: float = 0.05) -> None:
    """Poll until `ready`; the error says what did not come to pass."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:.0f} s")
        time.sleep(pause)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago, for servers that cannot choose one themselves."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _stop_all() -> None:
    """Newest first: a registry goes before the broker that it talks to."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
    for child in reversed(_running.copy()):
        child.stop(patience=5)


_running: list[Process] = []
atexit.register(_stop_all)
