"""What the store knows about topics and producer ids: an internal log of typed records.

The log is partition 0 of `__cluster_metadata` (Kafka's name and topic id for it), in the format
of every other log, always synced before it is believed. A record's key names what it is about,
its value is JSON with a version; the newest record of a key counts, a null value removes it:

    topic/<name>      {"v": 1, "id": "<uuid>", "partitions": 6, "configs": {"retention_ms": "1"}}
    producer-ids      {"v": 1, "next": 2000}        ids below are given away
    user/... acl/... quota/...                      see access/records.py

Invariants: a topic id is never used twice; `partitions` never falls; a topic's directories are
on disk before its record is.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from logstore.access import AccessState, is_access_key
from logstore.errors import (
    CorruptDataError,
    InvalidPartitionCountError,
    InvalidTopicNameError,
    UnknownTopicError,
)

CATALOG_TOPIC = "__cluster_metadata"
CATALOG_TOPIC_ID = uuid.UUID(int=1)  # Kafka's
OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"
INTERNAL_TOPICS = frozenset(
    {CATALOG_TOPIC, OFFSETS_TOPIC, TRANSACTIONS_TOPIC, "__share_group_state"}
)
COMPACTED_TOPICS = frozenset({OFFSETS_TOPIC, TRANSACTIONS_TOPIC})
TOPIC_NAME_LENGTH_MAX = 249  # Kafka's: the directory "<name>-<partition>" fits in 255 bytes
PARTITIONS_PER_TOPIC_MAX = 10_000
PRODUCER_ID_MAX = (1 << 63) - 1
PRODUCER_ID_BLOCK = 1000  # one synced record for so many ids
RECORD_VERSION = 1

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]+")
_TOPIC_PREFIX = b"topic/"
_PRODUCER_IDS = b"producer-ids"


@dataclass(frozen=True, slots=True)
class Topic:
    name: str
    topic_id: uuid.UUID
    partitions: int
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def internal(self) -> bool:
        return self.name in INTERNAL_TOPICS


@dataclass(frozen=True, slots=True)
class CatalogState:
    """A snapshot; `apply` makes the next one."""

    topics: Mapping[str, Topic] = field(default_factory=dict)
    next_producer_id: int = 0
    access: AccessState = field(default_factory=AccessState)

    def topic(self, name: str) -> Topic:
        try:
            return self.topics[name]
        except KeyError:
            raise UnknownTopicError(f"there is no topic {name!r}", topic=name) from None

    def apply(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> CatalogState:
        """The state after these records. Raises CorruptDataError for one it cannot read."""
        topics = dict(self.topics)
        next_producer_id = self.next_producer_id
        access = self.access
        for key, value in records:
            try:
                if key is not None and key.startswith(_TOPIC_PREFIX):
                    _apply_topic(topics, key[len(_TOPIC_PREFIX) :].decode("ascii"), value)
                elif key == _PRODUCER_IDS and value is not None:
                    next_producer_id = _whole(_body(value)["next"], 0, PRODUCER_ID_MAX)
                elif key is not None and is_access_key(key):
                    access = access.apply(key, value)
                else:
                    raise ValueError("no known type")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise CorruptDataError(
                    f"catalog record {key!r} cannot be read: {error!r}"
                ) from error
        return CatalogState(topics, next_producer_id, access)


def internal_config(name: str) -> Mapping[str, str]:
    """The overrides of a topic of logstore's own. They are not taken from its record, so that what
    they are now holds in stores that were made before."""
    config = {"durability": "fsync", "segment_bytes": str(64 << 20)}
    return config | {"cleanup_policy": "compact"} if name in COMPACTED_TOPICS else config


def _apply_topic(topics: dict[str, Topic], name: str, value: bytes | None) -> None:
    if value is None:
        topics.pop(name, None)
        return
    problem = _name_problem(name)
    if problem is not None:  # names become directories
        raise ValueError(problem)
    body = _body(value)
    overrides = {str(k): str(v) for k, v in body["configs"].items()}
    topics[name] = Topic(
        name=name,
        topic_id=uuid.UUID(body["id"]),
        partitions=_whole(body["partitions"], 1, PARTITIONS_PER_TOPIC_MAX),
        overrides=internal_config(name) if name in INTERNAL_TOPICS else overrides,
    )


def _body(value: bytes) -> dict[str, Any]:
    body = json.loads(value)
    if body["v"] != RECORD_VERSION:
        raise ValueError(f"record version {body['v']}, this logstore reads {RECORD_VERSION}")
    return dict(body)


def _whole(number: object, minimum: int, maximum: int) -> int:
    if type(number) is not int or not minimum <= number <= maximum:
        raise ValueError(f"{number!r} is not a whole number from {minimum} to {maximum}")
    return number


def topic_record(topic: Topic) -> tuple[bytes, bytes]:
    body = {
        "v": RECORD_VERSION,
        "id": str(topic.topic_id),
        "partitions": topic.partitions,
        "configs": dict(topic.overrides),
    }
    return _TOPIC_PREFIX + topic.name.encode("ascii"), json.dumps(body).encode()


def topic_removed_record(name: str) -> tuple[bytes, None]:
    return _TOPIC_PREFIX + name.encode("ascii"), None


def producer_ids_record(next_producer_id: int) -> tuple[bytes, bytes]:
    return _PRODUCER_IDS, json.dumps({"v": RECORD_VERSION, "next": next_producer_id}).encode()


def check_topic_name(name: str) -> None:
    """Kafka's rule: 1 to 249 of [A-Za-z0-9._-], and neither "." nor ".."."""
    problem = _name_problem(name)
    if problem is None and name in INTERNAL_TOPICS:
        problem = "it belongs to logstore itself"
    if problem is not None:
        raise InvalidTopicNameError(f"topic name {name!r} is not valid: {problem}", topic=name)


def _name_problem(name: str) -> str | None:
    if not name:
        return "it is empty"
    if len(name) > TOPIC_NAME_LENGTH_MAX:
        return f"it has {len(name)} characters, the limit is {TOPIC_NAME_LENGTH_MAX}"
    if name in (".", ".."):
        return "'.' and '..' are directories"
    if not _TOPIC_NAME.fullmatch(name):
        return "it may hold ASCII letters, digits, '.', '_' and '-' only"
    return None


def check_partition_count(count: int, *, minimum: int, room: int) -> None:
    """`minimum`: what the topic has already, plus one; `room`: how many the store may hold yet."""
    maximum = min(PARTITIONS_PER_TOPIC_MAX, minimum - 1 + room)
    if not minimum <= count <= maximum:
        raise InvalidPartitionCountError(
            f"{count} partitions is not valid: it takes a whole number from {minimum} to {maximum}",
            partitions=count,
        )
