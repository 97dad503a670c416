from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.record.samples import CODECS, LIMIT, ROWS, build, rows_of

if TYPE_CHECKING:
    from types import ModuleType

    from tests.record.samples import Row

TEXT: list[Row] = [(b"k", b"words that come again and again " * 400, 5, ())] * 50


def recompressed(record: ModuleType, batch, codec: str, level: int | None = None):
    header, body = record.validated_body(batch, decompressed_bytes_max=LIMIT)
    return record.recompress_batch(header, body, codec=record.codec_code(codec), level=level)


@pytest.mark.parametrize("before", CODECS)
@pytest.mark.parametrize("after", CODECS)
def test_only_codec_length_and_crc_change(record: ModuleType, before: str, after: str) -> None:
    fields = {
        "base_offset": 9,
        "leader_epoch": 4,
        "producer_id": 77,
        "producer_epoch": 2,
        "base_sequence": 10,
    }
    batch = build(record, ROWS, before, **fields, is_transactional=True)
    stored = recompressed(record, batch, after)
    old = record.parse_header(batch)
    new = record.validate_batch(stored, decompressed_bytes_max=LIMIT)
    assert CODECS[new.compression] == after
    assert new.attributes & ~7 == old.attributes & ~7
    changed = {"attributes": 0, "batch_length": 0, "crc": 0}
    assert new._replace(**changed) == old._replace(**changed)
    records = record.decode_records(stored, decompressed_bytes_max=LIMIT)
    assert rows_of(records) == ROWS


def test_a_codec_is_kept_where_it_makes_records_larger(record: ModuleType) -> None:
    batch = build(record, [(None, b"x", 1, ())], "none")
    stored = recompressed(record, batch, "gzip")
    assert record.parse_header(stored).compression == 1
    assert len(stored) > len(batch)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_higher_level_makes_it_smaller(record: ModuleType, codec: str) -> None:
    batch = build(record, [(b"%d" % at, b"%d" % (at * at), at, ()) for at in range(5000)], "none")
    low, high = (recompressed(record, batch, codec, level) for level in (1, 9))
    assert len(high) < len(low)
    for stored in (low, high):
        assert record.validate_batch(stored, decompressed_bytes_max=LIMIT).record_count == 5000


@pytest.mark.parametrize("level", [-131072, 0, 22])
def test_the_ends_of_zstds_levels(record: ModuleType, level: int) -> None:
    stored = recompressed(record, build(record, TEXT, "none"), "zstd", level)
    records = record.decode_records(stored, decompressed_bytes_max=LIMIT)
    assert rows_of(records) == TEXT
