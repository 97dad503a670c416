"""What a read_committed reader may see of a run of batches (KIP-98)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from logstore.record.batch import as_view, iter_batches
from logstore.record.control import Marker, marker_of
from logstore.record.format import parse_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer


def committed_runs(data: Buffer, aborted: Iterable[tuple[int, int]]) -> list[memoryview]:
    """`data`, whole batches in order, without those of aborted transactions, as views of it.

    `aborted`: (producer id, first offset) of every aborted transaction that has records in `data`;
    none whose marker comes before `data`, while later ones do no harm. Control batches stay: they
    hold no records for users, and carry a reader's position past the end of a transaction.

    Raises BatchLengthError, BatchMagicError.
    """
    view = as_view(data)
    coming = deque(sorted(aborted, key=lambda item: item[1]))
    if not coming:
        return [view] if view.nbytes else []
    active: set[int] = set()
    runs: list[memoryview] = []
    start = position = 0
    for batch in iter_batches(view):
        header = parse_header(batch)
        while coming and coming[0][1] <= header.last_offset:
            active.add(coming.popleft()[0])
        end = position + batch.nbytes
        if header.is_control:
            if marker_of(batch) is Marker.ABORT:
                active.discard(header.producer_id)
        elif header.is_transactional and header.producer_id in active:
            if start < position:
                runs.append(view[start:position])
            start = end
        position = end
    if start < position:
        runs.append(view[start:position])
    return runs
