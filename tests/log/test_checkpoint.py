from __future__ import annotations

import uuid

import pytest

from logstore.errors import CorruptDataError
from logstore.log.checkpoint import (
    LeaderEpochs,
    check_identity,
    read_cleaned_offset,
    read_log_start,
    write_cleaned_offset,
    write_identity,
    write_log_start,
)
from logstore.log.format import CLEANED_FILE
from logstore.testing import MemoryFileSystem


def files(name: str = "", content: bytes = b"") -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.make_directory("d")
    if name:
        fs.open(f"d/{name}", create=True).write([content], 0)
    return fs


def test_epochs_are_written_and_read_in_kafkas_text() -> None:
    fs = files()
    epochs = LeaderEpochs(((0, 0),)).with_next(10).with_next(25)
    epochs.write(fs, "d")
    file = fs.open("d/leader-epoch-checkpoint")
    assert file.read(100, 0) == b"0\n3\n0 0\n1 10\n2 25\n"
    again = LeaderEpochs.read(fs, "d")
    assert again is not None
    assert again.entries == epochs.entries


def test_an_epoch_without_records_is_dropped() -> None:
    assert LeaderEpochs(((0, 0),)).with_next(10).with_next(10).entries == ((0, 0), (2, 10))


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, (0, 10)), (1, (0, 10)), (2, (2, 25)), (3, (3, 40)), (4, (-1, -1)), (-1, (-1, -1))],
)
def test_the_end_of_an_epoch(epoch: int, expected: tuple[int, int]) -> None:
    epochs = LeaderEpochs(((0, 0), (2, 10), (3, 25)))
    assert epochs.end_offset(epoch, 40) == expected


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0\n",
        b"0\n2\n0 0\n",
        b"1\n1\n0 0\n",
        b"0\n1\nx 0\n",
        b"0\n2\n1 5\n0 9\n",
        b"\xff" * 9,
        b"0\n1\n-1 0\n",
        b"0\n1\n0 -1\n",
        b"0\n1\n0 9223372036854775808\n",  # no int64
        b"0\n1\n2147483647 0\n",  # the next one would not fit into a batch
    ],
)
def test_a_damaged_epoch_file_is_none(content: bytes) -> None:
    assert LeaderEpochs.read(files("leader-epoch-checkpoint", content), "d") is None


def test_the_log_start_is_durable_and_checked() -> None:
    fs = files()
    assert read_log_start(fs, "d") == 0
    write_log_start(fs, "d", topic="a b", partition=3, offset=1204)
    fs.sync_directory("")
    fs.power_loss()
    assert read_log_start(fs, "d") == 1204
    with pytest.raises(CorruptDataError):
        read_log_start(files("log-start-offset-checkpoint", b"0\n1\n"), "d")


@pytest.mark.parametrize("offset", [b"-1", b"9223372036854775808", b"", b"x"])
def test_a_log_start_that_is_no_offset_is_corrupt(offset: bytes) -> None:
    with pytest.raises(CorruptDataError):
        read_log_start(files("log-start-offset-checkpoint", b"0\n1\nt 0 " + offset + b"\n"), "d")


@pytest.mark.parametrize("stranger", [b"!", b"=", b"\xff"])
def test_an_identity_with_strange_characters_is_damaged(stranger: bytes) -> None:
    topic_id = uuid.UUID(int=7)
    fs = files()
    write_identity(fs, "d", topic_id)
    check_identity(fs, "d", topic_id)
    file = fs.open("d/partition.metadata")
    text = file.read(100, 0)
    file.write([text[:-8] + stranger + text[-8:]], 0)
    with pytest.raises(CorruptDataError):
        check_identity(fs, "d", topic_id)


def test_the_cleaned_offset_is_right_or_zero_whatever_bit_is_flipped() -> None:
    fs = MemoryFileSystem()
    fs.make_directory("d")
    assert read_cleaned_offset(fs, "d") == 0
    write_cleaned_offset(fs, "d", topic="t", partition=3, offset=1204)
    fs.power_loss()
    assert read_cleaned_offset(fs, "d") == 1204
    file = fs.open(f"d/{CLEANED_FILE}")
    content = file.read(100, 0)
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write([damaged], 0)
        assert read_cleaned_offset(fs, "d") == 0
    for size in range(len(content)):
        file.write([content], 0)
        file.truncate(size)
        assert read_cleaned_offset(fs, "d") == 0
