#!/usr/bin/env python3
"""Prepares what `cargo test` needs and cargo does not bring: kcat, the Java clients, Kafka's tools, a Schema Registry.

Does nothing that is done already. The tests say to run this when something is missing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS))
sys.dont_write_bytecode = True

from registry import tools, venv  # noqa: E402  (found by the line above)

#: Each leaves one jar named like this in its `target` folder.
JAVA_PROJECTS = {
    TESTS / "clients" / "java": "java-clients.jar",
    TESTS / "registry" / "reproducer": "schema-registry-reproducer.jar",
}


def main() -> None:
    venv.enter()
    need_program("mvn", "maven")
    need_program("kcat", "kcat")
    for project, jar in JAVA_PROJECTS.items():
        package(project, jar)
    build_go_clients()
    install_node_clients()
    tools.kafka_libs()
    tools.old_java_clients()
    tools.apicurio_home()
    link_java()


def need_program(program: str, package_name: str) -> None:
    """Install it from the system's packages unless it is there."""
    if shutil.which(program):
        return
    print(f"setup  {package_name}", flush=True)
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if not shutil.which("apt-get"):
        sys.exit(f"{program} is missing, and there is no apt-get here: install {package_name} by hand")
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", package_name]):
        done = subprocess.run([*prefix, "apt-get", "--quiet", "--quiet", *arguments], capture_output=True, text=True)
    if done.returncode != 0 or not shutil.which(program):
        sys.exit(f"{package_name} could not be installed:\n{done.stdout}{done.stderr}")


def package(project: Path, jar_name: str) -> None:
    """Build the jar unless it is newer than everything it is made of."""
    jar = project / "target" / jar_name
    sources = [project / "pom.xml", *(path for path in (project / "src").rglob("*") if path.is_file())]
    with venv.lock(jar_name):
        if jar.is_file() and jar.stat().st_mtime >= max(path.stat().st_mtime for path in sources):
            return
        print(f"setup  {jar_name}", flush=True)
        tools.maven(["package"], project)
        jar.touch()


def build_go_clients() -> None:
    """Go itself knows what is up to date, and checks what it fetches against go.sum."""
    need_program("go", "golang")
    with venv.lock("go-clients"):
        run(["go", "build", "-o", f"{venv.CACHE / 'go'}{os.sep}", "./..."], TESTS / "clients" / "go")


def install_node_clients() -> None:
    """What package-lock.json says, unless it is there."""
    need_program("npm", "npm")
    project = TESTS / "clients" / "node"
    wanted, installed = project / "package-lock.json", project / "node_modules" / ".package-lock.json"
    with venv.lock("node-clients"):
        if installed.is_file() and installed.stat().st_mtime >= wanted.stat().st_mtime:
            return
        print("setup  node_modules", flush=True)
        run(["npm", "ci", "--no-audit", "--no-fund"], project)
        installed.touch()


def run(command: list[str], directory: Path) -> None:
    """Run it quietly; its output is shown only when it fails."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed in {directory}:\n{done.stdout}{done.stderr}")


def link_java() -> None:
    """`.cache/tools/java` is a Java that everything here runs on; the machine's own may be older."""
    link = tools.TOOLS / "java"
    java = tools.java(21)
    if not link.is_symlink() or link.resolve() != java.resolve():
        link.unlink(missing_ok=True)
        link.symlink_to(java)


if __name__ == "__main__":
    main()
