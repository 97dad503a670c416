"""Invariant: a value of the offsets topic is read or corrupt; what is read makes a round trip."""

from __future__ import annotations

import struct
import uuid

from logstore.errors import CorruptDataError
from logstore.group.offset_records import (
    ClassicGroupValue,
    OffsetValue,
    decode_classic_group,
    decode_group_epoch,
    decode_offset,
    encode_classic_group,
    encode_group_epoch,
    encode_offset,
)
from tests.fuzz.target import Target, promised, require


def seeds() -> list[bytes]:
    """One byte says which decoder is asked."""
    topic_id = uuid.UUID(int=7)
    text = struct.pack(">h", 4) + b"meta"
    old = b"".join((struct.pack(">hq", 1, 5), text, struct.pack(">qq", 1000, 2000)))
    third = b"".join((struct.pack(">hqi", 3, 5, 2), text, struct.pack(">q", 1000)))
    member = b"".join(
        struct.pack(">h", len(part)) + part for part in (b"m", b"i", b"client", b"host")
    )
    member += struct.pack(">ii", 1, 2) + struct.pack(">i", 2) + b"su" + struct.pack(">i", 1) + b"a"
    foreign = encode_classic_group(ClassicGroupValue("consumer", 4), 1000)[:-4]
    return [
        b"\0" + encode_offset(OffsetValue(5, 2, "meta", 1000, topic_id)),
        b"\0" + encode_offset(OffsetValue(2**63 - 1, -1, "m" * 200, -1, topic_id)),
        b"\0" + old,
        b"\0" + third,
        b"\1" + encode_group_epoch(7),
        b"\2" + encode_classic_group(ClassicGroupValue("consumer", 4), 1000),
        b"\2" + foreign + struct.pack(">i", 2) + member * 2,
    ]


def check(data: bytes) -> object:
    if not data:
        return None
    kind, value = data[0] % 3, data[1:]
    if kind == 0:
        offset = decode_offset(value)
        with promised:
            require(decode_offset(encode_offset(offset)) == offset, "offset: a round trip")
        return kind, value[1]
    if kind == 1:
        epoch = decode_group_epoch(value)
        with promised:
            require(decode_group_epoch(encode_group_epoch(epoch)) == epoch, "epoch: a round trip")
        return kind
    group = decode_classic_group(value)
    with promised:
        again = encode_classic_group(group, 1000)
        require(decode_classic_group(again) == group, "classic group: a round trip")
    return kind, value[1]


TARGET = Target("offset_values", seeds, check, (CorruptDataError,))
