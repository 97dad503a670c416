from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import sys

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.errors import BatchCompressionError, InvalidRequestError
from logstore.record.compression import CODEC_NAMES, codec_code, compress, decompress

CODECS = pytest.mark.parametrize("codec", [1, 2, 3, 4], ids=CODEC_NAMES[1:])
TEXT = b"the same words again and again, " * 10_000  # 320 kB: several blocks of every codec
NOISE = random.Random(1).randbytes(150_000)
XERIAL = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def test_codec_codes_are_kafkas() -> None:
    assert [codec_code(name) for name in ("none", "gzip", "snappy", "lz4", "zstd")] == [*range(5)]
    with pytest.raises(InvalidRequestError, match="unknown compression 'brotli'; known are none"):
        codec_code("brotli")


@CODECS
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE], ids=["empty", "one", "text", "noise"])
def test_round_trip_at_exactly_the_limit(codec: int, data: bytes) -> None:
    block = compress(codec, data)
    assert decompress(codec, block, bytes_max=len(data)) == data
    assert decompress(codec, memoryview(block), bytes_max=10 * len(data) + 1) == data


@CODECS
def test_one_byte_over_the_limit(codec: int) -> None:
    with pytest.raises(BatchCompressionError, match="more than the limit of 319999 bytes"):
        decompress(codec, compress(codec, TEXT), bytes_max=len(TEXT) - 1)


@CODECS
def test_cut_short_and_trailing_bytes(codec: int) -> None:
    block = bytes(compress(codec, NOISE))
    for bad in (block[:-1], block[: len(block) // 2], block + b"garbage!", b"\xff" * 40):
        with pytest.raises(BatchCompressionError):
            decompress(codec, bad, bytes_max=10**6)


@CODECS
@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_only_the_documented_error(codec: int, data: bytes) -> None:
    start = XERIAL if codec == 2 and data[:1] > b"\x80" else b""
    with contextlib.suppress(BatchCompressionError):
        decompress(codec, start + data, bytes_max=1000)


@pytest.mark.parametrize("codec", [0, 5, 6, 7])
def test_a_code_without_codec(codec: int) -> None:
    with pytest.raises(BatchCompressionError, match=f"unknown compression code {codec}"):
        decompress(codec, b"", bytes_max=10)


def test_snappy_reads_one_raw_block() -> None:
    assert decompress(2, bytes(cramjam.snappy.compress_raw(TEXT)), bytes_max=10**6) == TEXT


def test_snappy_ignores_the_byte_order_of_xerial_versions() -> None:
    block = bytes(compress(2, TEXT))
    assert block.startswith(XERIAL)
    swapped = XERIAL[:8] + struct.pack("<ii", 1, 1) + block[16:]
    assert decompress(2, swapped, bytes_max=10**6) == TEXT


@pytest.mark.parametrize("length", [-1, 0, 2**31 - 1])
def test_snappy_block_length_that_does_not_fit(length: int) -> None:
    with pytest.raises(BatchCompressionError):
        decompress(2, XERIAL + struct.pack(">i", length) + b"abc", bytes_max=100)


def test_lz4_frame_has_what_java_demands() -> None:
    """Independent blocks (bit 5), version 1, 64 KiB blocks; a noisy block is stored as it is."""
    for data in (TEXT, NOISE):
        block = bytes(compress(3, data))
        assert block[:7].hex() == "04224d18604082"
        assert bytes(cramjam.lz4.decompress(block)) == data
    (length,) = struct.unpack_from("<I", compress(3, NOISE), 7)
    assert length == 64 * 1024 | 0x8000_0000


def test_lz4_reads_linked_blocks() -> None:
    """What cramjam's and librdkafka's frame writers make."""
    block = bytes(cramjam.lz4.compress(TEXT))
    assert block[4] & 0x20 == 0
    assert decompress(3, block, bytes_max=10**6) == TEXT


_BOMB = """
import sys
from logstore.errors import BatchCompressionError
from logstore.record.compression import compress, decompress

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1])

codec = int(sys.argv[1])
if codec == 2:
    bomb = bytes.fromhex("ffffffff0e") + bytes(60)  # a raw block that says 3.9 GB
else:
    bomb = bytes(compress(codec, bytes(256 << 20)))
with open("/proc/self/clear_refs", "w") as refs:
    refs.write("5")  # the peak starts anew
before = peak()
try:
    decompress(codec, bomb, bytes_max=1 << 20)
except BatchCompressionError:
    print(peak() - before)
"""


@CODECS
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_bomb_takes_no_memory_beyond_the_limit(codec: int) -> None:
    """256 MiB in a small block against a limit of 1 MiB, in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", _BOMB, str(codec)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(result.stdout) < 16 * 1024  # KiB: the limit, and the codec's own window
