"""SeaweedFS for the filer backend: master, volume server and filer in one process."""

import random
import socket
import urllib.error
import urllib.request
from pathlib import Path

from registry.process import Process, wait_until
from registry.venv import VENV

START_TIMEOUT_SECONDS = 60
#: Where SeaweedFS has the gRPC service of each of its ports.
GRPC_ABOVE = 10_000


class SeaweedFS:
    """On free ports of the loopback address, with its data in the run's folder."""

    def __init__(self, run_dir: Path) -> None:
        self._dir = run_dir / "seaweedfs"
        self._log = run_dir / "seaweedfs.log"
        self._process: Process | None = None
        self._ports = _free_ports(3)
        self.url = f"http://127.0.0.1:{self._ports[2]}"

    def start(self) -> None:
        self._dir.mkdir(exist_ok=True)
        master, volume, filer = self._ports
        command = [VENV / "bin" / "weed", "-logtostderr=true", "server", f"-dir={self._dir}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += ["-filer", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
        command += ["-master.volumeSizeLimitMB=64", "-volume.max=50", "-volume.preStopSeconds=0"]
        self._process = Process("SeaweedFS", command, self._log)
        wait_until(f"SeaweedFS takes objects ({self._log})", self._takes_objects, START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _takes_objects(self) -> bool:
        if self._process is not None:
            self._process.check_alive()
        try:
            request = urllib.request.Request(f"{self.url}/.ready", b"x", method="PUT")
            with urllib.request.urlopen(request, timeout=5) as reply:
                return bool(reply.status == 201)
        except (urllib.error.URLError, ConnectionError):
            return False


def _free_ports(count: int) -> list[int]:
    """Ports whose gRPC neighbours are free as well."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(10_100, 22_000)
        if port not in ports and all(_is_free(each) for each in (port, port + GRPC_ABOVE)):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
