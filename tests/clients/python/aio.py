"""A member by aiokafka."""

import asyncio

import member
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from member import ARGUMENTS


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        member.assigned(partition.partition for partition in assigned)


async def main() -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=ARGUMENTS.bootstrap,
        group_id=ARGUMENTS.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        partition_assignment_strategy=[RangePartitionAssignor],
        session_timeout_ms=member.SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=member.HEARTBEAT_INTERVAL_MS,
    )
    consumer.subscribe([ARGUMENTS.topic], listener=Listener())
    await consumer.start()
    while True:
        try:
            await take(consumer)
        except KafkaError as error:
            member.failed(error)


async def take(consumer: AIOKafkaConsumer) -> None:
    offsets = {}
    for partition, records in (await consumer.getmany(timeout_ms=100)).items():
        for record in records:
            member.read(record.partition, record.offset)
        offsets[partition] = records[-1].offset + 1
    if offsets:
        await consumer.commit(offsets)
        for partition, offset in offsets.items():
            member.committed(partition.partition, offset)


if __name__ == "__main__":
    asyncio.run(main())
