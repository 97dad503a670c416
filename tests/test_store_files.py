from __future__ import annotations

import uuid
from pathlib import Path

import crc32c
import pytest

from logstore.errors import StoreFormatError, StoreLockedError
from logstore.fs import RealFileSystem
from logstore.store_files import (
    Meta,
    create_or_read_meta,
    kafka_uuid,
    parse_kafka_uuid,
    parse_partition_directory,
    read_meta,
    retired_directory,
    take_lock,
)

FS = RealFileSystem()


def test_meta_is_made_once_and_read_again(tmp_path: Path) -> None:
    first = create_or_read_meta(FS, str(tmp_path), uuid.UUID(int=1))
    again = create_or_read_meta(FS, str(tmp_path), uuid.UUID(int=2))
    assert again == first == read_meta(FS, str(tmp_path))
    assert parse_kafka_uuid(first.cluster_id) == uuid.UUID(int=1)


def test_a_directory_with_other_files_is_not_adopted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreFormatError, match=r"thesis\.txt"):
        create_or_read_meta(FS, str(tmp_path), uuid.UUID(int=1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_directory_without_meta_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreFormatError, match="no meta file"):
        read_meta(FS, str(tmp_path))


@pytest.mark.parametrize(
    "newer",
    [
        Meta("c", 1, format_version=2),
        Meta("c", 1, incompatible_features=1),
    ],
)
def test_a_newer_store_is_refused_untouched(tmp_path: Path, newer: Meta) -> None:
    (tmp_path / "meta").write_bytes(newer.encode())
    with pytest.raises(StoreFormatError, match="newer logstore"):
        create_or_read_meta(FS, str(tmp_path), uuid.UUID(int=1))
    assert (tmp_path / "meta").read_bytes() == newer.encode()


def test_a_feature_that_may_be_ignored_is() -> None:
    assert Meta.decode(Meta("c", 1, compatible_features=8).encode(), "meta").node_id == 1


def test_every_flipped_bit_of_meta_is_noticed() -> None:
    good = Meta("a cluster", 1).encode()
    for position in range(len(good) * 8):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << position % 8
        with pytest.raises(StoreFormatError):
            Meta.decode(bytes(bad), "meta")


def test_every_truncation_of_meta_is_noticed() -> None:
    good = Meta("a cluster", 1).encode()
    for length in range(len(good)):
        with pytest.raises(StoreFormatError):
            Meta.decode(good[:length], "meta")


@pytest.mark.parametrize(
    "change",
    [
        (b"node_id=1", b"node_id"),
        (b"node_id=1", b"node_id=one"),
        (b"a cluster", b"\xff"),
        (b"format_version=1", b"format_version=0"),
    ],
)
def test_a_sealed_meta_that_makes_no_sense_is_damaged(change: tuple[bytes, bytes]) -> None:
    body = Meta("a cluster", 1).encode().rpartition(b"crc32c=")[0].replace(*change)
    with pytest.raises(StoreFormatError, match="damaged"):
        Meta.decode(body + f"crc32c={crc32c.crc32c(body):08x}\n".encode(), "meta")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    lock = take_lock(FS, str(tmp_path))
    with pytest.raises(StoreLockedError, match="another process"):
        take_lock(FS, str(tmp_path))
    lock.release()
    take_lock(FS, str(tmp_path)).release()


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("orders-0", ("orders", 0)),
        ("a-b-12", ("a-b", 12)),
        ("orders-01", None),
        ("orders-", None),
        ("-1", None),
        ("orders", None),
        ("orders-0.00000000000000000000000000000007-delete", None),
        ("orders-\u0661", None),
    ],
)
def test_partition_directory_names(name: str, parsed: tuple[str, int] | None) -> None:
    assert parse_partition_directory(name) == parsed


def test_a_retired_name_fits_in_a_directory() -> None:
    name = retired_directory("a" * 249 + "-99999", "0" * 32, "-delete")
    assert len(name) == 255
    assert name.endswith("." + "0" * 32 + "-delete")


def test_uuid_text_is_kafkas() -> None:
    assert kafka_uuid(uuid.UUID(int=1)) == "AAAAAAAAAAAAAAAAAAAAAQ"
    with pytest.raises(ValueError, match="base64"):
        parse_kafka_uuid("A")
