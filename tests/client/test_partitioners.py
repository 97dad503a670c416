from __future__ import annotations

import warnings
import zlib

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.client.partitioners import find_hash, murmur2, murmur3
from logstore.config import TOPIC_CONFIGS
from logstore.errors import InvalidConfigError

with warnings.catch_warnings():  # kafka-python reads its schemas in a way that Python deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.partitioner.default import murmur2 as kafka_murmur2


@given(st.binary(max_size=200))
def test_murmur2_is_kafkas(key: bytes) -> None:
    assert murmur2(key) == kafka_murmur2(key) & 0x7FFFFFFF


@given(st.binary(max_size=200))
def test_murmur3_is_mmh3_without_its_sign(key: bytes) -> None:
    assert murmur3(key) == mmh3.hash(key, 0, signed=True) & 0x7FFFFFFF


@given(st.binary(max_size=200))
def test_crc32_is_zlibs(key: bytes) -> None:
    assert find_hash("crc32")(key) == zlib.crc32(key)


# Kafka's own: UtilsTest.testMurmur2
@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_of_known_keys(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0x7FFFFFFF


@pytest.mark.parametrize(
    ("key", "unsigned"),
    [(b"", 0), (b"test", 0xBA6BD213), (b"Hello, world!", 0xC0363E43)],
)
def test_murmur3_of_known_keys(key: bytes, unsigned: int) -> None:
    assert murmur3(key) == unsigned & 0x7FFFFFFF


def test_crc32_of_the_standards_check_value() -> None:
    assert find_hash("crc32")(b"123456789") == 0xCBF43926


def test_every_partitioner_a_topic_may_have_is_known() -> None:
    choices = TOPIC_CONFIGS["partitioner"].choices
    assert choices[0] == "murmur3"
    for name in choices:
        assert find_hash(name)(b"key") >= 0


def test_an_unknown_partitioner_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfigError, match=r"'sha1'.*crc32, murmur2, murmur3"):
        find_hash("sha1")
