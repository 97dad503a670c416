"""What the actors of one simulation share: the machine, the store, chance, and the ledger."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from logstore.api import FetchedPartition, FetchPosition, TopicInfo
from logstore.errors import (
    CorruptDataError,
    LogStoreError,
    OffsetOutOfRangeError,
    StorageFailedError,
    StoreError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.record import (
    check_crc,
    committed_runs,
    decode_records,
    iter_batches,
    parse_header,
)
from logstore.store import LocalLogStore
from logstore.testing import MachineStoppedError, ManualClock, MemoryFileSystem
from tests.simulator.history import (
    Bounds,
    CommitRead,
    History,
    PartitionGone,
    PartitionMade,
    Place,
    Read,
    RecordSeen,
    Surprise,
    key_of,
)

DECOMPRESSED_BYTES_MAX = 1 << 20
UNUSUAL = 16
GONE = (UnknownTopicError, UnknownPartitionError)


class Outcome(NamedTuple):
    """Of a call to the store: `error` is one of its own, or None."""

    value: Any
    error: LogStoreError | None


@dataclass(slots=True)
class Found:
    """By a read, so far."""

    position: int
    records: list[RecordSeen] = field(default_factory=list)
    markers: list[int] = field(default_factory=list)


class World:
    """`store` is replaced at each opening; `life` counts them. `is_troubled`: since the last one a
    fault was injected, or one from before is still to be told: the store may refuse."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        # One in so many has larger segments and records, and the faults that are rare elsewhere.
        self.is_unusual = seed % UNUSUAL == UNUSUAL - 1
        self.fs = MemoryFileSystem(self.chance.getrandbits(32), strict=self.chance.random() < 0.8)
        self.clock = ManualClock()
        self.history = History(seed)
        self.coverage: Counter[str] = Counter()
        self.store: LocalLogStore
        self.life = 0
        self.is_troubled = False
        self.has_failed = False  # since then, some partition
        self.places: dict[tuple[str, int], Place] = {}  # that exist now
        self.durability: dict[Place, str] = {}
        self._last_seen: dict[Place, tuple[int, int]] = {}  # leader epoch, high watermark
        self.partitions_most = 0  # that there were at once
        self.records = 0  # sent

    # --- calls ----------------------------------------------------------------------------------

    def attempt(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Outcome:
        """Call the store. Whatever is no error of its own, or has no cause, is a surprise."""
        try:
            value = call(*arguments, **options)
        except LogStoreError as error:
            self.note_error(error)
            return Outcome(None, error)
        except MachineStoppedError:
            raise
        except Exception as error:
            self.surprise(getattr(call, "__name__", str(call)), error)
            return Outcome(None, LogStoreError(str(error)))
        return Outcome(value, None)

    def surprise(self, name: str, error: Exception) -> None:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        at = f"{where.tb_frame.f_code.co_name}:{where.tb_lineno}" if where else "?"
        self.history.add(Surprise(f"{name} raised {error!r} in {at}"))

    def note_error(self, error: LogStoreError) -> None:
        self.coverage[f"error {type(error).__name__}"] += 1
        self.has_failed = self.has_failed or isinstance(error, StorageFailedError)
        self.coverage["partition refuses writes"] += isinstance(error, StorageFailedError)
        unexplained = isinstance(error, StoreError) and not self.is_troubled
        if unexplained or isinstance(error, CorruptDataError):
            self.history.add(Surprise(f"refused without a cause: {error!r}"))

    # --- topics ---------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Which partitions there are now."""
        outcome = self.attempt(self.store.describe_topics)
        if outcome.error is not None:
            return
        found: dict[tuple[str, int], Place] = {}
        for info in outcome.value:
            for part in info.partitions:
                place = Place(info.name, str(info.topic_id), part.partition)
                found[info.name, part.partition] = place
                if self.places.get((info.name, part.partition)) != place:
                    self._made(place, info)
        for key, place in self.places.items():
            if found.get(key) != place:
                self.history.add(PartitionGone(place))
                self.coverage["topic gone"] += 1
                del self.durability[place]
        self.places = found
        self.partitions_most = max(self.partitions_most, len(found))

    def _made(self, place: Place, info: TopicInfo) -> None:
        compacted = "compact" in info.configs["cleanup_policy"]
        stay = int(info.configs["delete_retention_ms"]) > 0
        self.history.add(PartitionMade(place, info.configs["durability"], compacted, stay))
        self.coverage["topic made"] += 1
        self.durability[place] = info.configs["durability"]

    def is_there(self, place: Place) -> bool:
        return self.places.get((place.topic, place.partition)) == place

    # --- looking --------------------------------------------------------------------------------

    def note_bounds(self) -> None:
        """Reads what is in memory, so also of a store whose machine has just stopped."""
        for place in self.places.values():
            try:
                log = self.store._table.log(place.topic, place.partition)
            except GONE:
                continue
            epoch, before = self._last_seen.get(place, (log.leader_epoch, 0))
            kept = log.end_offset_for_epoch(epoch)[1]
            self.coverage["suffix lost with page_cache"] += kept < before
            self._last_seen[place] = log.leader_epoch, log.high_watermark
            self.history.add(
                Bounds(
                    place,
                    log.log_start_offset,
                    log.high_watermark,
                    log.log_end_offset,
                    log.leader_epoch,
                    log.flushed_offset,
                    kept,
                )
            )

    def read(
        self,
        reader: str,
        place: Place,
        start: int,
        bytes_max: int,
        *,
        whole: bool = False,
        committed: bool = False,
    ) -> int | LogStoreError:
        """Read on from `start`, with `whole` as far as there is anything; the next offset."""
        found = Found(start)
        error: LogStoreError | None = None
        while True:
            at = FetchPosition(place.topic, place.partition, found.position, bytes_max)
            fetched, error = self.attempt(
                self.store.fetch,
                [at],
                bytes_max=bytes_max,
                read_committed=committed,
                cold_ok=True,
            )
            if error is not None:
                break
            before = found.position
            with fetched:
                (item,) = fetched.partitions
                error = item.error
                if error is not None:
                    break
                self._decode(place, item, found, committed=committed)
                end = item.last_stable_offset if committed else item.high_watermark
            if found.position == before:  # nothing more is visible
                found.position = max(end, before)
                break
            if not whole or found.position >= end:
                break
        if error is not None and not isinstance(error, (OffsetOutOfRangeError, *GONE)):
            self.note_error(error)
        if found.position > start:
            self.history.add(
                Read(
                    reader,
                    place,
                    start,
                    found.position,
                    tuple(found.records),
                    whole and error is None,
                    tuple(found.markers),
                    committed,
                )
            )
        return error or found.position

    def _decode(
        self, place: Place, item: FetchedPartition, found: Found, *, committed: bool
    ) -> None:
        try:
            if not item.data.nbytes:
                return
            runs = committed_runs(item.data, item.aborted) if committed else [item.data]
            for run in runs:
                for batch in iter_batches(run):
                    self._decode_batch(batch, found)
            for batch in iter_batches(item.data):
                last = parse_header(batch).last_offset
            found.position = last + 1
        except (LogStoreError, ValueError) as error:
            self.history.add(Surprise(f"a batch of {place} near {found.position}: {error!r}"))

    def _decode_batch(self, batch: memoryview, found: Found) -> None:
        if not check_crc(batch):
            raise ValueError("its checksum is wrong")
        header = parse_header(batch)
        if header.is_control:
            found.markers.append(header.base_offset)
            return
        for record in decode_records(
            batch, from_offset=found.position, decompressed_bytes_max=DECOMPRESSED_BYTES_MAX
        ):
            value = record.value
            if value is None:
                value = dict(record.headers).get("id") or b""
            if record.key != (key_of(value) if value else None):
                raise ValueError(f"the key {record.key!r} is not that of {value[:20]!r}")
            seen = RecordSeen(record.offset, value, record.timestamp)
            found.records.append(seen)
            found.position = record.offset + 1

    def note_committed(self, group: str) -> None:
        """What the store says is committed of every partition."""
        found, error = self.attempt(self.store.committed_offsets, group)
        if error is not None:
            return
        offsets = {(item.topic, item.partition): item.offset for item in found}
        for part, place in self.places.items():
            self.history.add(CommitRead(group, place, offsets.get(part, -1)))

    def look_at_everything(self) -> None:
        """All bounds, and every log from its start to its end."""
        self.note_bounds()
        for place in list(self.places.values()):
            self.scan(place, committed=False)
            if self.chance.random() < 0.3:
                self.scan(place, committed=True)

    def scan(self, place: Place, *, committed: bool) -> None:
        log = self.store._table.log(place.topic, place.partition)
        end = log.last_stable_offset if committed else log.high_watermark
        if end > log.log_start_offset:
            start = log.log_start_offset
            self.read("scan", place, start, 1 << 20, whole=True, committed=committed)
