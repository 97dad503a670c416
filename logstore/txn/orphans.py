"""Transactions that a partition holds open and nobody knows of: their enrolment was lost with the
power, or their marker to damage. Nothing could ever end them; opening the store does."""

from __future__ import annotations

from collections.abc import Callable

from logstore.api import TopicPartition
from logstore.flush_wait import pending_flush
from logstore.record import Marker, encode_marker
from logstore.txn.partitions import Partitions
from logstore.txn.transaction import Transaction


def abort_orphans(
    partitions: Partitions, now_ms: int, find: Callable[[int], Transaction | None]
) -> list[str]:
    """On disk when it returns; a sentence for each. `find`: the transaction of a producer id."""
    written = []
    notes = []
    for log in partitions.all_logs():
        for producer_id, (epoch, first_offset) in log.open_transactions().items():
            known = find(producer_id)
            if known is not None and known.is_part(TopicPartition(log.topic, log.partition), epoch):
                continue
            marker = encode_marker(
                Marker.ABORT,
                producer_id=producer_id,
                producer_epoch=max(epoch, known.epoch if known else epoch),
                timestamp_ms=now_ms,
            )
            appended = log.append(marker, validated=True)
            written.append(pending_flush(log, partitions.flusher, appended.last_offset, None))
            notes.append(
                f"{log.topic}-{log.partition}: the transaction of producer {producer_id} from "
                f"offset {first_offset} on was aborted: its end, or its beginning, was lost"
            )
    for pending in written:
        pending.result()
    return notes
