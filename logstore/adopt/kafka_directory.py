"""What is in the log directories of a stopped Kafka broker. Nothing is changed.

    <log.dir>/meta.properties             which cluster, which node
             /.kafka_cleanshutdown        is there while the broker is down, if it stopped cleanly
             /log-start-offset-checkpoint text: version, count, then "topic partition offset"
             /<topic>-<n>/                a partition:
                 00000000000000000000.log and so on: segments
                 leader-epoch-checkpoint  text: version, count, then "epoch start_offset"
                 partition.metadata       the topic's UUID

Directories on their way out (`...-delete`), in (`...-future`) or aside (`...-stray`) are no
partitions. A topic may be spread over several log directories.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from logstore.errors import CorruptDataError, StoreFormatError
from logstore.fs import FileSystem
from logstore.log.checkpoint import LeaderEpochs, read_text
from logstore.log.format import IDENTITY_FILE, LOG_START_FILE, LOG_SUFFIX, parse_offset_name
from logstore.store_files import parse_kafka_uuid, parse_partition_directory

META_FILE = "meta.properties"
CLEAN_FILE = ".kafka_cleanshutdown"


@dataclass(frozen=True, slots=True)
class FoundPartition:
    """`segments`: base offsets, ascending; there is one at least. `epochs` None: not told."""

    topic: str
    partition: int
    directory: str
    topic_id: uuid.UUID | None
    log_start_offset: int
    epochs: LeaderEpochs | None
    segments: tuple[int, ...]
    size_bytes: int


def find_partitions(
    fs: FileSystem, roots: Sequence[str], *, unclean: bool = False
) -> dict[str, list[FoundPartition]]:
    """By topic, each with its partitions in order. Raises StoreFormatError where a root is none of
    a broker's, or the broker may be running or did not stop cleanly (unless `unclean`), or a topic
    lacks a partition; CorruptDataError."""
    found: dict[str, dict[int, FoundPartition]] = {}
    for root in roots:
        _check_root(fs, root, unclean=unclean)
        starts = _log_starts(fs, root)
        for name in sorted(fs.list_directory(root)):
            part = parse_partition_directory(name)
            if part is None or not fs.is_directory(f"{root}/{name}"):
                continue
            partition = _partition(fs, f"{root}/{name}", *part, starts.get(part, 0))
            others = found.setdefault(part[0], {})
            if part[1] in others:
                raise StoreFormatError(
                    f"{name} is in {others[part[1]].directory} and in {partition.directory}: "
                    "give the directories of one broker",
                    path=partition.directory,
                )
            others[part[1]] = partition
    return {topic: _all_of(topic, parts) for topic, parts in sorted(found.items())}


def _check_root(fs: FileSystem, root: str, *, unclean: bool) -> None:
    if not fs.exists(f"{root}/{META_FILE}"):
        raise StoreFormatError(
            f"{root} is no log directory of a Kafka broker: it has no {META_FILE}", path=root
        )
    if not unclean and not fs.exists(f"{root}/{CLEAN_FILE}"):
        raise StoreFormatError(
            f"{root} has no {CLEAN_FILE}: the broker runs, or was killed. Stop it in an orderly "
            "way; if it cannot be started any more, say --unclean, and what was not written to its "
            "end is left out",
            path=root,
        )


def _log_starts(fs: FileSystem, root: str) -> dict[tuple[str, int], int]:
    path = f"{root}/{LOG_START_FILE}"
    text = read_text(fs, path)
    if text is None:
        return {}
    try:
        version, count, *lines = text.splitlines()
        if version != "0" or int(count) != len(lines):
            raise ValueError(text)
        rows = [line.split(" ") for line in lines]
        return {(topic, int(partition)): int(offset) for topic, partition, offset in rows}
    except ValueError:
        raise CorruptDataError(f"{path} is damaged", path=path) from None


def _partition(
    fs: FileSystem, directory: str, topic: str, partition: int, log_start_offset: int
) -> FoundPartition:
    names = fs.list_directory(directory)
    bases = sorted(
        base for name in names if (base := parse_offset_name(name, LOG_SUFFIX)) is not None
    )
    if not bases:
        raise CorruptDataError(f"{directory} holds no segment", path=directory)
    size = 0
    for base in bases:
        file = fs.open(f"{directory}/{base:020d}{LOG_SUFFIX}", write=False)
        size += file.size()
        file.close()
    return FoundPartition(
        topic,
        partition,
        directory,
        _topic_id(fs, directory),
        max(log_start_offset, bases[0]),
        LeaderEpochs.read(fs, directory),
        tuple(bases),
        size,
    )


def _topic_id(fs: FileSystem, directory: str) -> uuid.UUID | None:
    """None of a broker that gave topics none (before 2.8)."""
    text = read_text(fs, f"{directory}/{IDENTITY_FILE}")
    if text is None:
        return None
    fields = dict(line.partition(": ")[::2] for line in text.splitlines())
    try:
        return parse_kafka_uuid(fields["topic_id"])
    except (KeyError, ValueError):
        path = f"{directory}/{IDENTITY_FILE}"
        raise CorruptDataError(f"{path} is damaged: it names no topic id", path=path) from None


def _all_of(topic: str, parts: dict[int, FoundPartition]) -> list[FoundPartition]:
    for number in range(max(parts)):
        if number not in parts:
            raise StoreFormatError(
                f"{topic}-{number} is missing: give all log directories of the broker; a topic "
                "that is on several brokers must be copied by a client",
                topic=topic,
                partition=number,
            )
    return [parts[number] for number in sorted(parts)]
