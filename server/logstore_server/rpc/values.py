"""The store's plain values as protobuf messages, and back; what more than one service needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from logstore.api import Acks, CommittedOffset, OffsetToCommit, TopicInfo, TopicPartition
from logstore.errors import InvalidRequestError
from logstore.v1 import common_pb2, group_service_pb2, topic_service_pb2

ACKS = {
    common_pb2.ACKS_UNSPECIFIED: Acks.ALL,
    common_pb2.ACKS_ALL: Acks.ALL,
    common_pb2.ACKS_LEADER: Acks.LEADER,
    common_pb2.ACKS_NONE: Acks.NONE,
}

COMPRESSION_NAMES = {
    common_pb2.COMPRESSION_UNSPECIFIED: "none",
    common_pb2.COMPRESSION_GZIP: "gzip",
    common_pb2.COMPRESSION_SNAPPY: "snappy",
    common_pb2.COMPRESSION_LZ4: "lz4",
    common_pb2.COMPRESSION_ZSTD: "zstd",
}


class _Optional(Protocol):
    def HasField(self, field_name: str) -> bool: ...


def acks(number: int) -> Acks:
    try:
        return ACKS[number]  # type: ignore[index]
    except KeyError:
        raise InvalidRequestError(f"there is no Acks value {number}") from None


def is_read_committed(isolation: int) -> bool:
    if isolation not in common_pb2.Isolation.values():
        raise InvalidRequestError(f"there is no Isolation value {isolation}")
    return isolation == common_pb2.ISOLATION_READ_COMMITTED


def wants_records(record_format: int) -> bool:
    if record_format not in common_pb2.RecordFormat.values():
        raise InvalidRequestError(f"there is no RecordFormat value {record_format}")
    return record_format == common_pb2.RECORD_FORMAT_RECORDS


def optional(message: _Optional, name: str) -> object:
    """The field's value, or None where it is not set."""
    return getattr(message, name) if message.HasField(name) else None


def offsets_of(messages: Iterable[group_service_pb2.OffsetToCommit]) -> list[OffsetToCommit]:
    return [
        OffsetToCommit(
            item.topic,
            item.partition,
            item.offset,
            item.leader_epoch if item.HasField("leader_epoch") else -1,
            item.metadata,
        )
        for item in messages
    ]


def partitions_of(
    partitions: Iterable[common_pb2.TopicPartition],
) -> tuple[TopicPartition, ...]:
    return tuple(TopicPartition(item.topic, item.partition) for item in partitions)


def partition_messages(
    partitions: Iterable[TopicPartition],
) -> list[common_pb2.TopicPartition]:
    return [
        common_pb2.TopicPartition(topic=item.topic, partition=item.partition) for item in partitions
    ]


def topic_message(info: TopicInfo) -> topic_service_pb2.Topic:
    return topic_service_pb2.Topic(
        name=info.name,
        topic_id=info.topic_id.bytes,
        internal=info.internal,
        configs=info.configs,
        overrides=info.overrides,
        partitions=[
            topic_service_pb2.Partition(
                partition=item.partition,
                endpoint=item.endpoint,
                leader_epoch=item.leader_epoch,
                log_start_offset=item.log_start_offset,
                high_watermark=item.high_watermark,
                log_end_offset=item.log_end_offset,
                size_bytes=item.size_bytes,
            )
            for item in info.partitions
        ],
    )


def committed_messages(
    offsets: Sequence[CommittedOffset],
) -> list[group_service_pb2.CommittedOffset]:
    return [
        group_service_pb2.CommittedOffset(
            topic=item.topic,
            partition=item.partition,
            offset=item.offset,
            leader_epoch=item.leader_epoch,
            metadata=item.metadata,
            commit_timestamp_ms=item.commit_timestamp_ms,
        )
        for item in offsets
    ]
