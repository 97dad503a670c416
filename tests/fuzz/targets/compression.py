"""Invariant: a block of any codec comes out within the limit or is a BatchCompressionError."""

from __future__ import annotations

from logstore.errors import BatchCompressionError
from logstore.record.compression import compress, decompress
from tests.fuzz.target import Target, promised, require

BYTES_MAX = 1 << 15
CONTENTS = (b"", b"a", b"abc" * 100, bytes(range(256)) * 4, b"\0" * 40_000)


def seeds() -> list[bytes]:
    """The codec's number, then a block; the last content is beyond the limit."""
    packed = [(codec, compress(codec, text)) for codec in (1, 2, 3, 4) for text in CONTENTS]
    raw_snappy = bytes([2, 3, 8]) + b"abc"
    return [raw_snappy, *(bytes([codec]) + bytes(block) for codec, block in packed)]


def check(data: bytes) -> object:
    if not data:
        return None
    codec, block = data[0] % 6, memoryview(data)[1:]
    content = bytes(decompress(codec, block, bytes_max=BYTES_MAX))
    require(len(content) <= BYTES_MAX, "within the limit")
    with promised:
        require(bytes(decompress(codec, block, bytes_max=BYTES_MAX)) == content, "twice the same")
        again = compress(codec, content)
        require(bytes(decompress(codec, again, bytes_max=BYTES_MAX)) == content, "a round trip")
    return codec, min(len(content), 3)


TARGET = Target("compression", seeds, check, (BatchCompressionError,))
