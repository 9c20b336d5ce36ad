"""The scripts' own Python environment, so that `python3 script.py` works on a machine that has only Python.

Standard library only: this runs before anything is installed.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
CACHE = REPO / ".cache"
VENV = CACHE / "venv"
REQUIREMENTS = REPO / "tests" / "requirements.txt"


def enter() -> None:
    """Go on in the environment, which is made first where it is missing or out of date."""
    python = VENV / "bin" / "python"
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    with lock("venv"):
        _make(python)
    os.execv(python, [str(python), *sys.orig_argv[1:]])


@contextmanager
def lock(name: str) -> Iterator[None]:
    """One process at a time fills a place in the cache; the others wait and find it filled."""
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(python: Path) -> None:
    stamp = VENV / "requirements.stamp"
    # An environment holds absolute paths and one Python version: moved or upgraded, it is made again.
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + f"{VENV}{sys.version}".encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print("setup  Python packages of tests/requirements.txt", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    stamp.write_text(wanted)
