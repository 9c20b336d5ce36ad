"""Settings that every client of the tests shares."""

import logging
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger("librdkafka")
_LOGGER.propagate = False
_LOGGER.addHandler(logging.NullHandler())


def log_to(file: Path) -> None:
    """Client logs go there: a broker that is killed on purpose would fill the terminal with them."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _LOGGER.addHandler(handler)


def settings(bootstrap: str, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"bootstrap.servers": bootstrap, "logger": _LOGGER, "reconnect.backoff.max.ms": 500, **(extra or {})}


def consumer_settings(bootstrap: str, group: str, on_reset: str = "error") -> dict[str, Any]:
    """Commits are the caller's. Without a position, and told nothing else, it says so rather than going elsewhere."""
    return settings(bootstrap, {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": on_reset})
