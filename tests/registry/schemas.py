"""Avro schemas, and the part of the Schema Registry's REST API that registers and reads them back."""

import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

T = TypeVar("T")

_REQUEST_TIMEOUT_SECONDS = 60
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass(frozen=True)
class Schema:
    subject: str
    definition: Mapping[str, Any] = field(hash=False)


def make(run: str, count: int) -> list[Schema]:
    """Different schemas, so that the registry has to write each; `traffic` sends records of them.

    `run` makes names that no earlier run used: a schema already known is answered without a write.
    """
    return [Schema(f"{run}-{number}-value", _definition(run, number)) for number in range(count)]


def topic_of(schema: Schema) -> str:
    """The topic whose values have this schema, by the naming rule that serializers use."""
    return schema.subject.removesuffix("-value")


def _definition(run: str, number: int) -> dict[str, Any]:
    fields: list[dict[str, Any]] = [
        {"name": "source", "type": "string"},
        {"name": "number", "type": "long"},
        {"name": "sent_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "payload", "type": ["null", "string"], "default": None},
        {"name": f"extra_{number}", "type": {"type": "array", "items": "double"}, "default": []},
    ]
    return {"type": "record", "name": f"Event{number}", "namespace": f"tidegate.{run.replace('-', '_')}", "fields": fields}


class RegistryError(Exception):
    """The registry answered with something else than 200."""


class SchemaRegistry:
    """One kept-alive connection to a registry's REST API, Confluent's or a compatible one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=_REQUEST_TIMEOUT_SECONDS)
        self._prefix = parts.path.rstrip("/")

    def register(self, schema: Schema) -> int:
        """Answers the id that the registry gave it."""
        body = {"schema": json.dumps(schema.definition)}
        return int(self._call("POST", f"/subjects/{quote(schema.subject, safe='')}/versions", body)["id"])

    def by_id(self, number: int) -> Any:
        return json.loads(self._call("GET", f"/schemas/ids/{number}")["schema"])

    def by_subject(self, subject: str) -> tuple[int, Any]:
        """The id and the definition of the subject's newest version."""
        found = self._call("GET", f"/subjects/{quote(subject, safe='')}/versions/latest")
        return found["id"], json.loads(found["schema"])

    def wait_until_ready(self, timeout: float) -> None:
        self._retry("the registry lists its subjects", timeout, lambda: self._call("GET", "/subjects"))

    def register_when_possible(self, schema: Schema, timeout: float) -> int:
        """Keep trying while the registry finds its broker again."""
        return self._retry(f"the registry takes {schema.subject}", timeout, lambda: self.register(schema))

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        content = json.dumps(body) if body is not None else None
        headers = {"Content-Type": _CONTENT_TYPE} if content else {}
        try:
            self._connection.request(method, self._prefix + path, content, headers)
            reply = self._connection.getresponse()
            text = reply.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RegistryError(f"{method} {path}: {error!r}") from error
        if reply.status != 200:
            raise RegistryError(f"{method} {path}: {reply.status} {text[:300]}")
        return json.loads(text)

    def _retry(self, what: str, timeout: float, attempt: Callable[[], T]) -> T:
        deadline = time.monotonic() + timeout
        while True:
            try:
                return attempt()
            except RegistryError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{what}: not within {timeout:.0f} s; last answer: {error}") from error
            time.sleep(0.2)


@dataclass(frozen=True)
class Verified:
    """How many of the schemas a registry still knows, and what it answers for the others."""

    wanted: int
    by_subject: int
    by_id: int
    missing: list[str]

    @property
    def count(self) -> int:
        return min(self.by_subject, self.by_id)


def verify(registry: SchemaRegistry, ids: Mapping[Schema, int]) -> Verified:
    """Read each schema back by subject and by id, and compare the content."""
    by_subject = [_difference(registry, schema, number, by_id=False) for schema, number in ids.items()]
    by_id = [_difference(registry, schema, number, by_id=True) for schema, number in ids.items()]
    return Verified(len(ids), by_subject.count(""), by_id.count(""), [*filter(None, by_subject + by_id)])


def _difference(registry: SchemaRegistry, schema: Schema, number: int, by_id: bool) -> str:
    """What is wrong with the registry's answer; empty when it is right."""
    way = f"id {number}" if by_id else "subject"
    try:
        found_id, definition = (number, registry.by_id(number)) if by_id else registry.by_subject(schema.subject)
    except RegistryError as error:
        return f"{schema.subject} by {way}: {error}"
    if found_id != number:
        return f"{schema.subject} by {way}: id {found_id}, registered as {number}"
    if definition != schema.definition:
        return f"{schema.subject} by {way}: another schema: {json.dumps(definition)}"
    return ""


def register_all(registry: SchemaRegistry, schemas: Iterable[Schema]) -> tuple[dict[Schema, int], list[str]]:
    """Answers the ids, and what went wrong with the schemas that have none."""
    ids: dict[Schema, int] = {}
    failures = []
    for schema in schemas:
        try:
            ids[schema] = registry.register(schema)
        except RegistryError as error:
            failures.append(f"{schema.subject}: {error}")
    return ids, failures
