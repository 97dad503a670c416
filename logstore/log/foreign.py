"""Transactions that are open in logs from elsewhere: whoever began them can never end them here."""

from __future__ import annotations

from collections.abc import Sequence

from logstore.log.partition_log import PartitionLog
from logstore.record import Marker, encode_marker


def end_foreign_transactions(logs: Sequence[PartitionLog], now_ms: int) -> list[str]:
    """Abort them; on disk when it returns. A sentence for each."""
    notes = []
    for log in logs:
        for producer_id, (epoch, first_offset) in log.open_transactions().items():
            marker = encode_marker(
                Marker.ABORT, producer_id=producer_id, producer_epoch=epoch, timestamp_ms=now_ms
            )
            log.append(marker, validated=True)
            notes.append(
                f"{log.topic}-{log.partition}: the transaction of producer {producer_id} from "
                f"offset {first_offset} on was open and was aborted"
            )
        log.flush()
    return notes
