"""A broker of its own for each round: how long it takes from exec to its first Metadata answer, and its memory then."""

import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.broker import Broker
from registry.process import free_ports

#: MetadataRequest v1 for no topics, correlation id 1, no client id.
_METADATA = struct.pack(">hhihi", 3, 1, 1, -1, 0)
#: Short against what is measured, and light against what starts.
_PAUSE_SECONDS = 0.0005
_SETTLE_SECONDS = 2


def measure(make: Callable[[], Broker], data: Path, fill: Callable[[Broker], None]) -> dict[str, float]:
    """With nothing, and with what `fill` wrote after kill -9. `make` takes an empty `data` directory, which is removed."""
    with _fresh(make, data) as broker:
        empty = _timed_start(broker)
        fill(broker)
        broker.kill()
        killed = _timed_start(broker)
    return {"start_empty_ms": empty, "start_killed_ms": killed}


def idle_memory(make: Callable[[], Broker], data: Path, load: Callable[[Broker], dict[str, float]] | None) -> dict[str, float]:
    """A while after the start; and whatever `load` finds out then."""
    with _fresh(make, data) as broker:
        broker.start()
        time.sleep(_SETTLE_SECONDS)
        resident = broker.running().memory_mib()
        return {"idle_mib": resident, **(load(broker) if load else {})}


@contextmanager
def _fresh(make: Callable[[], Broker], data: Path) -> Iterator[Broker]:
    """A broker that knows its port before it starts, and is gone at the end."""
    try:
        broker = make()
        if broker.bootstrap.endswith(":0"):
            broker.bootstrap = f"127.0.0.1:{free_ports(1)[0]}"
        yield broker
        broker.kill()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _timed_start(broker: Broker) -> float:
    """In milliseconds. The broker's own `start` waits with pauses; a thread asks all the time."""
    host, port = broker.bootstrap.rsplit(":", 1)
    answered: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not answered and not stop.is_set():
            if _answers(host, int(port)):
                answered.append(time.perf_counter())
            else:
                time.sleep(_PAUSE_SECONDS)

    thread = threading.Thread(target=ask)
    thread.start()
    began = time.perf_counter()
    try:
        broker.start()
        thread.join(60)
    finally:
        stop.set()
        thread.join()
    if not answered:
        raise TimeoutError(f"{broker.name} answers no Metadata request")
    return (answered[0] - began) * 1e3


def _answers(host: str, port: int) -> bool:
    """Whether there is an answer that names a broker."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(_METADATA)) + _METADATA)
            with connection.makefile("rb") as replies:
                head = replies.read(12)
    except OSError:
        return False
    # Length, correlation id, count of brokers.
    return len(head) == 12 and struct.unpack(">iii", head)[2] > 0
