"""Builds and runs the Java reproducer: what a Schema Registry does to a broker, without the registry."""

import shlex
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from registry import tools
from registry.broker import Broker
from registry.process import Command, Process
from registry.report import Failure
from registry.venv import REPO, lock

SOURCE = REPO / "tests" / "registry" / "reproducer"
_TIMEOUT_SECONDS = 150
_LINES_SHOWN = 20


def run(run_dir: Path, bootstrap: str, schemas: int, crash: Broker | None, options: Sequence[str] = ()) -> str:
    """Answers its last line. With `crash`, it has that broker killed and restarted half-way."""
    log = run_dir / "reproducer.log"
    command: Command = [tools.java(17), "-jar", _build(), "--bootstrap", bootstrap, "--schemas", str(schemas), *options]
    if crash is None:
        process = Process("reproducer", command, log)
        process.wait(_TIMEOUT_SECONDS)
    else:
        with socket.socket(socket.AF_UNIX) as requests:
            path = run_dir / "crash.sock"
            requests.bind(str(path))
            requests.listen()
            script = Path(__file__).with_name("crash_broker.py")
            command += ["--restart-broker", shlex.join([sys.executable, str(script), str(path)])]
            process = Process("reproducer", command, log)
            crashes = _serve(process, requests, crash)
            path.unlink()
        if crashes == 0:
            raise Failure("the reproducer never asked for a restart of the broker", _tail(log))
    return _judge(process, log, schemas)


def _build() -> Path:
    with lock("reproducer"):
        if not (SOURCE / "pom.xml").is_file():
            raise Failure(f"no Java reproducer in {SOURCE}")
        tools.maven(["package"], SOURCE)
    jars = [jar for jar in (SOURCE / "target").glob("*.jar") if not jar.name.startswith("original-")]
    if len(jars) != 1:
        raise Failure(f"expected one jar in {SOURCE / 'target'}, found {len(jars)}")
    return jars[0]


def _serve(process: Process, requests: socket.socket, broker: Broker) -> int:
    """Crash the broker as often as the reproducer asks, until that ends.

    The request comes to this process, rather than the script doing it, so that the broker stays a
    child of the test, which stops it whatever happens.
    """
    crashes = 0
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    requests.settimeout(0.2)
    while process.exit_code() is None and time.monotonic() < deadline:
        try:
            asked, _ = requests.accept()
        except TimeoutError:
            continue
        with asked:
            broker.crash_and_restart()
            asked.sendall(b"ok")
        crashes += 1
    return crashes


def _judge(process: Process, log: Path, schemas: int) -> str:
    code = process.exit_code()
    lines = _tail(log)
    if code is None:
        process.kill()
        raise Failure(f"the reproducer did not end within {_TIMEOUT_SECONDS} s", lines)
    wanted = f"registered {schemas}/{schemas} verified {schemas}/{schemas} resets 0"
    if code != 0 or not lines or lines[-1] != wanted:
        raise Failure(f"the reproducer ended with code {code}", lines)
    return lines[-1]


def _tail(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:]
