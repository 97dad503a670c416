"""Answers that say of everything in a request the same error: the schema says how they look.

    request   topics [ name "a", partitions [ index 0, index 1 ] ]
    answer    topics [ name "a", partitions [ index 0, error 29, offset 0 ...; index 1, ... ] ]

Fields of the answer that the request has too are copied, errors are set, the rest is empty. So one
place answers for an API that is not to be called, in every version of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_args

from logstore_server.kafka.errors import ErrorCode

# A list of the answer -> what it is called in the request, where the names differ.
_SOURCES = {
    "groups": ("groups", "group_ids", "groups_names"),
    "responses": ("topics", "topic_data", "resources", "filters", "entries"),
    "partition_responses": ("partition_data",),
    "partitions": ("partitions", "partition_indexes", "partition_index"),
    "results": ("topics", "resources", "creations", "users", "groups_names", "dirs", "upsertions"),
    "results_by_topic_v3_and_below": ("v3_and_below_topics",),
    "results_by_transaction": ("transactions",),
    "topic_results": ("topics",),
    "results_by_partition": ("partitions",),
    "replica_election_results": ("topic_partitions",),
    "partition_result": ("partitions",),
    "filter_results": ("filters",),
    "transaction_states": ("transactional_ids",),
    "coordinators": ("coordinator_keys",),
    "members": ("members",),
    "entries": ("entries",),
    "entity": ("entity",),
}
# What the one value of an item that is no struct means in the answer's struct.
_KEYS = (
    "partition_index", "partition", "partition_id", "index", "group_id", "key", "name",
    "transactional_id",
)  # fmt: skip
_COPIED_AS = {"topic": ("topic", "name"), "name": ("name", "topic"), "user": ("name",)}
_DEFAULT = object()
_ERROR_MESSAGES = frozenset({"error_message"})


def mirrored(cls: type[Any], source: object, code: ErrorCode, message: str) -> dict[str, Any]:
    """Values of the answer `cls` (one version's, or a struct in it) about `source`, the request or
    an item of it. What is left to the schema's default is not among them."""
    values: dict[str, Any] = {}
    for field in fields(cls):
        value = _value(field, source, code, message)
        if value is not _DEFAULT:
            values[field.name] = value
    return values


def item_class(cls: type[Any], name: str) -> type[Any] | None:
    """The struct in the list `name` of the answer; None: this version has no such list."""
    for field in fields(cls):
        if field.name == name:
            return _struct(field.type)
    return None


def _value(field: Field[Any], source: object, code: ErrorCode, message: str) -> Any:
    if field.metadata.get("kafka_type") == "error_code":
        return code
    if field.name in _ERROR_MESSAGES:
        return message or None
    struct = _struct(field.type)
    if struct is None:
        return _scalar(field, source)
    if "tuple" in str(field.type):
        items = _items(field.name, source)
        return [mirrored(struct, item, code, message) for item in items]
    if field.default is not MISSING:
        return _DEFAULT
    return None if _is_nullable(field) else mirrored(struct, object(), code, message)


def _items(name: str, source: object) -> Iterable[object]:
    for candidate in (name, *_SOURCES.get(name, ())):
        found = getattr(source, candidate, None)
        if isinstance(found, tuple):
            return found
    return ()


def _scalar(field: Field[Any], source: object) -> Any:
    if isinstance(source, int | str):
        if field.name in _KEYS:
            return source
    else:
        for candidate in _COPIED_AS.get(field.name, (field.name,)):
            value = getattr(source, candidate, _DEFAULT)
            if isinstance(value, int | str | uuid.UUID):
                return value
    if field.default is not MISSING:
        return _DEFAULT
    if "tuple" in str(field.type):
        return ()
    return None if _is_nullable(field) else _EMPTY.get(field.metadata.get("kafka_type", ""), 0)


_EMPTY: Mapping[str, Any] = {
    "string": "", "bytes": b"", "uuid": None, "bool": False, "records": None,
}  # fmt: skip


def _is_nullable(field: Field[Any]) -> bool:
    return type(None) in get_args(field.type)


def _struct(kind: object) -> type[Any] | None:
    if is_dataclass(kind) and isinstance(kind, type):
        return kind
    return next((found for part in get_args(kind) if (found := _struct(part))), None)
