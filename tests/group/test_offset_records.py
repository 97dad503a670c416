"""Records of __consumer_offsets: bytes written by hand from Kafka's schemas, and bad bytes."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logstore.errors import CorruptDataError
from logstore.group.offset_records import (
    NO_TOPIC_ID,
    ClassicGroupKey,
    ClassicGroupValue,
    GroupKey,
    OffsetKey,
    OffsetValue,
    decode_classic_group,
    decode_group_epoch,
    decode_key,
    decode_offset,
    encode_classic_group,
    encode_group_epoch,
    encode_key,
    encode_offset,
)

# OffsetCommitKey: int16 type 1, string group, string topic, int32 partition.
OFFSET_KEY = bytes.fromhex("00010002 67310006 6f726465727300000007")
# ConsumerGroupMetadataKey: int16 type 3, string group.
GROUP_KEY = bytes.fromhex("00030002 6731")

OFFSET, EPOCH, METADATA, TIMESTAMP = (
    "000000000000002a",
    "00000005",
    "0003 6d6574",
    "0000018bcfe56800",
)
# OffsetCommitValue: version, offset, [leader epoch,] metadata, commit timestamp[, expiry].
VALUES_READ = {
    0: bytes.fromhex("0000" + OFFSET + METADATA + TIMESTAMP),
    1: bytes.fromhex("0001" + OFFSET + METADATA + TIMESTAMP + "7fffffffffffffff"),
    2: bytes.fromhex("0002" + OFFSET + METADATA + TIMESTAMP),
    3: bytes.fromhex("0003" + OFFSET + EPOCH + METADATA + TIMESTAMP),
}
TOPIC_ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
# Version 4 is flexible: a compact string, then tagged fields of which tag 0 is the topic id.
OFFSET_VALUE = bytes.fromhex(
    "0004" + OFFSET + EPOCH + "04 6d6574" + TIMESTAMP + "01 00 10 00112233445566778899aabbccddeeff"
)
OFFSET_VALUE_PLAIN = bytes.fromhex("0004" + OFFSET + EPOCH + "04 6d6574" + TIMESTAMP + "00")
# A field of a later version (tag 5, three bytes) before the topic id.
OFFSET_VALUE_LATER = bytes.fromhex(
    "0004" + OFFSET + EPOCH + "04 6d6574" + TIMESTAMP + "02 05 03 010203"
    "00 10 00112233445566778899aabbccddeeff"
)
# ConsumerGroupMetadataValue: version 0, int32 epoch, no tagged fields; one with a metadata hash.
GROUP_VALUE = bytes.fromhex("00000000000900")
GROUP_VALUE_LATER = bytes.fromhex("00000000000901 00 08 0102030405060708")
# GroupMetadataKey: int16 type 2, string group.
CLASSIC_KEY = bytes.fromhex("00020002 6731")
# GroupMetadataValue 3: protocol type "consumer", generation 9, no protocol, no leader, timestamp,
# no members.
CONSUMER = "0008 636f6e73756d6572"
CLASSIC_VALUE = bytes.fromhex("0003" + CONSUMER + "00000009 ffff ffff 0000018bcfe56800 00000000")
# As Kafka writes them: protocol "r", leader "m", one member "m" (its instance id "i" in version 3,
# client "c", host "h", [rebalance and] session timeout) with two bytes each of subscription and
# assignment.
CLASSIC_HEAD = CONSUMER + "00000009 0001 72 0001 6d"
CLASSIC_TAIL = "0001 63 0001 68 {} 00000002 abcd 00000002 ef01"
CLASSIC_READ = {
    0: "0000" + CLASSIC_HEAD + "00000001 0001 6d" + CLASSIC_TAIL.format("00002710"),
    1: "0001" + CLASSIC_HEAD + "00000001 0001 6d" + CLASSIC_TAIL.format("00007530 00002710"),
    2: "0002"
    + CLASSIC_HEAD
    + "0000018bcfe56800 00000001 0001 6d"
    + CLASSIC_TAIL.format("00007530 00002710"),
    3: "0003"
    + CLASSIC_HEAD
    + "0000018bcfe56800 00000001 0001 6d 0001 69"
    + CLASSIC_TAIL.format("00007530 00002710"),
}

VALUE = OffsetValue(42, 5, "met", 1_700_000_000_000, TOPIC_ID)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
values = st.builds(OffsetValue, int64, int32, texts, int64, st.uuids())
keys = st.one_of(
    st.builds(OffsetKey, texts, texts, int32),
    st.builds(GroupKey, texts),
    st.builds(ClassicGroupKey, texts),
)


def test_keys_have_kafkas_bytes():
    assert encode_key(OffsetKey("g1", "orders", 7)) == OFFSET_KEY
    assert decode_key(OFFSET_KEY) == OffsetKey("g1", "orders", 7)
    assert encode_key(GroupKey("g1")) == GROUP_KEY
    assert decode_key(GROUP_KEY) == GroupKey("g1")
    assert encode_key(ClassicGroupKey("g1")) == CLASSIC_KEY
    assert decode_key(CLASSIC_KEY) == ClassicGroupKey("g1")


def test_a_key_of_the_first_version_is_read():
    assert decode_key(b"\x00\x00" + OFFSET_KEY[2:]) == OffsetKey("g1", "orders", 7)


@pytest.mark.parametrize("kind", [4, 5, 8, 15, 0x7FFF, -1])
def test_keys_of_other_types_are_passed_over(kind):
    assert decode_key(kind.to_bytes(2, "big", signed=True) + b"\x00\x02g1") is None


@pytest.mark.parametrize("version", VALUES_READ)
def test_offsets_of_earlier_versions_are_read(version):
    epoch = 5 if version == 3 else -1
    expected = OffsetValue(42, epoch, "met", 1_700_000_000_000, NO_TOPIC_ID)
    assert decode_offset(VALUES_READ[version]) == expected


def test_offsets_are_written_in_version_4_with_the_topic_id():
    assert encode_offset(VALUE) == OFFSET_VALUE
    assert decode_offset(OFFSET_VALUE) == VALUE


def test_an_offset_of_a_foreign_writer_may_have_other_tagged_fields():
    assert decode_offset(OFFSET_VALUE_PLAIN).topic_id == NO_TOPIC_ID
    assert decode_offset(OFFSET_VALUE_LATER) == VALUE


def test_group_epochs_have_kafkas_bytes():
    assert encode_group_epoch(9) == GROUP_VALUE
    assert decode_group_epoch(GROUP_VALUE) == 9
    assert decode_group_epoch(GROUP_VALUE_LATER) == 9


def test_classic_groups_are_written_as_empty_ones():
    value = ClassicGroupValue("consumer", 9)
    assert encode_classic_group(value, 1_700_000_000_000) == CLASSIC_VALUE
    assert decode_classic_group(CLASSIC_VALUE) == value


@pytest.mark.parametrize("version", CLASSIC_READ)
def test_classic_groups_with_members_are_read(version):
    data = bytes.fromhex(CLASSIC_READ[version])
    assert decode_classic_group(data) == ClassicGroupValue("consumer", 9)


@given(texts, int32, int64)
def test_classic_groups_come_back(protocol_type, generation, timestamp_ms):
    value = ClassicGroupValue(protocol_type, generation)
    assert decode_classic_group(encode_classic_group(value, timestamp_ms)) == value


@given(keys)
def test_keys_come_back(key):
    assert decode_key(encode_key(key)) == key


@given(values)
@example(OffsetValue(0, 0, "m" * 126, 0, TOPIC_ID))  # the longest metadata of a one-byte length
@example(OffsetValue(0, 0, "m" * 127, 0, TOPIC_ID))
@example(OffsetValue(0, 0, "m" * 16_383, 0, TOPIC_ID))
def test_offsets_come_back(value):
    assert decode_offset(encode_offset(value)) == value


@given(int32)
def test_group_epochs_come_back(epoch):
    assert decode_group_epoch(encode_group_epoch(epoch)) == epoch


WHOLE = [
    *((decode_key, data) for data in (OFFSET_KEY, GROUP_KEY, CLASSIC_KEY)),
    *((decode_offset, data) for data in VALUES_READ.values()),
    *((decode_offset, data) for data in (OFFSET_VALUE, OFFSET_VALUE_PLAIN, OFFSET_VALUE_LATER)),
    *((decode_group_epoch, data) for data in (GROUP_VALUE, GROUP_VALUE_LATER)),
    (decode_classic_group, CLASSIC_VALUE),
    *((decode_classic_group, bytes.fromhex(text)) for text in CLASSIC_READ.values()),
]


@pytest.mark.parametrize(("decode", "data"), WHOLE)
def test_every_cut_is_corrupt(decode, data):
    for length in range(len(data)):
        with pytest.raises(CorruptDataError):
            decode(data[:length])


@pytest.mark.parametrize(("decode", "data"), WHOLE)
def test_bytes_left_over_are_corrupt(decode, data):
    with pytest.raises(CorruptDataError, match="left over") as caught:
        decode(data + b"\x00")
    assert caught.value.details["record"] == (data + b"\x00")[:64].hex()


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (decode_key, bytes.fromhex("0001 ffff")),  # a null group
        (decode_key, bytes.fromhex("0003 0001 ff")),  # no UTF-8
        (decode_offset, bytes.fromhex("0005" + OFFSET + EPOCH + METADATA + TIMESTAMP)),
        (decode_offset, bytes.fromhex("ffff" + OFFSET + METADATA + TIMESTAMP)),
        (decode_offset, bytes.fromhex("0003" + OFFSET + EPOCH + "ffff" + TIMESTAMP)),
        (decode_offset, bytes.fromhex("0004" + OFFSET + EPOCH + "00" + TIMESTAMP + "00")),
        (decode_offset, bytes.fromhex("0004" + OFFSET + EPOCH + "01" + TIMESTAMP + "01 00 01 00")),
        (decode_offset, bytes.fromhex("0004" + OFFSET + EPOCH + "808080808001")),
        (decode_group_epoch, bytes.fromhex("0001 00000009 00")),
        (decode_classic_group, bytes.fromhex("0004" + CLASSIC_READ[3][4:])),
        (decode_classic_group, bytes.fromhex("ffff" + CLASSIC_READ[0][4:])),
        (decode_classic_group, bytes.fromhex("0000" + CONSUMER + "00000009 fffe ffff 00000000")),
        (decode_group_epoch, bytes.fromhex("0000 00000009 ffffffff7f")),
    ],
)
def test_what_no_writer_writes_is_corrupt(decode, data):
    with pytest.raises(CorruptDataError):
        decode(data)


DECODERS = (decode_key, decode_offset, decode_group_epoch, decode_classic_group)


def read_or_corrupt(data: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(CorruptDataError):
            decode(data)


@given(st.integers(-1, 5), st.binary(max_size=80))
def test_garbage_is_read_or_corrupt(version, data):
    read_or_corrupt(data)
    read_or_corrupt(version.to_bytes(2, "big", signed=True) + data)


@pytest.mark.parametrize("data", [data for _, data in WHOLE])
def test_a_changed_byte_is_read_or_corrupt(data):
    for position in range(len(data)):
        for byte in range(256):
            read_or_corrupt(data[:position] + bytes([byte]) + data[position + 1 :])
