"""Where a reset moves a group's offsets to; pure but for the look-ups it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from logstore.api import (
    OffsetAnswer,
    OffsetQuery,
    OffsetReset,
    ResetTo,
    TopicPartition,
)
from logstore.errors import InvalidRequestError, UnknownTopicError

Locate = Callable[[Sequence[OffsetQuery]], list[OffsetAnswer]]
Bounds = Callable[[str, int], tuple[int, int]]


def resolve_reset(
    reset: OffsetReset,
    counts: Mapping[str, int],
    committed: Mapping[TopicPartition, int],
    bounds: Bounds,
    locate: Locate,
) -> dict[TopicPartition, int]:
    """The new offset of each partition, inside its log. Without topics and partitions: those
    that have one now. Raises UnknownTopicError, UnknownPartitionError, InvalidRequestError."""
    parts = _partitions(reset, counts, committed)
    limits = {part: bounds(*part) for part in parts}
    if reset.to is ResetTo.TIMESTAMP:
        wanted = _by_time(parts, reset.value, limits, locate)
    else:
        wanted = {part: _wanted(reset, part, limits[part], committed) for part in parts}
    return {part: min(max(wanted[part], limits[part][0]), limits[part][1]) for part in parts}


def _partitions(
    reset: OffsetReset, counts: Mapping[str, int], committed: Mapping[TopicPartition, int]
) -> list[TopicPartition]:
    parts = {TopicPartition(*part) for part in reset.partitions}
    for topic in reset.topics:
        if topic not in counts:
            raise UnknownTopicError(f"there is no topic {topic!r}", topic=topic)
        parts |= {TopicPartition(topic, partition) for partition in range(counts[topic])}
    if not reset.topics and not reset.partitions:
        parts = {part for part in committed if part.partition < counts.get(part.topic, 0)}
    if not parts:
        raise InvalidRequestError(
            f"group {reset.group_id!r} has no offsets; name the topics or partitions to reset"
        )
    return sorted(parts)


def _wanted(
    reset: OffsetReset,
    part: TopicPartition,
    limits: tuple[int, int],
    committed: Mapping[TopicPartition, int],
) -> int:
    if reset.to is ResetTo.EARLIEST:
        return limits[0]
    if reset.to is ResetTo.LATEST:
        return limits[1]
    if reset.to is ResetTo.OFFSET:
        return reset.value
    if part not in committed:
        raise InvalidRequestError(
            f"{part.topic}-{part.partition} has no committed offset to shift; "
            "reset it to an offset first"
        )
    return committed[part] + reset.value


def _by_time(
    parts: Sequence[TopicPartition],
    timestamp_ms: int,
    limits: Mapping[TopicPartition, tuple[int, int]],
    locate: Locate,
) -> dict[TopicPartition, int]:
    """The first record at or after the time; the end where there is none."""
    if timestamp_ms < 0:
        raise InvalidRequestError(f"timestamp {timestamp_ms} is negative")
    answers = locate([OffsetQuery(*part, timestamp_ms) for part in parts])
    found: dict[TopicPartition, int] = {}
    for part, answer in zip(parts, answers, strict=True):
        if answer.error is not None:
            raise answer.error
        found[part] = answer.offset if answer.offset >= 0 else limits[part][1]
    return found
