"""Reading the partitions of an open store: what is there now, waiting for more, offsets by time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from logstore import api
from logstore.api import (
    EpochEnd,
    FetchedPartition,
    FetchPosition,
    OffsetAnswer,
    OffsetQuery,
    OffsetSpec,
    PartitionBounds,
)
from logstore.errors import LogStoreError, TooManyRequestsError
from logstore.log import AbortedTransaction, PartitionLog, between
from logstore.reader import LeasedFetch, OneShot, next_offset
from logstore.record import parse_header
from logstore.topic_table import TopicTable

NO_DATA = memoryview(b"")


class Fetching:
    """Thread-safe."""

    def __init__(self, table: TopicTable, *, waiters_max: int) -> None:
        self._table = table
        self._waiters_max = waiters_max
        self._waiters = 0
        self._waiters_lock = threading.Lock()

    def fetch(
        self,
        positions: Sequence[FetchPosition],
        *,
        bytes_max: int,
        read_committed: bool = False,
        cold_ok: bool = False,
    ) -> LeasedFetch:
        """See api.ServedLogStore. A partition's error is in its item; none is raised."""
        partitions: list[FetchedPartition] = []
        leases = []
        room = bytes_max
        for position in positions:
            if room <= 0:
                break
            try:
                log = self._table.log(position.topic, position.partition)
                stable = log.last_stable_offset
                aborted = log.aborted  # as of now: retention may shorten it while this reads
                if read_committed:
                    log.check_offset(position.offset)
                lease = log.read(
                    position.offset,
                    bytes_max=min(position.bytes_max, room),
                    up_to=stable if read_committed else None,
                    cold_ok=cold_ok,
                )
            except LogStoreError as error:
                partitions.append(_failed(position, error))
                continue
            leases.append(lease)
            room -= lease.data.nbytes
            partitions.append(
                FetchedPartition(
                    topic=position.topic,
                    partition=position.partition,
                    data=lease.data,
                    high_watermark=log.high_watermark,
                    log_start_offset=log.log_start_offset,
                    last_stable_offset=stable,
                    cold=lease.cold,
                    aborted=_aborted_in(aborted, lease.data) if read_committed else (),
                )
            )
        return LeasedFetch(partitions, leases)

    def wait_for_data(
        self,
        positions: Sequence[FetchPosition],
        on_ready: Callable[[], None],
        *,
        read_committed: bool = False,
    ) -> OneShot:
        self._take_waiters(len(positions))

        def finished() -> None:
            self._take_waiters(-len(positions))

        waiting = OneShot(on_ready, finished)
        for position in positions:
            if waiting.spent:
                break
            try:
                log = self._table.log(position.topic, position.partition)
                log.check_offset(position.offset)
            except LogStoreError:  # the next fetch tells it
                waiting.fire()
                break
            when = log.on_stable_offset if read_committed else log.on_high_watermark
            waiting.add(when(position.offset + 1, lambda _error: waiting.fire()))
        return waiting

    def _take_waiters(self, count: int) -> None:
        with self._waiters_lock:
            if count > 0 and self._waiters + count > self._waiters_max:
                raise TooManyRequestsError(
                    f"{self._waiters} partitions are being waited for, the limit is "
                    f"{self._waiters_max} (waiters_max)"
                )
            self._waiters += count

    def bounds(self, topic: str, partition: int) -> PartitionBounds:
        log = self._table.log(topic, partition)
        if log.error is not None:
            log.check_offset(log.log_start_offset)
        stable = log.last_stable_offset  # before the watermark, which is never below it then
        return PartitionBounds(log.log_start_offset, stable, log.high_watermark, log.leader_epoch)

    def epoch_end(self, topic: str, partition: int, leader_epoch: int) -> EpochEnd:
        return EpochEnd(*self._table.log(topic, partition).end_offset_for_epoch(leader_epoch))

    def list_offsets(self, queries: Sequence[OffsetQuery]) -> list[OffsetAnswer]:
        return [self._list_offset(query) for query in queries]

    def _list_offset(self, query: OffsetQuery) -> OffsetAnswer:
        try:
            log = self._table.log(query.topic, query.partition)
            offset, timestamp = self._locate(log, query.timestamp_ms)
        except LogStoreError as error:
            return OffsetAnswer(
                query.topic,
                query.partition,
                api.OFFSET_UNKNOWN,
                api.TIMESTAMP_UNKNOWN,
                api.LEADER_EPOCH_UNKNOWN,
                error,
            )
        return OffsetAnswer(query.topic, query.partition, offset, timestamp, log.leader_epoch)

    @staticmethod
    def _locate(log: PartitionLog, timestamp_ms: int) -> tuple[int, int]:
        if timestamp_ms == OffsetSpec.LATEST:
            return log.last_stable_offset, api.TIMESTAMP_UNKNOWN
        if timestamp_ms == OffsetSpec.EARLIEST:
            return log.log_start_offset, api.TIMESTAMP_UNKNOWN
        if timestamp_ms == OffsetSpec.MAX_TIMESTAMP:
            found = log.offset_for_max_timestamp()
        else:
            found = log.offset_for_timestamp(timestamp_ms)
        return found or (api.OFFSET_UNKNOWN, api.TIMESTAMP_UNKNOWN)


def _aborted_in(
    aborted: Sequence[AbortedTransaction], data: memoryview
) -> tuple[api.AbortedTransaction, ...]:
    if not data.nbytes or not aborted:
        return ()
    found = between(aborted, parse_header(data).base_offset, next_offset(data) - 1)
    return tuple(api.AbortedTransaction(*entry[:3]) for entry in found)


def _failed(position: FetchPosition, error: LogStoreError) -> FetchedPartition:
    return FetchedPartition(position.topic, position.partition, NO_DATA, -1, -1, -1, error)
