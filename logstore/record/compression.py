"""The five codecs of a record batch, on whole blocks, with a limit on what comes out.

Written so that the Java client, librdkafka, kafka-python and aiokafka read it:
- gzip: one RFC 1952 member.
- snappy: xerial framing in blocks of 32 KiB (what Java writes). Read: that, or one raw block.
- lz4: one frame of independent 64 KiB blocks without content checksum. Java refuses linked blocks,
  which is what cramjam's own frame writer makes, so the frame is laid out here.
- zstd: one frame.

Decompression never hands a codec more room than the limit; the codec stops when the room is used
up. Room starts at a guess and grows, so a small batch under a large limit costs little memory.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

import cramjam

from logstore.errors import BatchCompressionError, InvalidRequestError

CODEC_NONE: Final = 0
CODEC_GZIP: Final = 1
CODEC_SNAPPY: Final = 2
CODEC_LZ4: Final = 3
CODEC_ZSTD: Final = 4
CODEC_NAMES: Final = ("none", "gzip", "snappy", "lz4", "zstd")

Block: TypeAlias = bytes | bytearray | memoryview

_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)  # version, oldest reader
_XERIAL_BLOCK_BYTES: Final = 32 * 1024  # the Java library's default
_XERIAL_LENGTH: Final = struct.Struct(">i")

# magic; flags: version 1, independent blocks; block size 64 KiB; xxh32 of those two, second byte
_LZ4_HEADER: Final = bytes.fromhex("04224d18 60 40 82")
_LZ4_BLOCK_BYTES: Final = 64 * 1024
_LZ4_STORED: Final = 0x8000_0000  # top bit of a block's length: the block is not compressed
_LZ4_LENGTH: Final = struct.Struct("<I")
_LZ4_END: Final = bytes(4)

_GUESSED_RATIO: Final = 4  # first guess of output per input; also how fast the room grows
_ROOM_BYTES_MIN: Final = 4096
_ROOM_USED_UP: Final = "failed to write whole buffer"  # std::io::WriteZero, as cramjam reports it


def codec_code(name: str) -> int:
    """The attribute bits of a codec name; raises InvalidRequestError for another name."""
    try:
        return CODEC_NAMES.index(name)
    except ValueError:
        raise InvalidRequestError(
            f"unknown compression {name!r}; known are {', '.join(CODEC_NAMES)}", compression=name
        ) from None


def compress(codec: int, data: Block, level: int | None = None) -> Block:
    """`data` as one block of `codec` (a code, not CODEC_NONE).

    `level` is gzip's (1 to 9) or zstd's (-131072 to 22); None is the codec's own choice. The other
    codecs have one level.
    """
    if codec == CODEC_GZIP:
        return memoryview(cramjam.gzip.compress(data, level=level))
    if codec == CODEC_SNAPPY:
        return _compress_xerial(memoryview(data))
    if codec == CODEC_LZ4:
        return _compress_lz4(memoryview(data))
    return memoryview(cramjam.zstd.compress(data, level=level))


def decompress(codec: int, data: Block, *, bytes_max: int) -> Block:
    """The content of one block of `codec`.

    Raises BatchCompressionError for an unknown code, undecodable or trailing bytes, and content
    over `bytes_max`; no more than `bytes_max` is ever allocated for it.
    """
    if codec == CODEC_SNAPPY:
        return _decompress_snappy(memoryview(data), bytes_max)
    if codec == CODEC_GZIP:
        decompress_into = cramjam.gzip.decompress_into
    elif codec == CODEC_LZ4:
        decompress_into = cramjam.lz4.decompress_into
    elif codec == CODEC_ZSTD:
        decompress_into = cramjam.zstd.decompress_into
    else:
        raise BatchCompressionError(f"unknown compression code {codec}", compression=codec)
    room = min(bytes_max, max(_ROOM_BYTES_MIN, len(data) * _GUESSED_RATIO))
    while True:
        output = bytearray(room)
        try:
            size = decompress_into(data, output)
        except cramjam.DecompressionError as error:
            if str(error) != _ROOM_USED_UP:
                raise _undecodable(codec, error) from None
            if room >= bytes_max:
                raise _over_limit(codec, bytes_max) from None
            room = min(bytes_max, room * _GUESSED_RATIO)
        else:
            return memoryview(output)[:size]


def _compress_xerial(data: memoryview) -> bytes:
    parts: list[Block] = [_XERIAL_HEADER]
    for start in range(0, len(data), _XERIAL_BLOCK_BYTES):
        block = memoryview(cramjam.snappy.compress_raw(data[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (_XERIAL_LENGTH.pack(len(block)), block)
    return b"".join(parts)


def _compress_lz4(data: memoryview) -> bytes:
    parts: list[Block] = [_LZ4_HEADER]
    for start in range(0, len(data), _LZ4_BLOCK_BYTES):
        plain = data[start : start + _LZ4_BLOCK_BYTES]
        block = memoryview(cramjam.lz4.compress_block(plain, store_size=False))
        if len(block) < len(plain):
            parts += (_LZ4_LENGTH.pack(len(block)), block)
        else:
            parts += (_LZ4_LENGTH.pack(len(plain) | _LZ4_STORED), plain)
    parts.append(_LZ4_END)
    return b"".join(parts)


def _decompress_snappy(data: memoryview, bytes_max: int) -> Block:
    blocks = _xerial_blocks(data) if bytes(data[: len(_XERIAL_MAGIC)]) == _XERIAL_MAGIC else [data]
    try:
        sizes = [cramjam.snappy.decompress_raw_len(block) for block in blocks]
        if sum(sizes) > bytes_max:
            raise _over_limit(CODEC_SNAPPY, bytes_max)
        output = bytearray(sum(sizes))
        room = memoryview(output)
        for block, size in zip(blocks, sizes, strict=True):
            if cramjam.snappy.decompress_raw_into(block, room[:size]) != size:
                raise _undecodable(CODEC_SNAPPY, "a block is shorter than it says")
            room = room[size:]
    except cramjam.DecompressionError as error:
        raise _undecodable(CODEC_SNAPPY, error) from None
    return output


def _xerial_blocks(data: memoryview) -> list[memoryview]:
    blocks: list[memoryview] = []
    position = len(_XERIAL_HEADER)  # versions are not compared: some writers swap their bytes
    while position < len(data):
        start = position + _XERIAL_LENGTH.size
        if start > len(data):
            raise _undecodable(CODEC_SNAPPY, "a block's length is cut short")
        (length,) = _XERIAL_LENGTH.unpack_from(data, position)
        position = start + length
        if length <= 0 or position > len(data):
            raise _undecodable(CODEC_SNAPPY, f"a block of {length} bytes does not fit")
        blocks.append(data[start:position])
    return blocks


def _undecodable(codec: int, why: object) -> BatchCompressionError:
    name = CODEC_NAMES[codec]
    return BatchCompressionError(f"the batch's {name} data cannot be read: {why}", compression=name)


def _over_limit(codec: int, bytes_max: int) -> BatchCompressionError:
    name = CODEC_NAMES[codec]
    return BatchCompressionError(
        f"the batch's {name} data holds more than the limit of {bytes_max} bytes",
        compression=name,
        decompressed_bytes_max=bytes_max,
    )
