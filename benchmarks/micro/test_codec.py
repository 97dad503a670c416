"""Records per second of the codec on one batch of 100-byte values, about 1 MiB.

    pytest benchmarks/micro/test_codec.py --benchmark-enable

The table at the end sets each against the CRC of the same batch, the part of a check that no
validation can do without, and a copy of its bytes; all in the same run.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from logstore import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

COUNT = 9_500
VALUES = [b"%0100d" % i for i in range(COUNT)]
KEYS = [b"customer-%d" % (i % 1000) for i in range(COUNT)]
TIMESTAMPS = [1_700_000_000_000 + i // 100 for i in range(COUNT)]
HEADERS = [[("trace-id", b"0123456789abcdef")]] * COUNT
LIMIT = 64 << 20

PLAIN = record.encode_batch(VALUES, timestamps=TIMESTAMPS)
KEYED = record.encode_batch(VALUES, KEYS, TIMESTAMPS)
WITH_HEADERS = record.encode_batch(VALUES, KEYS, TIMESTAMPS, HEADERS)


def append_one_by_one() -> bytearray:
    builder = record.BatchBuilder(batch_bytes_max=4 << 20)
    append = builder.try_append
    for value in VALUES:
        append(None, value, 1_700_000_000_000)
    return builder.build()


def validate(batch: bytearray) -> Any:
    return record.validate_batch(batch, decompressed_bytes_max=LIMIT)


def compressed(name: str) -> bytearray:
    return record.encode_batch(VALUES, timestamps=TIMESTAMPS, compression=name)


WORK: dict[str, Callable[[], Any]] = {
    "copy of the bytes": lambda: bytes(PLAIN),
    "CRC only": lambda: record.check_crc(PLAIN),
    "validate: CRC and walk": lambda: validate(PLAIN),
    "validate, keys": lambda: validate(KEYED),
    "validate, keys and a header": lambda: validate(WITH_HEADERS),
    "encode, one timestamp": lambda: record.encode_batch(VALUES, timestamps=1_700_000_000_000),
    "encode": lambda: record.encode_batch(VALUES, timestamps=TIMESTAMPS),
    "encode, keys": lambda: record.encode_batch(VALUES, KEYS, TIMESTAMPS),
    "encode, keys and a header": lambda: record.encode_batch(VALUES, KEYS, TIMESTAMPS, HEADERS),
    "append one by one": append_one_by_one,
    "decode to columns": lambda: record.decode_columns(PLAIN, decompressed_bytes_max=LIMIT),
    "decode to columns, keys": lambda: record.decode_columns(KEYED, decompressed_bytes_max=LIMIT),
    "decode to records": lambda: record.decode_records(PLAIN, decompressed_bytes_max=LIMIT),
    "decode to records, keys": lambda: record.decode_records(KEYED, decompressed_bytes_max=LIMIT),
    "decode to records, keys and a header": lambda: record.decode_records(
        WITH_HEADERS, decompressed_bytes_max=LIMIT
    ),
}
for codec in record.CODEC_NAMES[1:]:
    WORK[f"encode, {codec}"] = partial(compressed, codec)
    WORK[f"validate, {codec}"] = partial(validate, compressed(codec))


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Best seconds by name; printed when the last benchmark is done."""
    seconds: dict[str, float] = {}
    yield seconds
    if not seconds:
        return
    crc = seconds.get("CRC only")
    kind = "compiled" if record.is_compiled() else "plain Python"
    lines = [f"{kind}, {COUNT} records of 100 bytes, {len(PLAIN)} bytes in a batch"]
    for name, best in seconds.items():
        against = f"{best / crc:8.1f} x CRC" if crc else ""
        lines.append(
            f"{name:38}{COUNT / best / 1e6:9.2f} M records/s{best / COUNT * 1e9:9.1f} ns{against}"
        )
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + "\n".join(lines))


@pytest.mark.parametrize("name", WORK)
def test_codec(benchmark: BenchmarkFixture, table: dict[str, float], name: str) -> None:
    assert benchmark(WORK[name]) is not False
    if benchmark.stats is not None:
        table[name] = benchmark.stats.stats.min
        benchmark.extra_info["records_per_second"] = round(COUNT / benchmark.stats.stats.min)
