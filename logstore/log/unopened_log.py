"""The place of a partition that could not be opened: every use raises why, the others are served.

Its files are left as they are. The store is not closed cleanly as long as there is one, so that the
next opening looks at it again. What it held is known from the state file only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn, Unpack

from logstore.config import TopicConfig
from logstore.errors import LogStoreError, UnknownTopicError
from logstore.log.append_values import Appended, Flush
from logstore.log.faults import fresh
from logstore.log.lease import Lease
from logstore.log.partition_log import PartitionLog, PartitionParts
from logstore.log.producer_state import KnownProducers
from logstore.log.transactions import AbortedTransaction
from logstore.log.waiters import Callback, Registration, Waiters

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from logstore.record import BatchHeader

NO_EPOCH = -1


class UnopenedLog(PartitionLog):
    """Thread-safe. `error` is why it is not open; a copy of it is what all uses raise."""

    def __init__(self, error: LogStoreError, **parts: Unpack[PartitionParts]) -> None:
        self.topic = parts["topic"]
        self.topic_id = parts["topic_id"]
        self.partition = parts["partition"]
        self.cleaner = _NoCleaner(self)  # type: ignore[assignment]
        self._name = f"{self.topic}-{self.partition}"
        self._error = error
        self._config = parts["config"]
        self._recorded = parts["slot"].recorded
        self._waiters = Waiters(lambda: -1)
        self._waiters.end(error)

    def _refuse(self) -> NoReturn:
        raise fresh(self._error)

    # --- what it is -------------------------------------------------------------------------

    @property
    def log_start_offset(self) -> int:
        return self._recorded.log_start_offset if self._recorded else 0

    @property
    def high_watermark(self) -> int:
        return self._recorded.high_watermark if self._recorded else 0

    last_stable_offset = log_end_offset = flushed_offset = high_watermark

    @property
    def leader_epoch(self) -> int:
        return NO_EPOCH

    @property
    def size_bytes(self) -> int:
        return 0

    segment_count = size_bytes

    @property
    def config(self) -> TopicConfig:
        return self._config

    @property
    def recovery_notes(self) -> list[str]:
        return [f"{self._name} could not be opened and is not served: {self._error.message}"]

    @property
    def error(self) -> LogStoreError:
        return self._error

    @property
    def has_lost(self) -> bool:
        return False  # not known yet

    @property
    def aborted(self) -> Sequence[AbortedTransaction]:
        return ()

    def open_transactions(self) -> dict[int, tuple[int, int]]:
        return {}

    def producers(self) -> KnownProducers:
        self._refuse()

    def is_marked(self, producer_id: int, epoch: int) -> bool:
        return False

    # --- what it refuses --------------------------------------------------------------------

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        self._refuse()

    def append(
        self,
        batch: Buffer,
        *,
        header: BatchHeader | None = None,
        flush: Flush = Flush.NOW,
        validated: bool = False,
    ) -> Appended:
        self._refuse()

    def on_high_watermark(self, offset: int, callback: Callback) -> Registration:
        return self._waiters.add(offset, callback)

    on_stable_offset = on_high_watermark

    def flush(self) -> None:
        self._refuse()

    def check_offset(self, offset: int) -> None:
        self._refuse()

    def read(
        self, offset: int, *, bytes_max: int, up_to: int | None = None, cold_ok: bool = False
    ) -> Lease:
        self._refuse()

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        self._refuse()

    def offset_for_max_timestamp(self) -> tuple[int, int] | None:
        self._refuse()

    def delete_records(self, before_offset: int) -> int:
        self._refuse()

    # --- what it leaves undone --------------------------------------------------------------

    def expire_producers(self, keep_ms: int) -> int:
        return 0

    def apply_retention(self, now_ms: int) -> int:
        return 0

    def update_config(self, config: TopicConfig) -> None:
        self._config = config

    def close(self) -> bool:
        return False

    def abandon(self) -> None:
        self._error = UnknownTopicError(f"topic {self.topic!r} was deleted", topic=self.topic)


class _NoCleaner:
    """Raises what the log does, so that it is put off."""

    def __init__(self, log: UnopenedLog) -> None:
        self._log = log

    def dirty_ratio(self) -> float:
        raise fresh(self._log.error)

    def clean(self, *, secret: bytes) -> Iterator[None]:
        raise fresh(self._log.error)
