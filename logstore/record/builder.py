"""Builds batches: record by record for a producer, column-wise for bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypedDict, TypeVar, Unpack

from logstore.errors import BatchTooLargeError, InvalidRequestError
from logstore.record import format as fmt
from logstore.record._encoder import RecordEncoder
from logstore.record.batch import pack_header, seal
from logstore.record.compression import CODEC_NONE, codec_code, compress

if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

_T = TypeVar("_T")


class BatchFields(TypedDict, total=False):
    """Fields of the header that the caller of `build` may set; see `BatchBuilder.build`."""

    base_offset: int
    leader_epoch: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    is_transactional: bool
    is_control: bool


class BatchBuilder(RecordEncoder):
    """Collects records for one batch of up to `batch_bytes_max` bytes before compression.

    `try_append(key, value, timestamp_ms, headers=())` returns False when a record would not fit;
    then `build()` and append again. A record larger than a whole batch is taken by an empty
    builder; the log refuses it if the topic's limit does. Owned by one thread.

    Example: try_append(b"k", b"v", 1700000000000), size_bytes 72, build() -> 72 bytes.
    """

    __slots__ = ("_codec",)

    def __init__(
        self, *, compression: str = "none", batch_bytes_max: int = fmt.BATCH_BYTES_LIMIT
    ) -> None:
        if not fmt.HEADER_BYTES < batch_bytes_max <= fmt.BATCH_BYTES_LIMIT:
            raise InvalidRequestError(
                f"batch_bytes_max must be from {fmt.HEADER_BYTES + 1} to {fmt.BATCH_BYTES_LIMIT}, "
                f"not {batch_bytes_max}"
            )
        super().__init__(batch_bytes_max)
        self._codec = codec_code(compression)

    def build(
        self,
        *,
        base_offset: int = 0,
        leader_epoch: int = fmt.NO_LEADER_EPOCH,
        producer_id: int = fmt.NO_PRODUCER_ID,
        producer_epoch: int = fmt.NO_PRODUCER_EPOCH,
        base_sequence: int = fmt.NO_SEQUENCE,
        is_transactional: bool = False,
        is_control: bool = False,
    ) -> bytearray:
        """The batch; the builder is empty afterwards and may be used again.

        Records that their codec would make larger are stored without compression.
        Raises InvalidRequestError when there is no record.
        """
        count, first, latest = self.record_count, self.base_timestamp, self.max_timestamp
        if count == 0:
            raise InvalidRequestError("a batch needs at least one record")
        batch = self.take()
        attributes = self._codec
        if attributes != CODEC_NONE:
            with memoryview(batch) as view:
                block = compress(attributes, view[fmt.HEADER_BYTES :])
            if fmt.HEADER_BYTES + len(block) < len(batch):
                batch[fmt.HEADER_BYTES :] = block
            else:
                attributes = CODEC_NONE
        if is_transactional:
            attributes |= fmt.TRANSACTIONAL_BIT
        if is_control:
            attributes |= fmt.CONTROL_BIT
        header = fmt.BatchHeader(
            base_offset=base_offset,
            batch_length=len(batch) - fmt.LENGTH_END,
            partition_leader_epoch=leader_epoch,
            magic=fmt.MAGIC,
            crc=0,
            attributes=attributes,
            last_offset_delta=count - 1,
            base_timestamp=first,
            max_timestamp=latest,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
            record_count=count,
        )
        pack_header(batch, header)
        seal(batch)
        return batch


def encode_batch(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | None = None,
    timestamps: Sequence[int] | int = fmt.NO_TIMESTAMP,
    headers: Sequence[Headers] | None = None,
    *,
    compression: str = "none",
    **fields: Unpack[BatchFields],
) -> bytearray:
    """One batch of columns, up to 2 GiB; each column is as long as `values`, or None.

    `timestamps` (milliseconds) may be one number for all. Raises InvalidRequestError for columns
    of unequal length and values of a wrong type, BatchTooLargeError over 2 GiB.
    """
    builder = BatchBuilder(compression=compression)
    one_timestamp = timestamps if isinstance(timestamps, int) else fmt.NO_TIMESTAMP
    many_timestamps = None if isinstance(timestamps, int) else timestamps
    added = builder.extend(
        tuple(values),
        _column("keys", keys, len(values)),
        _column("timestamps", many_timestamps, len(values)),
        one_timestamp,
        _column("headers", headers, len(values)),
    )
    if added < len(values):
        raise BatchTooLargeError(
            f"{len(values)} records take more than {fmt.BATCH_BYTES_LIMIT} bytes; "
            f"the first {added} fit",
            fitting_records=added,
        )
    return builder.build(**fields)


def _column(name: str, column: Sequence[_T] | None, length: int) -> tuple[_T, ...] | None:
    if column is None:
        return None
    if len(column) != length:
        raise InvalidRequestError(f"{len(column)} {name} were given for {length} values")
    return tuple(column)
