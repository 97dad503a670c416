"""What a read_committed reader may see of a run of batches (KIP-98)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from logstore.record.batch import as_view, iter_batches
from logstore.record.format import parse_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer


def committed_runs(data: Buffer, aborted: Iterable[tuple[int, int, int]]) -> list[memoryview]:
    """`data`, whole batches in order, without those of aborted transactions, as views of it.

    `aborted`: (producer id, first offset, last offset) of every aborted transaction that has
    records in `data`; others do no harm. Their markers are not looked for: compaction takes them,
    when it has taken all else of the transaction. Control batches stay: they hold no records for
    users, and carry a reader's position past the end of a transaction.

    Raises BatchLengthError, BatchMagicError.
    """
    view = as_view(data)
    coming = deque(sorted(aborted, key=lambda item: item[1]))
    if not coming:
        return [view] if view.nbytes else []
    active: dict[int, int] = {}  # producer id -> last offset
    runs: list[memoryview] = []
    start = position = 0
    for batch in iter_batches(view):
        header = parse_header(batch)
        while coming and coming[0][1] <= header.last_offset:
            producer_id, _, last_offset = coming.popleft()
            active[producer_id] = last_offset
        end = position + batch.nbytes
        is_aborted = header.base_offset <= active.get(header.producer_id, -1)
        if is_aborted and header.is_transactional and not header.is_control:
            if start < position:
                runs.append(view[start:position])
            start = end
        position = end
    if start < position:
        runs.append(view[start:position])
    return runs
