"""What the tests need of a broker, whether it is the gateway or Apache Kafka."""

from abc import ABC, abstractmethod
from pathlib import Path

from registry.process import Process


class Broker(ABC):
    """A broker on loopback that keeps its port and its data from one start to the next."""

    #: For tables and messages.
    name: str
    #: `host:port`, known once it has started.
    bootstrap: str
    #: Whether it keeps its data when it is killed.
    durable: bool = True

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.process: Process | None = None

    @abstractmethod
    def start(self) -> None:
        """Start and wait until it serves."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order."""

    def kill(self) -> None:
        """`kill -9`."""
        self.running().kill()
        self.process = None

    def crash_and_restart(self) -> None:
        """`kill -9`, then start on the same port and the same data."""
        self.kill()
        self.start()

    def running(self) -> Process:
        if self.process is None:
            raise RuntimeError(f"{self.name} is not running")
        self.process.check_alive()
        return self.process
