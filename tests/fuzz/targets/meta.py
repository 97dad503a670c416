"""Invariant: a store's meta file is read and made again, or refused as a StoreFormatError."""

from __future__ import annotations

import uuid

import crc32c

from logstore.errors import StoreFormatError
from logstore.store_files import FORMAT_VERSION, INCOMPATIBLE_FEATURES, Meta, kafka_uuid, read_meta
from tests.fuzz.files import one_file
from tests.fuzz.target import Target, promised, require

CHECKSUM_BYTES = len("crc32c=00000000\n")


def seeds() -> list[bytes]:
    cluster_id = kafka_uuid(uuid.UUID(int=7))
    return [
        Meta(cluster_id, 1).encode(),
        Meta(cluster_id, 1, compatible_features=3).encode(),
        Meta(cluster_id, 2**31 - 1, format_version=2).encode(),
        Meta(cluster_id, 1, incompatible_features=1).encode(),
    ]


def repair(data: bytearray) -> None:
    body = data[:-CHECKSUM_BYTES]
    data[:] = body + f"crc32c={crc32c.crc32c(body):08x}\n".encode()


def check(data: bytes) -> object:
    meta = read_meta(one_file("store/meta", data), "store")
    require(1 <= meta.format_version <= FORMAT_VERSION, "a version that can be read")
    require(not meta.incompatible_features & ~INCOMPATIBLE_FEATURES, "features that are known")
    with promised:
        require(Meta.decode(meta.encode(), "meta") == meta, "a round trip")
    return meta.format_version, meta.compatible_features > 0


TARGET = Target("meta", seeds, check, (StoreFormatError,), repair, bytes_max=512)
