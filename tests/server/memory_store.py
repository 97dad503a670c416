"""A ServedLogStore in memory, small and obedient: tests hold back its flushes and make it fail.

Not a model of the engine. It checks batches with logstore.record, keeps them in lists and answers
appends when `run_flush` runs; `held` stops that.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from logstore import api
from logstore.config import TopicConfig
from logstore.errors import (
    LogStoreError,
    OffsetOutOfRangeError,
    TopicExistsError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.pending import Pending
from logstore.reader import LeasedFetch, OneShot
from logstore.record import patch_offsets, validate_batch

NO_DATA = memoryview(b"")


@dataclass
class Partition:
    batches: list[tuple[int, bytes]] = field(default_factory=list)  # last offset, bytes
    end: int = 0
    high_watermark: int = 0
    seen: dict[tuple[int, int], api.Appended] = field(default_factory=dict)
    waiters: list[tuple[int, OneShot]] = field(default_factory=list)


@dataclass(frozen=True)
class Cancel:
    cancel: Callable[[], None]


class MemoryStore:
    def __init__(self, *, endpoint: str = "", max_message_bytes: int = 8 << 20) -> None:
        self.endpoint = endpoint
        self.max_message_bytes = max_message_bytes
        self.topics: dict[str, list[Partition]] = {}
        self.unflushed: list[tuple[Partition, int, Pending[api.Appended], api.Appended]] = []
        self.held = False
        self.refuse: Callable[[str, int], LogStoreError | None] = lambda topic, partition: None
        self.committed: dict[str, dict[tuple[str, int], api.CommittedOffset]] = {}
        self.closed = False
        self._lock = threading.RLock()
        self._on_flush: Callable[[], None] = lambda: None

    # --- topics -----------------------------------------------------------------------------

    def describe_store(self):
        return api.StoreInfo("memory", 1, (self.endpoint,), "0")

    def create_topic(self, spec, *, validate_only=False):
        with self._lock:
            if spec.name in self.topics:
                raise TopicExistsError(f"topic {spec.name} exists", topic=spec.name)
            self.topics[spec.name] = [Partition() for _ in range(spec.partitions)]
            return self._describe(spec.name)

    def delete_topic(self, name):
        self._partitions(name)
        del self.topics[name]

    def describe_topics(self, names=None, *, include_internal=False):
        return [self._describe(name) for name in (sorted(self.topics) if names is None else names)]

    def _describe(self, name: str) -> api.TopicInfo:
        configs = TopicConfig.from_overrides({}).as_mapping()
        partitions = tuple(
            api.PartitionInfo(number, self.endpoint, 0, 0, item.high_watermark, item.end, 0)
            for number, item in enumerate(self._partitions(name))
        )
        return api.TopicInfo(name, uuid.UUID(int=1), False, configs, {}, partitions)

    def _partitions(self, name: str) -> list[Partition]:
        if name not in self.topics:
            raise UnknownTopicError(f"there is no topic {name!r}", topic=name)
        return self.topics[name]

    def _partition(self, topic: str, partition: int) -> Partition:
        if (error := self.refuse(topic, partition)) is not None:
            raise error
        partitions = self._partitions(topic)
        if not 0 <= partition < len(partitions):
            raise UnknownPartitionError(f"there is no partition {partition}", topic=topic)
        return partitions[partition]

    # --- records ----------------------------------------------------------------------------

    def init_producer(self, transactional_id=None, *, transaction_timeout_ms=60_000):
        return api.ProducerIdentity(1, 0)

    def compresses(self, topic):
        return False

    def append(self, topic, partition, batch, *, acks=api.Acks.ALL):
        try:
            return self._append(topic, partition, batch, acks)
        except LogStoreError as error:
            return Pending.failed(error)

    def _append(self, topic, partition, batch, acks):
        with self._lock:
            log = self._partition(topic, partition)
            header = validate_batch(batch, decompressed_bytes_max=1 << 28)
            key = (header.producer_id, header.base_sequence)
            if header.producer_id >= 0 and key in log.seen:
                return Pending.completed(log.seen[key]._replace(duplicate=True))
            stored = bytearray(batch)
            patch_offsets(stored, base_offset=log.end, leader_epoch=0)
            answer = api.Appended(log.end, log.end + header.last_offset_delta, -1, 0, False)
            log.seen[key] = answer
            log.end = answer.last_offset + 1
            log.batches.append((answer.last_offset, bytes(stored)))
            pending: Pending[api.Appended] = Pending()
            self.unflushed.append((log, log.end, pending, answer))
        self._on_flush()
        return pending if acks is api.Acks.ALL else Pending.completed(answer)

    def run_flush(self):
        with self._lock:
            if self.held:
                return
            done, self.unflushed = self.unflushed, []
            fired = []
            for log, end, _, _ in done:
                log.high_watermark = max(log.high_watermark, end)
                fired += [one for offset, one in log.waiters if offset < log.high_watermark]
                log.waiters = [item for item in log.waiters if item[0] >= log.high_watermark]
        for _, _, pending, answer in done:
            pending.set_result(answer)
        for one in fired:
            one.fire()

    def release(self) -> None:
        self.held = False
        self.run_flush()

    def fetch(self, positions, *, bytes_max, read_committed=False, cold_ok=False):
        found = []
        room = bytes_max
        for position in positions:
            if room <= 0:
                break
            try:
                item = self._read(position, room)
            except LogStoreError as error:
                item = api.FetchedPartition(
                    position.topic, position.partition, NO_DATA, -1, -1, -1, error
                )
            room -= item.data.nbytes
            found.append(item)
        return LeasedFetch(found, ())

    def _read(self, position: api.FetchPosition, room: int) -> api.FetchedPartition:
        log = self._partition(position.topic, position.partition)
        if not 0 <= position.offset <= log.high_watermark:
            raise OffsetOutOfRangeError(f"offset {position.offset} is out of range")
        data = b""
        for last, batch in log.batches:
            if position.offset <= last < log.high_watermark:
                if data and len(data) + len(batch) > min(room, position.bytes_max):
                    break
                data += batch
        watermark = log.high_watermark
        return api.FetchedPartition(
            position.topic, position.partition, memoryview(data), watermark, 0, watermark
        )

    def wait_for_data(self, positions, on_ready, *, read_committed=False):
        one = OneShot(on_ready, lambda: None)
        with self._lock:
            for position in positions:
                try:
                    log = self._partition(position.topic, position.partition)
                except LogStoreError:
                    one.fire()
                    break
                if position.offset < log.high_watermark:
                    one.fire()
                    break
                log.waiters.append((position.offset, one))
        return one

    def list_offsets(self, queries):
        answers = []
        for query in queries:
            try:
                log = self._partition(query.topic, query.partition)
                offset = 0 if query.timestamp_ms == api.OffsetSpec.EARLIEST else log.high_watermark
                answers.append(api.OffsetAnswer(query.topic, query.partition, offset, -1, 0))
            except LogStoreError as error:
                answers.append(api.OffsetAnswer(query.topic, query.partition, -1, -1, -1, error))
        return answers

    def delete_records(self, topic, partition, *, before_offset):
        return 0

    # --- groups -----------------------------------------------------------------------------

    def heartbeat_now(self, heartbeat: api.GroupHeartbeat) -> api.GroupAssignment:
        if (error := self.refuse(heartbeat.group_id, -1)) is not None:
            raise error
        return api.GroupAssignment(heartbeat.member_id or "m-1", 1, 3000, ())

    def watch_member(self, group_id, member_id, known, on_change):
        return Cancel(lambda: None)

    def commit_offsets(self, group_id, offsets, *, member_id="", member_epoch=-1):
        group = self.committed.setdefault(group_id, {})
        for item in offsets:
            group[item[:2]] = api.CommittedOffset(
                item.topic, item.partition, item.offset, item.leader_epoch, item.metadata, 0
            )
        return Pending.completed(None)

    def committed_offsets(self, group_id, partitions=None):
        return list(self.committed.get(group_id, {}).values())

    def list_groups(self):
        return [
            api.GroupSummary(name, api.GroupKind.CONSUMER, "empty", 0) for name in self.committed
        ]

    def find_group(self, group_id):
        return self.endpoint

    # --- the driver -------------------------------------------------------------------------

    def attach_driver(self, *, on_flush, on_deadline):
        self._on_flush = on_flush

    def next_deadline(self):
        return None

    def tick(self): ...

    def run_maintenance(self): ...

    def close(self):
        self.closed = True
