"""Kafka record batches: bytes to values and back, with no I/O and no clock. See README.md."""

from logstore.record import _codec, _encoder
from logstore.record._codec import Record
from logstore.record.batch import (
    as_view,
    check_batch_bytes,
    check_crc,
    decode_records,
    is_transactional,
    iter_batches,
    patch_offsets,
    records_body,
    validate_batch,
    validated_body,
    with_log_append_time,
    with_producer,
)
from logstore.record.builder import BatchBuilder, BatchFields, encode_batch
from logstore.record.columns import BytesColumn, Columns, concat_columns, decode_columns
from logstore.record.committed import committed_runs
from logstore.record.compression import CODEC_NAMES, codec_code
from logstore.record.control import Marker, encode_marker, marker_of
from logstore.record.filtering import empty_batch, filter_batch
from logstore.record.format import (
    CONTROL_BIT,
    HEADER_BYTES,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_TYPE_BIT,
    TRANSACTIONAL_BIT,
    BatchHeader,
    header_prefix,
    parse_header,
)
from logstore.record.recompression import recompress_batch

__all__ = [
    "CODEC_NAMES",
    "CONTROL_BIT",
    "HEADER_BYTES",
    "NO_PRODUCER_EPOCH",
    "NO_PRODUCER_ID",
    "NO_SEQUENCE",
    "NO_TIMESTAMP",
    "TIMESTAMP_CREATE_TIME",
    "TIMESTAMP_LOG_APPEND_TIME",
    "TIMESTAMP_TYPE_BIT",
    "TRANSACTIONAL_BIT",
    "BatchBuilder",
    "BatchFields",
    "BatchHeader",
    "BytesColumn",
    "Columns",
    "Marker",
    "Record",
    "as_view",
    "check_batch_bytes",
    "check_crc",
    "codec_code",
    "committed_runs",
    "concat_columns",
    "decode_columns",
    "decode_records",
    "empty_batch",
    "encode_batch",
    "encode_marker",
    "filter_batch",
    "header_prefix",
    "is_compiled",
    "is_transactional",
    "iter_batches",
    "marker_of",
    "parse_header",
    "patch_offsets",
    "recompress_batch",
    "records_body",
    "validate_batch",
    "validated_body",
    "with_log_append_time",
    "with_producer",
]


def is_compiled() -> bool:
    """Whether the loops over records run as C; if not, they are some hundred times slower."""
    return _codec.is_compiled() and _encoder.is_compiled()
