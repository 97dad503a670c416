"""Which partition a record with a key belongs to: a property of its topic, the same everywhere.

murmur3   x86 32-bit, seed 0, without its sign bit, modulo the partitions (logstore's default)
murmur2   Kafka's Java client: seed 0x9747b28c, without its sign bit, modulo
crc32     librdkafka's `consistent`: CRC-32 modulo
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import mmh3

from logstore.errors import InvalidConfigError

Hash = Callable[[bytes], int]

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C


def murmur3(key: bytes) -> int:
    return mmh3.hash(key, 0, False) & 0x7FFFFFFF


def murmur2(key: bytes) -> int:
    length = len(key)
    state = _SEED ^ length
    whole = length & ~3
    for position in range(0, whole, 4):
        word = int.from_bytes(key[position : position + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        state = (state * _M & _MASK) ^ word
    if length & 3:
        state = (state ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    state = (state ^ state >> 13) * _M & _MASK
    return (state ^ state >> 15) & 0x7FFFFFFF


HASHES: dict[str, Hash] = {"murmur3": murmur3, "murmur2": murmur2, "crc32": zlib.crc32}


def find_hash(partitioner: str) -> Hash:
    """Raises InvalidConfigError for one that a newer server may know."""
    found = HASHES.get(partitioner)
    if found is None:
        raise InvalidConfigError(
            f"this client does not know the partitioner {partitioner!r}; it knows "
            f"{', '.join(sorted(HASHES))}"
        )
    return found


def place_keys(hash_key: Hash, keys: Sequence[bytes | None], partitions: int) -> list[int]:
    """The partition of each key; -1 for none. Keys in bulk: murmur3 without a call of ours each."""
    if hash_key is murmur3:
        raw_hash = mmh3.hash
        return [
            -1 if key is None else (raw_hash(key, 0, False) & 0x7FFFFFFF) % partitions
            for key in keys
        ]
    return [-1 if key is None else hash_key(key) % partitions for key in keys]
