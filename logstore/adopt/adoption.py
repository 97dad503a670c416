"""Adopting topics: which, in which order, and what of it is all or nothing.

    copy the partitions beside the others -> open them as after a crash (every CRC once more,
    indexes made) -> abort what is open in them -> the topic's record in the catalog: it is there

A process that ends before that record leaves directories of no topic, which the next opening sets
aside; the topic can be adopted again. The committed offsets of groups follow the topics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from logstore.adopt.committed import read_committed_offsets
from logstore.adopt.kafka_directory import FoundPartition, find_partitions
from logstore.adopt.partition_copy import copy_partition
from logstore.api import OffsetToCommit, TopicSpec
from logstore.catalog import INTERNAL_TOPICS, OFFSETS_TOPIC
from logstore.errors import TopicExistsError, UnknownTopicError
from logstore.fs import FileSystem
from logstore.group.offset_records import OffsetKey, OffsetValue
from logstore.store import LocalLogStore

DECOMPRESSED_BYTES_MAX = 256 << 20  # of one batch of committed offsets


@dataclass(frozen=True, slots=True)
class Adopted:
    topic: str
    partitions: int
    size_bytes: int
    end_offsets: tuple[int, ...]


@dataclass(slots=True)
class Adoption:
    """`groups`: how many committed offsets of each were taken over. `notes`: a sentence each."""

    topics: list[Adopted] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def adopt(
    store: LocalLogStore,
    fs: FileSystem,
    roots: Sequence[str],
    *,
    topics: Sequence[str] = (),
    configs: Mapping[str, str] | None = None,
    unclean: bool = False,
    with_topics: bool = True,
    with_offsets: bool = True,
    on_progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Adoption:
    """Take the topics (all, if none is named) of the broker whose log directories are `roots` into
    `store`, which has no driver. The source is not changed. `on_progress`: what, bytes, of all.

    Raises TopicExistsError and UnknownTopicError before anything is copied, StoreFormatError,
    BatchMagicError and CorruptDataError of a topic that is then not there; those before it are.
    """
    found = find_partitions(fs, [root.rstrip("/") or "/" for root in roots], unclean=unclean)
    wanted = _wanted(found, topics)
    result = Adoption()
    if with_topics:
        _refuse_existing(store, wanted)
        total = sum(part.size_bytes for name in wanted for part in found[name])
        done = 0

        def copied(count: int) -> None:
            nonlocal done
            done += count
            on_progress(name, done, total)

        for name in wanted:
            adopted, notes = _adopt_topic(
                store, fs, found[name], configs or {}, unclean=unclean, on_bytes=copied
            )
            result.topics.append(adopted)
            result.notes += notes
    if with_offsets and OFFSETS_TOPIC in found:
        offsets = read_committed_offsets(
            fs, found[OFFSETS_TOPIC], decompressed_bytes_max=DECOMPRESSED_BYTES_MAX
        )
        _commit(store, offsets, set(wanted), result)
    return result


def _wanted(found: Mapping[str, Sequence[FoundPartition]], topics: Sequence[str]) -> list[str]:
    for name in topics:
        if name not in found or name in INTERNAL_TOPICS:
            raise UnknownTopicError(f"the broker has no topic {name!r} to adopt", topic=name)
    names = topics or [name for name in found if name not in INTERNAL_TOPICS]
    return sorted(set(names))


def _refuse_existing(store: LocalLogStore, wanted: Sequence[str]) -> None:
    there = {info.name for info in store.describe_topics(include_internal=True)}
    for name in wanted:
        if name in there:
            raise TopicExistsError(
                f"the store has a topic {name!r} already; nothing was adopted. Name the topics to "
                "adopt, or delete that one first",
                topic=name,
            )


def _adopt_topic(
    store: LocalLogStore,
    fs: FileSystem,
    parts: Sequence[FoundPartition],
    configs: Mapping[str, str],
    *,
    unclean: bool,
    on_bytes: Callable[[int], None],
) -> tuple[Adopted, list[str]]:
    name = parts[0].topic
    notes: list[str] = []

    def fill(partition: int, directory: str) -> int:
        copied = copy_partition(fs, parts[partition], directory, unclean=unclean, on_bytes=on_bytes)
        notes.extend(copied.notes)
        return copied.end_offset

    # A key's partition was chosen by Kafka's clients: so it must be from now on.
    overrides = {"partitioner": "murmur2"} | dict(configs)
    ends, aborted = store.adopt_topic(
        TopicSpec(name, len(parts), overrides), parts[0].topic_id, fill
    )
    size = sum(part.size_bytes for part in parts)
    return Adopted(name, len(parts), size, tuple(ends)), notes + aborted


def _commit(
    store: LocalLogStore,
    offsets: Mapping[OffsetKey, OffsetValue],
    topics: set[str],
    result: Adoption,
) -> None:
    groups: dict[str, list[OffsetToCommit]] = {}
    counts = {info.name: len(info.partitions) for info in store.describe_topics()}
    for key, value in offsets.items():
        if key.topic in topics and key.partition < counts.get(key.topic, 0):
            groups.setdefault(key.group_id, []).append(
                OffsetToCommit(
                    key.topic, key.partition, value.offset, value.leader_epoch, value.metadata
                )
            )
    for group_id, items in sorted(groups.items()):
        written = store.commit_offsets(group_id, items)
        store.run_flush()
        written.result()
        result.groups[group_id] = len(items)
