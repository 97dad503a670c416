"""What the actors of one simulation share: the machine, the store, chance, and the ledger."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from logstore.api import FetchPosition, TopicInfo
from logstore.errors import (
    CorruptDataError,
    LogStoreError,
    OffsetOutOfRangeError,
    StorageFailedError,
    StoreError,
    UnknownPartitionError,
    UnknownTopicError,
)
from logstore.record import check_crc, decode_records, iter_batches
from logstore.store import LocalLogStore
from logstore.testing import MachineStoppedError, ManualClock, MemoryFileSystem
from tests.simulator.history import (
    Bounds,
    History,
    PartitionGone,
    PartitionMade,
    Place,
    Read,
    RecordSeen,
    Surprise,
)

DECOMPRESSED_BYTES_MAX = 1 << 20
GONE = (UnknownTopicError, UnknownPartitionError)


class Outcome(NamedTuple):
    """Of a call to the store: `error` is one of its own, or None."""

    value: Any
    error: LogStoreError | None


class World:
    """`store` is replaced at each opening; `life` counts them. `is_troubled`: since the last one a
    fault was injected, so that the store may refuse."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.fs = MemoryFileSystem(self.chance.getrandbits(32), strict=self.chance.random() < 0.8)
        self.clock = ManualClock()
        self.history = History(seed)
        self.coverage: Counter[str] = Counter()
        self.store: LocalLogStore
        self.life = 0
        self.is_troubled = False
        self.places: dict[tuple[str, int], Place] = {}  # that exist now
        self.durability: dict[Place, str] = {}
        self.high_watermarks: dict[Place, int] = {}  # when they were last looked at
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
        self.history.add(PartitionMade(place, info.configs["durability"]))
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
            before = self.high_watermarks.get(place, 0)
            self.coverage["suffix lost with page_cache"] += log.high_watermark < before
            self.high_watermarks[place] = log.high_watermark
            self.history.add(
                Bounds(
                    place,
                    log.log_start_offset,
                    log.high_watermark,
                    log.log_end_offset,
                    log.leader_epoch,
                    log.flushed_offset,
                )
            )

    def read(
        self, reader: str, place: Place, start: int, bytes_max: int, *, whole: bool = False
    ) -> int | LogStoreError:
        """Read on from `start`, up to the high watermark with `whole`; the next offset."""
        position = start
        records: list[RecordSeen] = []
        error: LogStoreError | None = None
        while True:
            at = FetchPosition(place.topic, place.partition, position, bytes_max)
            fetched, error = self.attempt(self.store.fetch, [at], bytes_max=bytes_max, cold_ok=True)
            if error is not None:
                break
            with fetched:
                (item,) = fetched.partitions
                error = item.error
                if error is not None:
                    break
                before = position
                position = self._decode(place, item.data, position, records)
                end = item.high_watermark
            if position == before:  # nothing more is visible
                position = end if position < end else position
                break
            if not whole or position >= end:
                break
        if error is not None and not isinstance(error, (OffsetOutOfRangeError, *GONE)):
            self.note_error(error)
        if position > start:
            is_whole = whole and error is None
            self.history.add(Read(reader, place, start, position, tuple(records), is_whole))
        return error or position

    def _decode(
        self, place: Place, data: memoryview, position: int, records: list[RecordSeen]
    ) -> int:
        try:
            for batch in iter_batches(data):
                if not check_crc(batch):
                    raise ValueError("its checksum is wrong")
                for record in decode_records(
                    batch, from_offset=position, decompressed_bytes_max=DECOMPRESSED_BYTES_MAX
                ):
                    seen = RecordSeen(record.offset, record.value or b"", record.timestamp)
                    records.append(seen)
                    position = record.offset + 1
        except (LogStoreError, ValueError) as error:
            self.history.add(Surprise(f"a batch of {place} near {position}: {error!r}"))
        return position

    def look_at_everything(self) -> None:
        """All bounds, and every log from its start to its end."""
        self.note_bounds()
        for place in list(self.places.values()):
            log = self.store._table.log(place.topic, place.partition)
            if log.high_watermark > log.log_start_offset:
                self.read("scan", place, log.log_start_offset, 1 << 20, whole=True)
