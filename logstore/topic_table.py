"""The topics of an open store: catalog state in memory, its log, and the partition logs.

One lock orders all changes of topics; it is held over their disk work, since a half-made topic
must not be seen. Look-ups take no lock: they read one dict, whose entries are replaced, never
changed.

Create: directories are made and synced, then the catalog record is. Delete: the catalog record
first, then the directory is renamed to `<name>.<id>-delete` and removed. So after a crash a
directory without a record is never a topic: it is set aside, `<name>.<id>-stray`, and reported.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace

from logstore import catalog
from logstore.access import AccessState
from logstore.api import TopicSpec
from logstore.catalog import CatalogState, Topic
from logstore.clock import Clock
from logstore.config import (
    StoreConfig,
    TopicConfig,
    canonical_config_names,
    canonical_topic_configs,
)
from logstore.errors import (
    CorruptDataError,
    InvalidRequestError,
    StorageFailedError,
    TopicExistsError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.fs import FileSystem
from logstore.journal import KeyValue, append_records, replay
from logstore.log import (
    Flusher,
    PartitionLog,
    PartitionParts,
    SegmentCache,
    StateFile,
    UnopenedLog,
)
from logstore.log.checkpoint import write_identity
from logstore.log.faults import storage_error
from logstore.log.foreign import end_foreign_transactions
from logstore.log.topic_codec import SENDERS_CHOICE
from logstore.store_files import (
    DELETED_SUFFIX,
    STATE_FILE,
    STRAY_SUFFIX,
    parse_partition_directory,
    partition_directory,
    retired_directory,
)


@dataclass(frozen=True, slots=True)
class OpenTopic:
    topic: Topic
    config: TopicConfig
    logs: tuple[PartitionLog, ...]


class TopicTable:
    """Owner of all partition logs of a store. Thread-safe."""

    def __init__(
        self,
        fs: FileSystem,
        root: str,
        *,
        limits: StoreConfig,
        clock: Clock,
        executor: Executor | None,
        new_id: Callable[[], uuid.UUID],
        on_change: Callable[[], None],
    ) -> None:
        """Recover everything in `root`, which exists and is locked by the caller."""
        self._fs = fs
        self._root = root
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._on_change = on_change
        self._lock = threading.Lock()
        self._state_file = StateFile.open(fs, f"{root}/{STATE_FILE}")
        self.is_exact = self._state_file.is_exact
        self._segments = SegmentCache(limits.open_segments_max)
        self.flusher = Flusher(fs, root, limits=limits, clock=clock, executor=executor)
        self.set_aside: list[str] = []  # directories found that belong to no topic
        self._open: dict[str, OpenTopic] = {}
        self._names: dict[uuid.UUID, str] = {}  # by topic id
        self._next_producer_id = 0
        self._catalog_log = self._open_catalog()
        records = replay(self._catalog_log, limits.decompressed_bytes_max)
        self._state = CatalogState().apply((key, value) for key, value, _ in records)
        self._next_producer_id = self._state.next_producer_id
        self._retire_strangers()
        for topic in self._state.topics.values():
            self._open[topic.name] = self._open_topic(topic)
            self._names[topic.topic_id] = topic.name
        self._state_file.begin()

    # --- look-ups ---------------------------------------------------------------------------

    def get(self, name: str) -> OpenTopic:
        try:
            return self._open[name]
        except KeyError:
            raise UnknownTopicError(
                f"there is no topic {name!r}; create it first", topic=name
            ) from None

    def name_of(self, topic_id: uuid.UUID) -> str:
        try:
            return self._names[topic_id]
        except KeyError:
            raise UnknownTopicError(
                f"there is no topic with id {topic_id}", topic_id=topic_id
            ) from None

    def has(self, name: str) -> bool:
        return name in self._open

    def log(self, name: str, partition: int) -> PartitionLog:
        logs = self.get(name).logs
        if 0 <= partition < len(logs):
            return logs[partition]
        raise UnknownPartitionError(
            f"topic {name!r} has no partition {partition}: it has 0 to {len(logs) - 1}",
            topic=name,
            partition=partition,
        )

    def log_for_users(self, name: str, partition: int) -> PartitionLog:
        """The same, for a write: nobody but logstore writes to its own topics."""
        if name in catalog.INTERNAL_TOPICS:
            raise InvalidRequestError(
                f"topic {name!r} belongs to logstore itself and takes no writes", topic=name
            )
        opened = self._open.get(name)
        if opened is not None and 0 <= partition < len(opened.logs):
            return opened.logs[partition]
        return self.log(name, partition)  # says what is missing

    def compresses(self, name: str) -> bool:
        """Whether its appends may be compressed by the log (see log/topic_codec.py)."""
        opened = self._open.get(name)
        return opened is not None and opened.config.compression_type != SENDERS_CHOICE

    def all(self) -> list[OpenTopic]:
        return sorted(self._open.values(), key=lambda opened: opened.topic.name)

    def all_logs(self) -> Iterator[PartitionLog]:
        yield self._catalog_log
        for opened in list(self._open.values()):
            yield from opened.logs

    @property
    def access(self) -> AccessState:
        return self._state.access

    # --- changes ----------------------------------------------------------------------------

    def change_access(self, make: Callable[[AccessState], Sequence[KeyValue]]) -> AccessState:
        """See access.table.Catalog."""
        with self._lock:
            records = make(self._state.access)
            if records:
                self._write(records)
            return self._state.access

    def create(self, spec: TopicSpec, *, validate_only: bool = False) -> OpenTopic:
        """Durable when it returns."""
        catalog.check_topic_name(spec.name)
        overrides = canonical_topic_configs(spec.configs)
        with self._lock:
            if spec.name in self._open:
                raise TopicExistsError(f"topic {spec.name!r} exists already", topic=spec.name)
            catalog.check_partition_count(spec.partitions, minimum=1, room=self._room())
            topic = Topic(spec.name, self._new_id(), spec.partitions, overrides)
            if validate_only:
                return OpenTopic(topic, TopicConfig.from_overrides(overrides), ())
            opened = self._create_locked(topic)
        self._on_change()
        return opened

    def adopt(
        self, spec: TopicSpec, topic_id: uuid.UUID | None, fill: Callable[[int, str], int]
    ) -> tuple[OpenTopic, list[str]]:
        """A topic of files from elsewhere. `fill(partition, directory)` puts segments, and maybe
        checkpoints, into the empty directory, and tells where they end. They are opened as after a
        crash, and what is open in them is aborted, before the topic is there: durably, all or
        nothing. With the topic come sentences on what was aborted.

        Blocks while `fill` works. Raises what it does; the directories are removed then."""
        catalog.check_topic_name(spec.name)
        overrides = canonical_topic_configs(spec.configs)
        with self._lock:
            if spec.name in self._open:
                raise TopicExistsError(f"topic {spec.name!r} exists already", topic=spec.name)
            catalog.check_partition_count(spec.partitions, minimum=1, room=self._room())
            is_free = topic_id is not None and topic_id.int > 1 and topic_id not in self._names
            identity = topic_id if topic_id is not None and is_free else self._new_id()
            topic = Topic(spec.name, identity, spec.partitions, overrides)
            logs: list[PartitionLog] = []
            try:
                self._adopt_logs(topic, fill, logs)
            except BaseException:
                self._drop(topic, logs)
                raise
            notes = end_foreign_transactions(logs, self._clock.now_ms())
            self._skip_producer_ids(logs)
            self._write([catalog.topic_record(topic)])
            opened = OpenTopic(topic, logs[0].config, tuple(logs))
            self._open[topic.name] = opened
            self._names[topic.topic_id] = topic.name
        self._on_change()
        return opened, notes

    def create_internal(self, name: str, partitions: int) -> OpenTopic:
        """The internal topic, made if it is missing."""
        with self._lock:
            if name in self._open:
                return self._open[name]
            return self._create_locked(
                Topic(name, self._new_id(), partitions, catalog.internal_config(name))
            )

    def delete(self, name: str) -> None:
        """The topic is gone with its record, which is durable when this returns. What cannot be
        removed of its files is set aside when the name is used again, or by the next opening."""
        catalog.check_topic_name(name)
        with self._lock:
            opened = self.get(name)
            self._write([catalog.topic_removed_record(name)])
            del self._open[name]
            del self._names[opened.topic.topic_id]
            for log in opened.logs:
                log.abandon()
            for partition in range(len(opened.logs)):
                with suppress(OSError):
                    self._state_file.release(opened.topic.topic_id, partition)
                    directory = partition_directory(name, partition)
                    self._remove(self._retire(directory, opened.topic.topic_id.hex, DELETED_SUFFIX))
            with suppress(OSError):
                self._fs.sync_directory(self._root)
        self._on_change()

    def alter(
        self,
        name: str,
        *,
        set_configs: Mapping[str, str],
        reset_configs: Sequence[str],
        validate_only: bool = False,
    ) -> OpenTopic:
        catalog.check_topic_name(name)
        changes = canonical_topic_configs(set_configs)
        resets = canonical_config_names(reset_configs)
        with self._lock:
            opened = self.get(name)
            overrides = {
                key: value
                for key, value in (dict(opened.topic.overrides) | changes).items()
                if key not in resets
            }
            topic = replace(opened.topic, overrides=overrides)
            config = TopicConfig.from_overrides(overrides)
            if validate_only:
                return OpenTopic(topic, config, opened.logs)
            self._write([catalog.topic_record(topic)])
            for log in opened.logs:
                log.update_config(config)
            self._open[name] = opened = OpenTopic(topic, config, opened.logs)
        self._on_change()
        return opened

    def add_partitions(self, name: str, total: int, *, validate_only: bool = False) -> OpenTopic:
        catalog.check_topic_name(name)
        with self._lock:
            opened = self.get(name)
            old = opened.topic
            catalog.check_partition_count(total, minimum=old.partitions + 1, room=self._room())
            if validate_only:
                return opened
            topic = replace(old, partitions=total)
            added = self._create_logs(topic, opened.config, range(old.partitions, total))
            self._write([catalog.topic_record(topic)])
            self._open[name] = opened = OpenTopic(topic, opened.config, (*opened.logs, *added))
        self._on_change()
        return opened

    def allocate_producer_id(self) -> int:
        with self._lock:
            if self._next_producer_id == self._state.next_producer_id:
                limit = self._next_producer_id + catalog.PRODUCER_ID_BLOCK
                self._write([catalog.producer_ids_record(limit)])
            producer_id = self._next_producer_id
            self._next_producer_id += 1
            return producer_id

    def close(self) -> None:
        """Sync and trim every log, then mark the store as cleanly closed."""
        with self._lock:
            self.flusher.run_round()  # all of them together
            clean = True
            for log in self.all_logs():
                clean &= log.close()
            self._state_file.close(clean=clean)

    # --- inside the lock --------------------------------------------------------------------

    def _room(self) -> int:
        used = sum(len(opened.logs) for opened in self._open.values())
        return self._limits.partitions_max - used

    def _create_locked(self, topic: Topic) -> OpenTopic:
        config = TopicConfig.from_overrides(topic.overrides)
        logs = self._create_logs(topic, config, range(topic.partitions))
        self._write([catalog.topic_record(topic)])
        self._open[topic.name] = opened = OpenTopic(topic, config, tuple(logs))
        self._names[topic.topic_id] = topic.name
        return opened

    def _create_logs(
        self, topic: Topic, config: TopicConfig, partitions: range
    ) -> list[PartitionLog]:
        # Once a record of the catalog is in doubt nothing may take the place of the directories
        # that it speaks of: the next opening may find it.
        self._catalog_log.flush()
        try:
            for partition in partitions:
                self._set_aside_leftover(partition_directory(topic.name, partition))
            logs = [self._create_log(topic, config, partition) for partition in partitions]
            self._fs.sync_directory(self._root)
        except OSError as error:
            raise storage_error(error, "create", f"{self._root}/{topic.name}") from error
        return logs

    def _adopt_logs(
        self, topic: Topic, fill: Callable[[int, str], int], logs: list[PartitionLog]
    ) -> None:
        self._catalog_log.flush()
        config = TopicConfig.from_overrides(topic.overrides)
        try:
            for partition in range(topic.partitions):
                name = partition_directory(topic.name, partition)
                self._set_aside_leftover(name)
                directory = f"{self._root}/{name}"
                self._fs.make_directory(directory)
                write_identity(self._fs, directory, topic.topic_id)
                end = fill(partition, directory)
                self._fs.sync_directory(directory)
                log = PartitionLog.open(
                    self._fs, directory, clean=False, **self._parts(topic, config, partition)
                )
                logs.append(log)
                if log.log_end_offset != end:
                    raise CorruptDataError(
                        f"{directory} should end at offset {end} and ends at {log.log_end_offset}: "
                        + "; ".join(log.recovery_notes),
                        path=directory,
                    )
            self._fs.sync_directory(self._root)
        except OSError as error:
            raise storage_error(error, "adopt", f"{self._root}/{topic.name}") from error

    def _drop(self, topic: Topic, logs: Sequence[PartitionLog]) -> None:
        """Of an adoption that failed."""
        for log in logs:
            log.abandon()
        for partition in range(topic.partitions):
            directory = partition_directory(topic.name, partition)
            with suppress(OSError):
                self._state_file.release(topic.topic_id, partition)
                if self._fs.exists(f"{self._root}/{directory}"):
                    self._remove(self._retire(directory, topic.topic_id.hex, DELETED_SUFFIX))

    def _skip_producer_ids(self, logs: Sequence[PartitionLog]) -> None:
        """A new producer must have none that is in the logs, whose sequences go on there."""
        ids = [known for log in logs for known in log.producers().entries]
        after = max(ids, default=-1) + 1
        if after > self._next_producer_id:
            if after > self._state.next_producer_id:
                self._write([catalog.producer_ids_record(after)])
            self._next_producer_id = after

    def _set_aside_leftover(self, directory: str) -> None:
        """Of a creation that failed, or a topic whose directory could not be removed."""
        if self._fs.exists(f"{self._root}/{directory}"):
            self.set_aside.append(self._retire(directory, self._new_id().hex, STRAY_SUFFIX))

    def _write(self, records: Sequence[KeyValue]) -> None:
        append_records(self._catalog_log, self.flusher, records, self._clock.now_ms()).result()
        self._state = self._state.apply(records)

    def _retire(self, name: str, identity: str, suffix: str) -> str:
        retired = retired_directory(name, identity, suffix)
        self._fs.rename(f"{self._root}/{name}", f"{self._root}/{retired}")
        return retired

    def _remove(self, name: str) -> None:
        self._fs.remove_tree(f"{self._root}/{name}")

    def _retire_strangers(self) -> None:
        known = {
            partition_directory(topic.name, partition)
            for topic in self._state.topics.values()
            for partition in range(topic.partitions)
        } | {partition_directory(catalog.CATALOG_TOPIC, 0)}
        for name in self._fs.list_directory(self._root):
            if name.endswith(DELETED_SUFFIX):
                self._remove(name)
            elif name not in known and parse_partition_directory(name) is not None:
                self.set_aside.append(self._retire(name, self._new_id().hex, STRAY_SUFFIX))

    # --- partition logs ---------------------------------------------------------------------

    def _open_catalog(self) -> PartitionLog:
        overrides = catalog.internal_config(catalog.CATALOG_TOPIC)
        topic = Topic(catalog.CATALOG_TOPIC, catalog.CATALOG_TOPIC_ID, 1, overrides)
        config = TopicConfig.from_overrides(overrides)
        directory = f"{self._root}/{partition_directory(topic.name, 0)}"
        if self._fs.exists(f"{directory}/{PartitionLog.IDENTITY_FILE}"):
            return self._open_log(topic, config, 0)
        if self._fs.exists(directory):  # a first start that was cut short before any topic was
            self._fs.remove_tree(directory)
        log = self._create_log(topic, config, 0)
        self._fs.sync_directory(self._root)
        return log

    def _open_topic(self, topic: Topic) -> OpenTopic:
        config = TopicConfig.from_overrides(topic.overrides)
        logs = [self._open_log(topic, config, partition) for partition in range(topic.partitions)]
        return OpenTopic(topic, config, tuple(logs))

    def _open_log(self, topic: Topic, config: TopicConfig, partition: int) -> PartitionLog:
        """One that cannot be opened has a place that says why; but logstore's own topics must."""
        parts = self._parts(topic, config, partition)
        directory = f"{self._root}/{partition_directory(topic.name, partition)}"
        try:
            return PartitionLog.open(self._fs, directory, clean=self._state_file.was_clean, **parts)
        except (CorruptDataError, StorageFailedError) as error:
            if topic.internal or topic.name == catalog.CATALOG_TOPIC:
                raise
            return UnopenedLog(error, **parts)

    def _parts(self, topic: Topic, config: TopicConfig, partition: int) -> PartitionParts:
        return {
            "topic": topic.name,
            "topic_id": topic.topic_id,
            "partition": partition,
            "config": config,
            "limits": self._limits,
            "clock": self._clock,
            "slot": self._state_file.slot(topic.topic_id, partition),
            "segments": self._segments,
            "flusher": self.flusher,
        }

    def _create_log(self, topic: Topic, config: TopicConfig, partition: int) -> PartitionLog:
        directory = f"{self._root}/{partition_directory(topic.name, partition)}"
        return PartitionLog.create(self._fs, directory, **self._parts(topic, config, partition))
