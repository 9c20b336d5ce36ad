"""Where logs end and what groups have committed, asked with connections of their own."""

from collections.abc import Iterable

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from registry import clients

#: (topic, partition) → offset
Offsets = dict[tuple[str, int], int]

_TIMEOUT_SECONDS = 20


def create_topics(bootstrap: str, topics: Iterable[str], partitions: int) -> None:
    admin = AdminClient(clients.settings(bootstrap))
    wanted = [NewTopic(topic, num_partitions=partitions, replication_factor=1) for topic in topics]
    for created in admin.create_topics(wanted, request_timeout=_TIMEOUT_SECONDS).values():
        created.result(_TIMEOUT_SECONDS)


def topics(bootstrap: str) -> dict[str, int]:
    """All topics with the number of their partitions."""
    found = AdminClient(clients.settings(bootstrap)).list_topics(timeout=_TIMEOUT_SECONDS).topics
    return {name: len(topic.partitions) for name, topic in found.items()}


def groups(bootstrap: str) -> list[str]:
    listed = AdminClient(clients.settings(bootstrap)).list_consumer_groups(request_timeout=_TIMEOUT_SECONDS)
    return [group.group_id for group in listed.result(_TIMEOUT_SECONDS).valid]


def log_ends(bootstrap: str, names: Iterable[str]) -> Offsets:
    """The high watermark of each partition."""
    consumer = _consumer(bootstrap, "log-ends")
    try:
        keys = _partitions(bootstrap, names)
        return {key: consumer.get_watermark_offsets(TopicPartition(*key), timeout=_TIMEOUT_SECONDS)[1] for key in keys}
    finally:
        consumer.close()


def log_start(bootstrap: str, topic: str) -> int:
    consumer = _consumer(bootstrap, "log-start")
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_TIMEOUT_SECONDS)[0]
    finally:
        consumer.close()


def committed(bootstrap: str, group: str, names: Iterable[str]) -> Offsets:
    """What the group has committed; partitions without a commit are left out."""
    consumer = _consumer(bootstrap, group)
    try:
        asked = [TopicPartition(*key) for key in _partitions(bootstrap, names)]
        answered = consumer.committed(asked, timeout=_TIMEOUT_SECONDS)
        return {(each.topic, each.partition): each.offset for each in answered if each.offset >= 0}
    finally:
        consumer.close()


def differences(actual: Offsets, expected: Offsets) -> list[str]:
    """Each partition that is not as expected, in words."""
    keys = sorted(actual.keys() | expected.keys())
    return [f"{topic}-{partition}: {actual.get((topic, partition))}, expected {expected.get((topic, partition))}"
            for topic, partition in keys if actual.get((topic, partition)) != expected.get((topic, partition))]


def _partitions(bootstrap: str, names: Iterable[str]) -> list[tuple[str, int]]:
    known = topics(bootstrap)
    return [(name, partition) for name in names for partition in range(known.get(name, 0))]


def _consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(clients.consumer_settings(bootstrap, group))
