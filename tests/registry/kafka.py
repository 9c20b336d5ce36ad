"""Apache Kafka of Maven Central, one node as it ships: what the gateway is compared with."""

import base64
import subprocess
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from registry import clients, tools
from registry.broker import Broker
from registry.process import Command, Process, free_ports, wait_until
from registry.report import Failure

START_TIMEOUT_SECONDS = 60

# The memory and collector settings of Kafka's own start script.
_JVM = ["-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"]
_JVM += ["-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true", "-Dorg.apache.logging.log4j.level=INFO"]

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class Kafka(Broker):
    """One KRaft node that is broker and controller at once."""

    def __init__(self, run_dir: Path, data_dir: Path) -> None:
        super().__init__(run_dir)
        self.name = f"Kafka {tools.KAFKA_VERSION}"
        broker, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{broker}"
        self._settings = run_dir / "kafka.properties"
        self._settings.write_text(_SETTINGS.format(broker=broker, controller=controller, data=data_dir))
        self._java: Command = [tools.java(17), *_JVM, "-cp", f"{tools.kafka_libs()}/*"]
        if not (data_dir / "meta.properties").exists():
            self._format()

    def start(self) -> None:
        self.process = Process(self.name, [*self._java, "kafka.Kafka", self._settings], self.run_dir / "kafka.log")
        admin = AdminClient(clients.settings(self.bootstrap))
        wait_until(f"{self.name} answers", lambda: self._answers(admin), START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        self.running().stop(patience=30)
        self.process = None

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command: Command = [*self._java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", self._settings]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Failure("Kafka's storage could not be formatted", (done.stdout + done.stderr).splitlines()[-10:])

    def _answers(self, admin: AdminClient) -> bool:
        self.running()
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False
