"""Transaction markers: the control batches that end a producer's transaction in a partition.

A control batch holds one record (KIP-98; Kafka's ControlRecordType and EndTxnMarker schemas):

    key    0  2  version 0
           2  2  type: 0 abort, 1 commit (others are Kafka's own and end no transaction)
    value  0  2  version 0
           2  4  coordinator epoch
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, Final

from logstore.errors import InvalidBatchError
from logstore.record.batch import decode_records
from logstore.record.builder import encode_batch

if TYPE_CHECKING:
    from typing_extensions import Buffer

_KEY: Final = struct.Struct(">hh")
_VALUE: Final = struct.Struct(">hi")
_MARKER_BYTES_MAX: Final = 1 << 16  # what a compressed foreign one may unfold to


class Marker(enum.IntEnum):
    """Kafka's numbers."""

    ABORT = 0
    COMMIT = 1


def encode_marker(
    marker: Marker,
    *,
    producer_id: int,
    producer_epoch: int,
    timestamp_ms: int,
    coordinator_epoch: int = 0,
) -> bytearray:
    """The batch that ends the transaction of that producer; it has no sequence."""
    return encode_batch(
        [_VALUE.pack(0, coordinator_epoch)],
        [_KEY.pack(0, marker)],
        timestamp_ms,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        is_transactional=True,
        is_control=True,
    )


def marker_of(batch: Buffer) -> Marker | None:
    """How a control batch ends its producer's transaction; None if it does not.

    Raises InvalidBatchError's subclasses for records that cannot be read.
    """
    records = decode_records(batch, decompressed_bytes_max=_MARKER_BYTES_MAX)
    key = records[0].key if records else None
    if key is None:
        return None
    try:
        _, kind = _KEY.unpack_from(key)
        return Marker(kind)
    except struct.error:
        raise InvalidBatchError("the key of a control record takes four bytes") from None
    except ValueError:
        return None
