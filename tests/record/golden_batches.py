"""Makes tests/golden/record_batches.json: batches written by other people's encoders.

    python -m tests.record.golden_batches > tests/golden/record_batches.json

Run it only to add batches: the file stands for what those releases wrote.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from tests.record.samples import CODECS, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN_ROWS: list[Row] = [
    (b"key-1", b"a value, " * 30, 1700000000000, ()),
    (None, b"no key", 1700000000123, (("trace", b"\x00\x01"), ("empty", b""), ("größe", None))),
    (b"key-3", None, 1699999999000, ()),
    (b"", b"", 1700000000001, ()),
]


def by_aiokafka(compression: int, rows: list[Row], *, transactional: bool = False) -> bytes:
    from aiokafka.record.default_records import DefaultRecordBatchBuilder

    producer = (4000, 3, 17) if transactional else (-1, -1, -1)
    builder = DefaultRecordBatchBuilder(2, compression, int(transactional), *producer, 1 << 20)
    for offset, (key, value, timestamp, headers) in enumerate(rows):
        assert builder.append(offset, timestamp, key, value, list(headers)) is not None
    return bytes(builder.build())


def by_kafka_python(compression: int, rows: list[Row], *, transactional: bool = False) -> bytes:
    from kafka.record.default_records import DefaultRecordBatchBuilder

    producer = (4000, 3, 17) if transactional else (-1, -1, -1)
    builder = DefaultRecordBatchBuilder(2, compression, transactional, *producer, 1 << 20)
    for offset, (key, value, timestamp, headers) in enumerate(rows):
        assert builder.append(offset, timestamp, key, value, list(headers)) is not None
    return bytes(builder.build())


def _golden() -> Iterator[dict[str, object]]:
    for writer, build, codecs in (
        ("aiokafka", by_aiokafka, CODECS),
        ("kafka-python", by_kafka_python, CODECS[:2]),  # the others need more packages
    ):
        made_by = f"{writer} {version(writer)} DefaultRecordBatchBuilder"
        for code, name in enumerate(codecs):
            data = build(code, GOLDEN_ROWS)
            yield {"made_by": made_by, "compression": name, "hex": data.hex()}
        data = build(0, GOLDEN_ROWS, transactional=True)
        yield {"made_by": f"{made_by}, transactional", "compression": "none", "hex": data.hex()}


if __name__ == "__main__":
    print(json.dumps(list(_golden()), indent=1))
