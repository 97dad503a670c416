"""A compacted partition against a plain list, with crashes at any call of a cleaning.

What must hold, after whatever was appended, cleaned, cut short and opened again:
- What is read was appended, at that offset.
- A record is missing only if a cleaning saw it and it is (a) of an aborted transaction, (b)
  followed by a committed record of its key that the cleaning saw too, or (c) a tombstone whose
  delay, from the first cleaning on that saw it, has passed. With a tombstone gone nothing older of
  its key is there. So the last value of each key is, always.
- When a cleaning is done each key has one committed record below the cleaned offset.
- After a kill the log ends where it did, after a power loss not below what was flushed.
- A producer's last batch is found again when it is repeated, whatever became of the snapshots.
- Open transactions are those of the list; recovery misses nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.config import StoreConfig
from logstore.errors import DiskFullError
from logstore.log.checkpoint import read_cleaned_offset
from logstore.record import CODEC_NAMES, Marker, encode_batch, encode_marker
from tests.log.compacted import SECRET, CompactedPartition, PowerLost
from tests.log.support import DIRECTORY

DELAY_MS = 1000
TRANSACTIONAL, IDEMPOTENT = (10, 11), (12, 13)  # producer ids
RECORDS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([None, 1, 10, 900, 3000])), min_size=1, max_size=4
)


@dataclass(frozen=True)
class Sent:
    """A batch of the list. `marker`: it ends a transaction, and has no records."""

    base: int
    records: tuple[tuple[bytes, bytes | None], ...]
    producer: int = -1
    sequence: int = -1
    is_transactional: bool = False
    marker: Marker | None = None
    data: bytes = b""

    @property
    def end(self) -> int:
        return self.base + max(1, len(self.records))


class Cleaned(RuleBasedStateMachine):
    part: CompactedPartition

    @initialize(
        seed=st.integers(0, 1 << 20),
        memory=st.sampled_from([4096, 1 << 20]),
        codec=st.sampled_from(CODEC_NAMES),
    )
    def begin(self, seed: int, memory: int, codec: str) -> None:
        self.part = CompactedPartition(
            seed,
            limits=StoreConfig(compaction_memory_bytes=memory),
            delete_retention_ms=str(DELAY_MS),
            index_interval_bytes="500",
        )
        self.codec = codec
        self.sent: list[Sent] = []
        self.fill = 0
        self.flushed = 0
        self.cleaning: Generator[int, None, None] | None = None
        self.limit = 0  # what the cleanings may have seen ends here
        self.first_seen: dict[int, int] = {}  # offset -> when a cleaning saw it first, ms

    # --- the list -----------------------------------------------------------------------------

    @property
    def end(self) -> int:
        return self.sent[-1].end if self.sent else 0

    def open_since(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for batch in self.sent:
            if batch.marker is not None:
                found.pop(batch.producer, None)
            elif batch.is_transactional:
                found.setdefault(batch.producer, batch.base)
        return found

    def aborted(self) -> set[int]:
        """The bases of batches that an abort marker ended."""
        since: dict[int, list[int]] = {}
        found: set[int] = set()
        for batch in self.sent:
            if batch.marker is not None:
                bases = since.pop(batch.producer, [])
                found.update(bases if batch.marker is Marker.ABORT else [])
            elif batch.is_transactional:
                since.setdefault(batch.producer, []).append(batch.base)
        return found

    def records(self) -> Iterator[tuple[int, bytes, bytes | None, str]]:
        """(offset, key, value, state) of all."""
        aborted, open_since = self.aborted(), self.open_since()
        for batch in self.sent:
            state = "committed"
            if batch.is_transactional and batch.base in aborted:
                state = "aborted"
            elif batch.is_transactional and batch.base >= open_since.get(batch.producer, 1 << 62):
                state = "open"
            for index, (key, value) in enumerate(batch.records):
                yield batch.base + index, key, value, state

    # --- append -------------------------------------------------------------------------------

    def draw(self, shape: list[tuple[int, int | None]]) -> tuple[tuple[bytes, bytes | None], ...]:
        records: list[tuple[bytes, bytes | None]] = []
        for key, size in shape:
            self.fill += 1
            value = None if size is None else self.fill.to_bytes(4, "big") + bytes(size)
            records.append((b"key %d" % key, value))
        return tuple(records)

    def send(
        self,
        records: tuple[tuple[bytes, bytes | None], ...],
        producer: int = -1,
        *,
        is_transactional: bool = False,
    ) -> None:
        sequence = -1
        if producer >= 0:
            last = self.last_of(producer)
            sequence = last.sequence + len(last.records) if last else 0
        data = bytes(
            encode_batch(
                [value for _, value in records],
                [key for key, _ in records],
                self.part.clock.now_ms(),
                compression=self.codec,
                producer_id=producer,
                producer_epoch=0 if producer >= 0 else -1,
                base_sequence=sequence,
                is_transactional=is_transactional,
            )
        )
        appended = self.part.log.append(data, validated=True)
        assert (appended.base_offset, appended.duplicate) == (self.end, False)
        self.sent.append(
            Sent(
                self.end, records, producer, sequence, is_transactional=is_transactional, data=data
            )
        )

    def last_of(self, producer: int) -> Sent | None:
        mine = (b for b in reversed(self.sent) if b.producer == producer and b.records)
        return next(mine, None)

    @rule(shape=RECORDS)
    def append(self, shape: list[tuple[int, int | None]]) -> None:
        self.send(self.draw(shape))

    @rule(shape=RECORDS, producer=st.sampled_from(IDEMPOTENT))
    def append_idempotent(self, shape: list[tuple[int, int | None]], producer: int) -> None:
        self.send(self.draw(shape), producer)

    @rule(shape=RECORDS, producer=st.sampled_from(TRANSACTIONAL))
    def append_transactional(self, shape: list[tuple[int, int | None]], producer: int) -> None:
        self.send(self.draw(shape), producer, is_transactional=True)

    @rule(producer=st.sampled_from(TRANSACTIONAL), marker=st.sampled_from(list(Marker)))
    def end_transaction(self, producer: int, marker: Marker) -> None:
        if producer not in self.open_since():
            return
        batch = encode_marker(
            marker,
            producer_id=producer,
            producer_epoch=0,
            timestamp_ms=self.part.clock.now_ms(),
        )
        assert self.part.log.append(batch, validated=True).base_offset == self.end
        self.sent.append(Sent(self.end, (), producer, marker=marker))

    @rule(
        batches=st.integers(2, 4),
        first=st.integers(0, 300),
        producer=st.sampled_from((-1, *TRANSACTIONAL, *IDEMPOTENT)),
        marker=st.sampled_from([Marker.COMMIT, Marker.ABORT, Marker.COMMIT, None]),
    )
    def append_much(self, batches: int, first: int, producer: int, marker: Marker | None) -> None:
        """Seals a segment or two; with so many keys a small map fills."""
        is_transactional = producer in TRANSACTIONAL
        for _ in range(batches):
            key = self.fill % 5
            shape: list[tuple[int, int | None]] = [(key, 5000), (key + 1, None)]
            self.send(self.draw(shape), producer, is_transactional=is_transactional)
            self.send(self.draw([(100 + first + index, 30) for index in range(70)]))
        if is_transactional and marker is not None:
            self.end_transaction(producer, marker)
        self.flush()

    @rule()
    def flush(self) -> None:
        self.part.flusher.run_round()
        self.flushed = self.end
        assert self.part.log.high_watermark == self.end

    @rule(producer=st.sampled_from(IDEMPOTENT))
    def repeat(self, producer: int) -> None:
        last = self.last_of(producer)
        if last is not None and last.base >= self.part.log.log_start_offset:
            again = self.part.log.append(last.data)
            assert (again.duplicate, again.base_offset) == (True, last.base)

    def end_all(self) -> None:
        """So that the last stable offset lets everything be cleaned that is sealed."""
        for producer in self.open_since():
            self.end_transaction(producer, Marker.COMMIT)
        self.flush()

    # --- clean --------------------------------------------------------------------------------

    def begin_cleaning(self) -> Generator[int, None, None]:
        log = self.part.log
        stable = min([self.flushed, *self.open_since().values()])
        self.limit = max(self.limit, min(stable, log._view.segments[-1].base_offset))
        for offset in range(self.limit):
            self.first_seen.setdefault(offset, self.part.clock.now_ms())
        return log.cleaner.clean(secret=SECRET)

    @rule(settled=st.booleans())
    def clean(self, settled: bool) -> None:
        if settled:
            self.end_all()
        self.drop_cleaning()
        for _ in self.begin_cleaning():
            pass
        cleaned_offset = read_cleaned_offset(self.part.fs, DIRECTORY)
        states = {offset: state for offset, _, _, state in self.records()}
        found = [f for f in self.part.records() if f.offset < cleaned_offset]
        assert {states[each.offset] for each in found} <= {"committed"}
        assert len({each.key for each in found}) == len(found)

    @rule(steps=st.integers(1, 60))
    def clean_some(self, steps: int) -> None:
        if self.cleaning is None:
            self.cleaning = self.begin_cleaning()
        for _ in range(steps):
            if next(self.cleaning, None) is None:
                self.cleaning = None
                return

    @rule(calls=st.integers(0, 90), how=st.sampled_from(["kill", "power_loss"]))
    def die_cleaning(self, calls: int, how: str) -> None:
        self.end_all()
        self.drop_cleaning()
        cleaning = self.begin_cleaning()
        self.part.fs.calls_left = calls
        with suppress(PowerLost):
            for _ in cleaning:
                pass
        self.die(how)

    @rule(after=st.integers(0, 2))
    def clean_on_a_full_disk(self, after: int) -> None:
        self.drop_cleaning()
        cleaning = self.begin_cleaning()
        self.part.memory.inject("write", 28, path_contains=".cleaned", after=after)
        with suppress(DiskFullError):
            for _ in cleaning:
                pass
        self.part.memory.heal()
        assert self.part.log.error is None

    def drop_cleaning(self) -> None:
        if self.cleaning is not None:
            self.cleaning.close()
            self.cleaning = None

    @rule(seconds=st.sampled_from([0.3, 0.9, 5.0]))
    def wait(self, seconds: float) -> None:
        self.part.clock.advance(seconds)

    @rule(share=st.floats(0, 0.3))
    def delete_records(self, share: float) -> None:
        log = self.part.log
        span = log.high_watermark - log.log_start_offset
        log.delete_records(log.log_start_offset + int(span * share))
        self.flushed = max(self.flushed, self.part.log.flushed_offset)

    # --- die ----------------------------------------------------------------------------------

    @rule(
        how=st.sampled_from(["close", "kill", "power_loss"]),
        without_snapshots=st.booleans(),
    )
    def reopen(self, how: str, without_snapshots: bool) -> None:
        if how == "close":
            assert self.part.close()
            self.drop_cleaning()
            self.flushed = self.end
            self.part.reopen()
            assert not self.part.log.recovery_report.was_unclean
        else:
            self.die(how, without_snapshots=without_snapshots)

    def die(self, how: str, *, without_snapshots: bool = False) -> None:
        self.part.fs.calls_left = 0
        if how == "kill":
            self.part.memory.kill()
        else:
            self.part.memory.power_loss()
        with suppress(PowerLost):
            self.drop_cleaning()
        self.cleaning = None
        if without_snapshots:
            for name in self.part.files(".snapshot"):
                self.part.memory.unlink(f"{DIRECTORY}/{name}")
        self.part.reopen()
        end = self.part.log.log_end_offset
        assert self.flushed <= end <= self.end if how == "power_loss" else end == self.end
        self.sent = [batch for batch in self.sent if batch.end <= end]
        assert self.end == end
        self.flushed = end

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        log, now_ms = self.part.log, self.part.clock.now_ms()
        start, end = log.log_start_offset, log.high_watermark
        found = {each.offset: each for each in self.part.records()}
        assert sorted(found) == list(found)
        all_ = {o: (key, value, state) for o, key, value, state in self.records()}
        assert {o: (each.key, each.value) for o, each in found.items()}.items() <= {
            o: (key, value) for o, (key, value, _) in all_.items()
        }.items()
        latest: dict[bytes, int] = {}
        for offset, (key, _, state) in all_.items():
            if state == "committed" and offset < self.limit:
                latest[key] = offset
        gone_keys = set()
        for offset, (key, value, state) in all_.items():
            if not start <= offset < end or offset in found:
                continue
            assert offset < self.limit, "no cleaning saw it"
            assert state != "open"
            if state == "committed" and latest[key] == offset:
                assert value is None, "the last value of its key"
                assert now_ms >= self.first_seen[offset] + DELAY_MS, "a tombstone too early"
                gone_keys.add(key)
        for offset, (key, _, state) in all_.items():
            if key in gone_keys and state == "committed" and offset < latest[key]:
                assert offset not in found, "deleted, and there again"
        assert set(log.open_transactions()) == {
            producer for producer, since in self.open_since().items() if since >= start
        } | (set(log.open_transactions()) & set(self.open_since()))
        assert not [note for note in log.recovery_notes if "missing" in note]


Cleaned.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestCompactionModel = Cleaned.TestCase
