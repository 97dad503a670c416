"""Invariant: a directory is a topic's only if partition.metadata says so, or else corrupt."""

from __future__ import annotations

import uuid

from logstore.errors import CorruptDataError
from logstore.log.checkpoint import check_identity, write_identity
from logstore.log.format import IDENTITY_FILE
from tests.fuzz.files import PlainFiles, one_file
from tests.fuzz.target import Target, require

TOPIC_ID = uuid.UUID("9e3779b9-7f4a-4c15-8f39-cc0605cedc83")
PATH = f"t-0/{IDENTITY_FILE}"


def seeds() -> list[bytes]:
    made = []
    for topic_id in (TOPIC_ID, uuid.UUID(int=0)):
        files = PlainFiles({})
        write_identity(files, "t-0", topic_id)
        made.append(bytes(files.files[PATH]))
    return made


def check(data: bytes) -> object:
    check_identity(one_file(PATH, data), "t-0", TOPIC_ID)
    # All 22 characters but the last, of which 4 bits are padding, are in it.
    require(b"njd5uX9KTBWPOcwGBc7cg" in data, "it names the topic")
    return len(data)


TARGET = Target("identity", seeds, check, (CorruptDataError,), bytes_max=256)
