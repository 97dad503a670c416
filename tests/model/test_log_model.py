"""One partition against a plain list, with crashes, faults and reopening.

What must hold:
- Reading anywhere gives the list's records from there on, whole batches, never past the high
  watermark; looking up a time gives what a search of the list gives.
- After a close or a kill every appended record is there. After a power loss the log is a prefix of
  the list that has everything that was flushed. What was visible with durability=fsync never goes.
- A failed append is not there afterwards; after a crash it may be.
- A producer's repeated batch is found again at its offset, a gap is refused; both after reopening.
- The leader epoch rises with every unclean opening and never falls.
- A lease keeps its bytes, whatever happens to the segment.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from logstore.config import StoreConfig, TopicConfig
from logstore.errors import DiskFullError, OutOfOrderSequenceError, StorageFailedError
from logstore.log import Lease
from logstore.record import encode_batch, iter_batches, parse_header
from logstore.testing import MemoryFileSystem
from tests.log.support import Partition

PRODUCERS = 3
SEGMENT_BYTES = 16 << 10
LEASES_KEPT = 20
Shape: TypeAlias = tuple[int, int, int, int]  # records, their size, time step, producer or -1
SHAPES: st.SearchStrategy[Shape] = st.tuples(
    st.integers(1, 5),
    st.sampled_from([0, 1, 10, 100, 700]),
    st.integers(-2000, 2000),
    st.integers(-1, PRODUCERS - 1),
)


@dataclass(frozen=True)
class Stored:
    """A batch of the list."""

    base: int
    values: list[bytes]
    times: list[int]
    producer: int  # -1: none
    sequence: int

    @property
    def end(self) -> int:
        return self.base + len(self.values)


class LogMachine(RuleBasedStateMachine):
    part: Partition
    batches: list[Stored]

    @initialize(
        seed=st.integers(0, 1 << 20),
        durability=st.sampled_from(["fsync", "page_cache"]),
        interval=st.sampled_from(["64", "1000", "4096"]),
        syncfs_threshold=st.sampled_from([1, 4, 100]),
    )
    def begin(self, seed: int, durability: str, interval: str, syncfs_threshold: int) -> None:
        self.part = Partition(
            MemoryFileSystem(seed),
            limits=StoreConfig(syncfs_threshold=syncfs_threshold),
            segment_bytes=str(SEGMENT_BYTES),
            index_interval_bytes=interval,
            durability=durability,
        )
        self.batches = []
        self.doubtful: list[Stored] = []  # whose append failed, but may be found
        self.now = 1_000_000
        self.start = 0
        self.flushed = 0
        self.epoch = 0
        self.leases: list[tuple[Lease, bytes]] = []
        self.fill = 0

    @property
    def end(self) -> int:
        return self.batches[-1].end if self.batches else self.start

    def records(self) -> list[tuple[int, bytes, int]]:
        return [
            (batch.base + index, value, batch.times[index])
            for batch in self.batches
            for index, value in enumerate(batch.values)
        ]

    def visible(self) -> list[tuple[int, bytes, int]]:
        log = self.part.log
        return [
            record
            for record in self.records()
            if log.log_start_offset <= record[0] < log.high_watermark
        ]

    # --- append -----------------------------------------------------------------------------

    def encode(self, values: list[bytes], times: list[int], producer: int, sequence: int) -> bytes:
        fields = (
            {"producer_id": producer, "producer_epoch": 0, "base_sequence": sequence}
            if producer >= 0
            else {}
        )
        return bytes(encode_batch(list(values), timestamps=times, **fields))  # type: ignore[arg-type]

    def next_sequence(self, producer: int) -> int:
        last = self.last_of(producer)
        return last.sequence + len(last.values) if last else 0

    def last_of(self, producer: int) -> Stored | None:
        return next((b for b in reversed(self.batches) if b.producer == producer), None)

    def draw_batch(self, count: int, size: int, step: int, producer: int) -> Stored:
        values = []
        for _ in range(count):
            self.fill += 1
            values.append(self.fill.to_bytes(4, "big") * size)
        self.now += abs(step)
        times = [self.now + (step if index % 2 else 0) for index in range(count)]
        sequence = self.next_sequence(producer) if producer >= 0 else -1
        return Stored(self.part.log.log_end_offset, values, times, producer, sequence)

    def send(self, batch: Stored) -> None:
        data = self.encode(batch.values, batch.times, batch.producer, batch.sequence)
        appended = self.part.log.append(data)
        assert not appended.duplicate
        assert appended.base_offset == batch.base == self.end
        assert appended.last_offset == batch.end - 1
        self.batches.append(batch)
        self.doubtful = []

    @rule(shape=SHAPES)
    def append(self, shape: Shape) -> None:
        self.send(self.draw_batch(*shape))

    @rule(repeat=st.integers(5, 30))
    def append_many(self, repeat: int) -> None:
        for _ in range(repeat):
            self.send(self.draw_batch(2, 100, 3, -1))

    @rule(producer=st.integers(0, PRODUCERS - 1))
    def repeat_last(self, producer: int) -> None:
        last = self.last_of(producer)
        if last is None or last.base < self.start:
            return  # its state may be gone with its records
        appended = self.part.log.append(
            self.encode(last.values, last.times, producer, last.sequence)
        )
        assert (appended.base_offset, appended.duplicate) == (last.base, True)

    @rule(producer=st.integers(0, PRODUCERS - 1))
    def leave_a_gap(self, producer: int) -> None:
        last = self.last_of(producer)
        if last is None or last.base < self.start:
            return
        data = self.encode([b"gap"], [self.now], producer, self.next_sequence(producer) + 1)
        try:
            self.part.log.append(data)
        except OutOfOrderSequenceError:
            return
        raise AssertionError("a gap was accepted")

    @rule()
    def flush(self) -> None:
        self.part.flusher.run_round()
        self.flushed = self.end
        assert self.part.log.high_watermark == self.part.log.flushed_offset == self.end

    # --- faults -----------------------------------------------------------------------------

    @rule(operation=st.sampled_from(["allocate", "write", "open"]), shape=SHAPES)
    def full_disk(self, operation: str, shape: Shape) -> None:
        batch = self.draw_batch(*shape)
        self.part.memory.inject(operation, errno.ENOSPC, path_contains="t-0/", times=None)
        try:
            self.send(batch)
        except DiskFullError:
            self.doubtful = [batch]
        finally:
            self.part.memory.heal()
        assert self.part.log.error is None

    @rule(operation=st.sampled_from(["write", "sync"]), shape=SHAPES)
    def failing_disk(self, operation: str, shape: Shape) -> None:
        batch = self.draw_batch(*shape)
        self.part.memory.inject(operation, errno.EIO, path_contains=".log")
        try:
            self.send(batch)
        except StorageFailedError:
            self.doubtful = [batch]
        self.part.flusher.run_round()
        if self.part.log.error is None:  # the fault met something else, or nothing
            self.part.memory.heal()
            self.flushed = max(self.flushed, self.part.log.flushed_offset)
            return
        assert not self.part.close()
        self.reopened(self.part.reopen)

    # --- the end and the beginning ----------------------------------------------------------

    def reopened(self, how: object, *, is_clean: bool = False) -> None:
        """Everything may be there that was appended; what was flushed must."""
        assert callable(how)
        visible_before = self.part.log.high_watermark
        is_fsync = self.part.config.durability == "fsync"
        self.flushed = max(self.flushed, self.part.log.flushed_offset)
        how()
        log = self.part.log
        note(f"reopened: {log.log_start_offset}..{log.log_end_offset} {log.recovery_notes}")
        if self.doubtful and log.log_end_offset > self.end:
            assert not is_clean
            assert self.doubtful[-1].base == self.end
            self.batches.append(self.doubtful[-1])
        self.doubtful = []
        while self.batches and self.batches[-1].end > log.log_end_offset:
            lost = self.batches.pop()
            assert lost.base >= self.flushed
            assert not (is_fsync and lost.base < visible_before)
        assert log.log_end_offset == self.end == log.high_watermark == log.flushed_offset
        assert log.log_start_offset == self.start
        assert log.leader_epoch == self.epoch if is_clean else log.leader_epoch > self.epoch
        self.epoch = log.leader_epoch
        self.flushed = self.end

    @rule()
    def close_and_open(self) -> None:
        end = self.end
        self.reopened(self.part.close_and_open, is_clean=True)
        assert self.end == end
        assert not self.part.log.recovery_report.was_unclean

    @rule()
    def kill(self) -> None:
        end = self.end
        self.reopened(self.part.kill_and_open)
        assert self.end == end

    @rule()
    def lose_power(self) -> None:
        self.reopened(self.part.lose_power_and_open)

    @rule(operation=st.sampled_from(["write", "sync", "truncate", "rename", "sync_directory"]))
    def crash_during_recovery(self, operation: str) -> None:
        self.part.memory.power_loss()
        self.part.memory.inject(operation, errno.EIO, path_contains="t-0/")

        def again() -> None:
            try:
                self.part.reopen()
            except StorageFailedError:
                self.part.memory.power_loss()
                self.part.reopen()
            self.part.memory.heal()

        self.reopened(again)

    # --- forget -----------------------------------------------------------------------------

    @rule(share=st.floats(0, 1))
    def delete_records(self, share: float) -> None:
        log = self.part.log
        before = self.start + int((log.high_watermark - self.start) * share)
        assert log.delete_records(before) == before
        self.start = before
        self.flushed = max(self.flushed, before)

    @rule(keep=st.integers(0, 60_000))
    def keep_bytes(self, keep: int) -> None:
        self.retain({"retention_bytes": str(keep)})

    @rule(age=st.integers(0, 4000))
    def keep_time(self, age: int) -> None:
        old = {b.base for b in self.batches if max(b.times) < self.now - age}
        start = self.start
        self.retain({"retention_ms": str(age)})
        gone = [b.base for b in self.batches if b.end > start and b.end <= self.start]
        assert old.issuperset(gone)

    def retain(self, overrides: dict[str, str]) -> None:
        log, config = self.part.log, self.part.config
        given = config.as_mapping()
        log.update_config(TopicConfig.from_overrides({**given, **overrides}))
        log.apply_retention(self.now)
        log.update_config(config)
        assert self.start <= log.log_start_offset <= max(log.flushed_offset, self.start)
        self.start = log.log_start_offset

    # --- read -------------------------------------------------------------------------------

    @precondition(lambda self: self.part.log.high_watermark > self.part.log.log_start_offset)
    @rule(share=st.floats(0, 0.999), bytes_max=st.sampled_from([0, 500, 5000, 100_000]))
    def read(self, share: float, bytes_max: int) -> None:
        log = self.part.log
        offset = log.log_start_offset + int((log.high_watermark - log.log_start_offset) * share)
        lease = log.read(offset, bytes_max=bytes_max, cold_ok=True)
        found = [parse_header(batch) for batch in iter_batches(lease.data)]
        assert sum(header.size_bytes for header in found) == lease.data.nbytes > 0
        assert found[0].base_offset <= offset <= found[0].last_offset
        assert found[-1].last_offset < log.high_watermark
        assert len(found) == 1 or lease.data.nbytes <= bytes_max
        expected = [batch.base for batch in self.batches if batch.end > offset][: len(found)]
        assert [header.base_offset for header in found] == expected
        self.leases.append((lease, bytes(lease.data)))
        if len(self.leases) > LEASES_KEPT:
            self.leases.pop(0)[0].close()

    @rule()
    def read_all(self) -> None:
        assert self.part.read() == [(offset, value) for offset, value, _ in self.visible()]

    @rule(back=st.integers(-100, 9000))
    def look_up_a_time(self, back: int) -> None:
        wanted = self.now - back
        expected = next(((o, t) for o, _, t in self.visible() if t >= wanted), None)
        found = self.part.log.offset_for_timestamp(wanted)
        assert found == expected, (found, expected)

    @rule()
    def look_up_the_latest_time(self) -> None:
        records = self.visible()
        expected = None
        if records:
            latest = max(time for _, _, time in records)
            expected = next((o, t) for o, _, t in records if t == latest)
        found = self.part.log.offset_for_max_timestamp()
        assert found == expected, (found, expected)

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "part"):
            return
        log = self.part.log
        assert log.log_start_offset <= log.high_watermark <= log.log_end_offset
        assert log.flushed_offset <= log.log_end_offset == self.end
        if self.part.config.durability == "fsync":
            assert log.high_watermark == log.flushed_offset
        else:
            assert log.high_watermark == log.log_end_offset

    @invariant()
    def leases_keep_their_bytes(self) -> None:
        assert all(lease.data == content for lease, content in getattr(self, "leases", ()))

    def teardown(self) -> None:
        for lease, content in getattr(self, "leases", ()):
            assert lease.data == content
            lease.close()


TestLog = LogMachine.TestCase
TestLog.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
