"""Invariant: a key of the offsets topic is read, passed over or corrupt; what is read makes it."""

from __future__ import annotations

from logstore.errors import CorruptDataError
from logstore.group.offset_records import (
    ClassicGroupKey,
    GroupKey,
    OffsetKey,
    decode_key,
    encode_key,
)
from tests.fuzz.target import Target, promised, require


def seeds() -> list[bytes]:
    keys = (
        OffsetKey("group", "topic", 3),
        OffsetKey("g-\N{LATIN SMALL LETTER U WITH DIAERESIS}", "t", 2**31 - 1),
        GroupKey("group"),
        ClassicGroupKey(""),
    )
    return [*(encode_key(key) for key in keys), b"\0\x04\0\1g", b"\0\0" + encode_key(keys[0])[2:]]


def check(data: bytes) -> object:
    key = decode_key(data)
    if key is None:
        return None
    with promised:
        again = encode_key(key)
    # Version 0 of a commit's key is read as 1, with which it shares the layout.
    require(again[2:] == data[2:], "an encoder that makes what was read")
    require(decode_key(again) == key, "a round trip")
    return type(key)


TARGET = Target("offset_keys", seeds, check, (CorruptDataError,))
