"""A store of one partition against a list, by its verbs: kills, power losses, full disks.

What must hold: below the high watermark that anyone has seen every record is there, at its offset,
with its bytes, whatever happens; above it at most a suffix of what was appended is lost; no offset
that was visible is ever given to another record.
"""

from __future__ import annotations

import errno

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from logstore.api import Acks, OffsetQuery, TopicSpec
from logstore.config import StoreConfig
from logstore.errors import DiskFullError, StorageFailedError, StoreError
from logstore.record import decode_records, encode_batch, iter_batches
from logstore.store import LocalLogStore
from logstore.testing import ManualClock, MemoryFileSystem

LIMIT = 1 << 30
TOPIC = "t"
CONFIGS = {"segment_bytes": str(16 << 10), "index_interval_bytes": "300"}


class StoreMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32), durability=st.sampled_from(["fsync", "page_cache"]))
    def begin(self, seed: int, durability: str) -> None:
        self.fs = MemoryFileSystem(seed)
        self.clock = ManualClock()
        self.durability = durability
        self.start = 0
        self.deleted = 0  # by delete_records, whose answer is durable; retention's effect is not
        self.records: list[tuple[bytes, int]] = []  # value and timestamp, by offset
        self.visible = 0  # the highest high watermark anyone could see
        self.sequence = 0
        self.store = self.open()
        self.store.create_topic(TopicSpec(TOPIC, 1, CONFIGS | {"durability": durability}))
        self.producer_id = self.store.init_producer().producer_id

    def open(self) -> LocalLogStore:
        config = StoreConfig(open_segments_max=8)
        return LocalLogStore.open("store", config=config, fs=self.fs, clock=self.clock)

    def note_visible(self) -> None:
        (info,) = self.store.describe_topics([TOPIC])
        self.visible = max(self.visible, info.partitions[0].high_watermark)

    # --- appends ----------------------------------------------------------------------------

    @rule(
        sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
        acks=st.sampled_from(list(Acks)),
        with_producer=st.booleans(),
        step=st.integers(-5, 50),
    )
    def append(self, sizes: list[int], acks: Acks, with_producer: bool, step: int) -> None:
        base = len(self.records)
        values = [bytes([(base + i) % 251]) * size for i, size in enumerate(sizes)]
        now = self.clock.now_ms() + step
        fields = {}
        if with_producer:
            fields = {
                "producer_id": self.producer_id,
                "producer_epoch": 0,
                "base_sequence": self.sequence,
            }
        batch = encode_batch(values, timestamps=now, **fields)  # type: ignore[arg-type]
        pending = self.store.append(TOPIC, 0, batch, acks=acks)
        if isinstance(pending.error, StoreError):
            return
        if acks is Acks.ALL:
            stored = pending.result()
        else:
            stored = pending.result(0)
        assert stored.base_offset == base
        self.records += [(value, now) for value in values]
        if with_producer:
            self.sequence += len(values)
            again = self.store.append(TOPIC, 0, batch, acks=Acks.LEADER).result(0)
            assert (again.base_offset, again.duplicate) == (base, True)
        if acks is Acks.ALL:
            self.visible = max(self.visible, len(self.records))

    @rule()
    def flush(self) -> None:
        self.store.run_flush()
        self.note_visible()

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.store.tick()
        self.store.run_maintenance()

    @rule(share=st.floats(0, 1))
    def delete_records(self, share: float) -> None:
        self.note_visible()
        before = self.start + int((self.visible - self.start) * share)
        self.start = self.store.delete_records(TOPIC, 0, before_offset=before)
        assert self.start == before
        self.deleted = before

    @rule(kept=st.integers(0, 60_000))
    def retain(self, kept: int) -> None:
        self.store.alter_topic(TOPIC, set_configs={"retention_bytes": str(kept)})
        self.clock.advance(31)
        self.store.run_maintenance()
        self.store.alter_topic(TOPIC, set_configs={}, reset_configs=["retention_bytes"])
        self.note_visible()
        (info,) = self.store.describe_topics([TOPIC])
        assert self.start <= info.partitions[0].log_start_offset <= self.visible
        self.start = info.partitions[0].log_start_offset

    # --- trouble ----------------------------------------------------------------------------

    @rule()
    def full_disk(self) -> None:
        self.fs.inject("write", errno.ENOSPC, path_contains=".log")
        self.fs.inject("allocate", errno.ENOSPC, path_contains=".log", times=2)
        batch = encode_batch([b"x" * 20_000], timestamps=self.clock.now_ms())
        pending = self.store.append(TOPIC, 0, batch, acks=Acks.LEADER)
        self.fs.heal()
        assert isinstance(pending.error, DiskFullError)

    @rule()
    def failing_sync(self) -> None:
        batch = encode_batch([b"never acknowledged"], timestamps=self.clock.now_ms())
        self.fs.inject("sync", path_contains="t-0/", times=100)
        self.fs.inject("sync_file_system", times=100)
        pending = self.store.append(TOPIC, 0, batch, acks=Acks.LEADER)
        self.store.run_flush()
        self.fs.heal()
        assert pending.error is None
        refused = self.store.append(TOPIC, 0, batch, acks=Acks.LEADER).error
        assert isinstance(refused, StorageFailedError)
        if self.durability == "page_cache":
            self.note_visible()
        self.records.append((b"never acknowledged", self.clock.now_ms()))
        self.reopen(self.store.close)

    @rule()
    def close_and_open(self) -> None:
        self.reopen(self.store.close)
        assert self.store.recovery_notes == []
        assert self.high_watermark() == len(self.records)

    @rule()
    def kill(self) -> None:
        self.reopen(self.fs.kill)
        assert self.high_watermark() >= self.visible

    @precondition(lambda self: self.durability == "fsync")
    @rule()
    def power_loss(self) -> None:
        self.reopen(self.fs.power_loss)

    def high_watermark(self) -> int:
        (info,) = self.store.describe_topics([TOPIC])
        return info.partitions[0].high_watermark

    def reopen(self, end: object) -> None:
        self.note_visible()
        (before,) = self.store.describe_topics([TOPIC])
        end()  # type: ignore[operator]
        self.store = self.open()
        (after,) = self.store.describe_topics([TOPIC])
        part = after.partitions[0]
        assert part.log_end_offset == part.high_watermark
        assert self.visible <= part.high_watermark <= len(self.records)
        if end == self.fs.power_loss:
            assert self.deleted <= part.log_start_offset <= self.start
            self.start = part.log_start_offset
        assert part.log_start_offset == self.start
        assert part.leader_epoch >= before.partitions[0].leader_epoch
        lost = len(self.records) - part.high_watermark
        if lost:
            assert part.leader_epoch > before.partitions[0].leader_epoch
            del self.records[part.high_watermark :]
            self.producer_id = self.store.init_producer().producer_id
            self.sequence = 0
        self.visible = part.high_watermark

    # --- what must hold ---------------------------------------------------------------------

    @invariant()
    def everything_visible_is_there(self) -> None:
        if not hasattr(self, "store"):
            return
        end = self.high_watermark()
        assert self.visible <= end <= len(self.records)
        offset = self.start
        reader = self.store.open_reader(bytes_max=7000, partition_bytes_max=5000)
        reader.set_position(TOPIC, 0, offset)
        while offset < end:
            (item,) = reader.poll(0)
            assert item.error is None
            for batch in iter_batches(item.data):
                for record in decode_records(
                    batch, from_offset=offset, decompressed_bytes_max=LIMIT
                ):
                    assert record.offset == offset
                    assert (record.value, record.timestamp) == self.records[offset]
                    offset += 1
        assert reader.poll(0) == []
        reader.close()

    @rule(share=st.floats(0, 1))
    def find_by_time(self, share: float) -> None:
        self.note_visible()
        if self.start >= self.visible:
            return
        place = self.start + int((self.visible - self.start - 1) * share)
        wanted = self.records[place][1]
        expected = next(
            offset
            for offset in range(self.start, self.visible)
            if self.records[offset][1] >= wanted
        )
        (answer,) = self.store.list_offsets([OffsetQuery(TOPIC, 0, wanted)])
        assert (answer.offset, answer.timestamp_ms) == (expected, self.records[expected][1])

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
