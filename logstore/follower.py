"""FollowerStore: a store's directory read by another process while its writer goes on.

Takes no lock and changes nothing. Shows what the writer has published in the state file, and
waits for more by looking there (the one poll in logstore: nothing tells another process).
Groups and writes belong to the writer: they are refused with ReadOnlyStoreError.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from logstore import api
from logstore.api import FetchedPartition, OffsetAnswer, OffsetQuery, OffsetSpec, TopicInfo
from logstore.catalog import CATALOG_TOPIC, CATALOG_TOPIC_ID, CatalogState, Topic
from logstore.config import StoreConfig, TopicConfig
from logstore.errors import (
    ClientClosedError,
    InvalidRequestError,
    LogStoreError,
    ReadOnlyStoreError,
    StoreClosedError,
    UnknownPartitionError,
)
from logstore.fs import FileSystem, RealFileSystem
from logstore.journal import replay
from logstore.log import FollowerLog, SegmentCache, StateReader
from logstore.pending import Pending
from logstore.read_only_fs import ReadOnlyFileSystem
from logstore.reader import next_offset
from logstore.record import is_transactional, iter_batches
from logstore.store_files import STATE_FILE, partition_directory, read_meta
from logstore.version import __version__

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOOK_SECONDS = 0.01  # between two looks at the state file


class FollowerStore:
    """api.LogStore, but for all that would change something. Thread-safe.

    Raises StoreFormatError if the directory is not a store that this version reads.
    """

    def __init__(
        self, path: str, *, config: StoreConfig | None = None, fs: FileSystem | None = None
    ) -> None:
        self._root = path
        self._limits = config or StoreConfig()
        self._fs = ReadOnlyFileSystem(fs or RealFileSystem())
        self._meta = read_meta(self._fs, path)
        self._state = StateReader(self._fs, f"{path}/{STATE_FILE}")
        self._cache = SegmentCache(self._limits.open_segments_max)
        self._lock = threading.RLock()
        self._logs: dict[tuple[uuid.UUID, int], FollowerLog] = {}
        self._catalog = CatalogState()
        self._catalog_read = 0
        self._catalog_log = self._follow(Topic(CATALOG_TOPIC, CATALOG_TOPIC_ID, 1), 0)
        self._closed = False

    # --- what there is ----------------------------------------------------------------------

    def describe_store(self) -> api.StoreInfo:
        return api.StoreInfo(self._meta.cluster_id, self._meta.node_id, ("",), __version__)

    def describe_topics(
        self, names: Sequence[str] | None = None, *, include_internal: bool = False
    ) -> list[TopicInfo]:
        with self._lock:
            self._refresh_catalog()
            if names is None:
                topics = [
                    topic
                    for _, topic in sorted(self._catalog.topics.items())
                    if include_internal or not topic.internal
                ]
            else:
                topics = [self._catalog.topic(name) for name in names]
            return [self._describe(topic) for topic in topics]

    def _describe(self, topic: Topic) -> TopicInfo:
        logs = [self._log(topic, partition) for partition in range(topic.partitions)]
        return TopicInfo(
            name=topic.name,
            topic_id=topic.topic_id,
            internal=topic.internal,
            configs=TopicConfig.from_overrides(topic.overrides).as_mapping(),
            overrides=dict(topic.overrides),
            partitions=tuple(
                api.PartitionInfo(
                    partition=log.partition,
                    endpoint="",
                    leader_epoch=api.LEADER_EPOCH_UNKNOWN,
                    log_start_offset=log.log_start_offset,
                    high_watermark=log.high_watermark,
                    log_end_offset=log.high_watermark,
                    size_bytes=log.size_bytes,
                )
                for log in logs
            ),
        )

    def _refresh_catalog(self) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")
        self._catalog_log.refresh()
        end = self._catalog_log.high_watermark
        if end > self._catalog_read:
            records = replay(
                self._catalog_log, self._limits.decompressed_bytes_max, self._catalog_read
            )
            self._catalog = self._catalog.apply((key, value) for key, value, _ in records)
            self._catalog_read = end
            known = {topic.topic_id for topic in self._catalog.topics.values()}
            self._logs = {key: log for key, log in self._logs.items() if key[0] in known}

    def _log(self, topic: Topic, partition: int) -> FollowerLog:
        key = topic.topic_id, partition
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = self._follow(topic, partition)
        else:
            log.refresh()
        return log

    def _follow(self, topic: Topic, partition: int) -> FollowerLog:
        return FollowerLog(
            self._fs,
            f"{self._root}/{partition_directory(topic.name, partition)}",
            topic=topic.name,
            topic_id=topic.topic_id,
            partition=partition,
            state=self._state,
            cache=self._cache,
            limits=self._limits,
        )

    def _find(self, name: str, partition: int) -> FollowerLog:
        self._refresh_catalog()
        topic = self._catalog.topic(name)
        if not 0 <= partition < topic.partitions:
            raise UnknownPartitionError(
                f"topic {name!r} has no partition {partition}", topic=name, partition=partition
            )
        return self._log(topic, partition)

    # --- records ----------------------------------------------------------------------------

    def open_reader(
        self, *, bytes_max: int, partition_bytes_max: int, read_committed: bool = False
    ) -> FollowerReader:
        read = self._read_plain if read_committed else self.read
        return FollowerReader(read, bytes_max, partition_bytes_max)

    def _read_plain(
        self, topic: str, partition: int, offset: int, bytes_max: int
    ) -> FetchedPartition | None:
        """As `read`, but transactions are an error: a follower does not know how they ended."""
        found = self.read(topic, partition, offset, bytes_max)
        if found is None or not any(is_transactional(batch) for batch in iter_batches(found.data)):
            return found
        error = InvalidRequestError(
            f"{topic}-{partition} holds transactions, and a store opened read-only cannot tell "
            "which were aborted: read it through the process that has it open for writing, or "
            "with read_committed=False"
        )
        return found._replace(data=memoryview(b""), error=error)

    def read(
        self, topic: str, partition: int, offset: int, bytes_max: int
    ) -> FetchedPartition | None:
        """What is there; None for nothing new."""
        with self._lock:
            try:
                log = self._find(topic, partition)
                if log.high_watermark == offset:
                    return None
                data = log.read(offset, bytes_max=bytes_max).data
            except LogStoreError as error:
                if isinstance(error, StoreClosedError):
                    raise
                return FetchedPartition(topic, partition, memoryview(b""), -1, -1, -1, error)
            end = log.high_watermark
        return FetchedPartition(topic, partition, data, end, log.log_start_offset, end)

    def list_offsets(self, queries: Sequence[OffsetQuery]) -> list[OffsetAnswer]:
        with self._lock:
            return [self._list_offset(query) for query in queries]

    def _list_offset(self, query: OffsetQuery) -> OffsetAnswer:
        try:
            log = self._find(query.topic, query.partition)
            if query.timestamp_ms == OffsetSpec.LATEST:
                found: tuple[int, int] | None = (log.high_watermark, api.TIMESTAMP_UNKNOWN)
            elif query.timestamp_ms == OffsetSpec.EARLIEST:
                found = (log.log_start_offset, api.TIMESTAMP_UNKNOWN)
            elif query.timestamp_ms == OffsetSpec.MAX_TIMESTAMP:
                found = log.offset_for_max_timestamp()
            else:
                found = log.offset_for_timestamp(query.timestamp_ms)
        except LogStoreError as error:
            return OffsetAnswer(query.topic, query.partition, -1, -1, -1, error)
        offset, timestamp = found or (api.OFFSET_UNKNOWN, api.TIMESTAMP_UNKNOWN)
        return OffsetAnswer(query.topic, query.partition, offset, timestamp, -1)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._state.close()

    # --- what only the writer may do --------------------------------------------------------

    def _refuse(self) -> NoReturn:
        raise ReadOnlyStoreError(
            f"{self._root} is open read-only; connect to the process that writes it",
            path=self._root,
        )

    def create_topic(self, spec: api.TopicSpec, *, validate_only: bool = False) -> TopicInfo:
        self._refuse()

    def delete_topic(self, name: str) -> None:
        self._refuse()

    def alter_topic(
        self, name: str, *, set_configs: Mapping[str, str], reset_configs: Sequence[str] = ()
    ) -> TopicInfo:
        self._refuse()

    def add_partitions(self, name: str, *, total: int) -> TopicInfo:
        self._refuse()

    def init_producer(
        self,
        transactional_id: str | None = None,
        *,
        transaction_timeout_ms: int = api.TRANSACTION_TIMEOUT_MS,
    ) -> api.ProducerIdentity:
        self._refuse()

    def commit_offsets_in_transaction(
        self,
        transactional_id: str,
        producer: api.ProducerIdentity,
        group_id: str,
        offsets: Sequence[api.OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> None:
        self._refuse()

    def end_transaction(
        self, transactional_id: str, producer: api.ProducerIdentity, *, commit: bool
    ) -> api.ProducerIdentity:
        self._refuse()

    def append(
        self,
        topic: str,
        partition: int,
        batch: ReadableBuffer,
        *,
        acks: api.Acks = api.Acks.ALL,
    ) -> Pending[api.Appended]:
        self._refuse()

    def delete_records(self, topic: str, partition: int, *, before_offset: int) -> int:
        self._refuse()

    def group_heartbeat(
        self, heartbeat: api.GroupHeartbeat, *, wait: float = 0.0
    ) -> api.GroupAssignment:
        self._refuse()

    def commit_offsets(
        self,
        group_id: str,
        offsets: Sequence[api.OffsetToCommit],
        *,
        member_id: str = "",
        member_epoch: int = -1,
    ) -> Pending[None]:
        self._refuse()

    def committed_offsets(
        self, group_id: str, partitions: Sequence[api.TopicPartition] | None = None
    ) -> list[api.CommittedOffset]:
        self._refuse()

    def list_groups(self) -> list[api.GroupSummary]:
        self._refuse()

    def describe_group(self, group_id: str) -> api.GroupInfo:
        self._refuse()

    def delete_group(self, group_id: str) -> None:
        self._refuse()

    def delete_offsets(self, group_id: str, partitions: Sequence[api.TopicPartition]) -> None:
        self._refuse()

    def reset_offsets(self, reset: api.OffsetReset) -> list[api.CommittedOffset]:
        self._refuse()

    def find_group(self, group_id: str) -> str:
        self._refuse()


ReadPartition = Callable[[str, int, int, int], FetchedPartition | None]


class FollowerReader:
    """api.Reader that looks for news every LOOK_SECONDS."""

    def __init__(self, read: ReadPartition, bytes_max: int, partition_bytes_max: int) -> None:
        self._read = read
        self._bytes_max = bytes_max
        self._partition_bytes_max = partition_bytes_max
        self._positions: dict[tuple[str, int], int] = {}
        self._wake = threading.Event()
        self._closed = False

    def set_position(self, topic: str, partition: int, offset: int) -> None:
        self._positions[topic, partition] = offset

    def remove(self, topic: str, partition: int) -> None:
        self._positions.pop((topic, partition), None)

    def poll(self, timeout: float) -> list[FetchedPartition]:
        if self._closed:
            raise ClientClosedError("the reader is closed")
        looks = max(0, round(timeout / LOOK_SECONDS))
        found = self._fetch()
        while not found and looks > 0 and not self._wake.wait(LOOK_SECONDS):
            looks -= 1
            found = self._fetch()
        self._wake.clear()
        return found

    def wake(self) -> None:
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    def _fetch(self) -> list[FetchedPartition]:
        found: list[FetchedPartition] = []
        room = self._bytes_max
        for (topic, partition), offset in list(self._positions.items()):
            if room <= 0:
                break
            item = self._read(topic, partition, offset, min(room, self._partition_bytes_max))
            if item is None:
                continue
            found.append(item)
            room -= item.data.nbytes
            del self._positions[topic, partition]
            if item.error is None:
                position = next_offset(item.data) if item.data.nbytes else offset
                self._positions[topic, partition] = position
        return [item for item in found if item.error is not None or item.data.nbytes]
