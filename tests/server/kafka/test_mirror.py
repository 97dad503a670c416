from __future__ import annotations

from typing import Any

import pytest
from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader

from logstore_server.kafka.encoding import Output, entity_writer
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.guard_rules import RULES
from logstore_server.kafka.mirror import item_class, mirrored

CODE = ErrorCode.TOPIC_AUTHORIZATION_FAILED
# Every version that the schemas have of every API with rules: answers are made from the schemas.
VERSIONS: list[tuple[int, int]] = []
for key in RULES:
    for number in range(25):
        try:
            load_response_schema(key, number)
        except Exception:  # not of this API
            continue
        VERSIONS.append((key, number))


def round_trip(cls: type[Any], values: Any) -> Any:
    out = Output()
    entity_writer(cls)(out, values)
    return entity_reader(cls)(b"".join(out.finish()), 0)[0]


def request(key: int, version: int, fields: dict[str, Any]) -> Any:
    return round_trip(load_request_schema(key, version), fields)


@pytest.mark.parametrize(("key", "version"), VERSIONS)
def test_every_answer_can_be_written(key: int, version: int) -> None:
    cls = load_response_schema(key, version)
    answer = round_trip(cls, mirrored(cls, object(), CODE, "no"))
    if hasattr(answer, "error_code"):
        assert answer.error_code == CODE


@pytest.mark.parametrize(
    ("key", "version", "fields", "paths"),
    [
        (
            0, 9,
            {
                "acks": 1, "timeout": 1,
                "topic_data": [
                    {"name": "a", "partition_data": [{"index": 3, "records": None}]},
                ],
            },
            [("a", 3)],
        ),
        (
            2, 7,
            {
                "replica_id": -1, "isolation_level": 0,
                "topics": [{"name": "a", "partitions": [
                    {"partition_index": 3, "timestamp": -1}, {"partition_index": 4, "timestamp": -1}
                ]}],
            },
            [("a", 3), ("a", 4)],
        ),
        (
            8, 8,
            {
                "group_id": "g", "generation_id_or_member_epoch": 1, "member_id": "m",
                "topics": [{"name": "a", "partitions": [
                    {"partition_index": 3, "committed_offset": 1, "committed_metadata": ""}
                ]}],
            },
            [("a", 3)],
        ),
        (
            9, 7,
            {"group_id": "g", "topics": [{"name": "a", "partition_indexes": [3, 4]}],
             "require_stable": False},
            [("a", 3), ("a", 4)],
        ),
        (
            24, 3,
            {
                "v3_and_below_transactional_id": "t", "v3_and_below_producer_id": 1,
                "v3_and_below_producer_epoch": 0,
                "v3_and_below_topics": [{"name": "a", "partitions": [3]}],
            },
            [("a", 3)],
        ),
    ],
)  # fmt: skip
def test_everything_asked_for_is_answered_for(
    key: int, version: int, fields: dict[str, Any], paths: list[tuple[str, int]]
) -> None:
    cls = load_response_schema(key, version)
    answer = round_trip(cls, mirrored(cls, request(key, version, fields), CODE, "no"))
    found = []
    topics = next(
        getattr(answer, name)
        for name in ("responses", "topics", "results_by_topic_v3_and_below")
        if hasattr(answer, name)
    )
    for topic in topics:
        names = ("partition_responses", "partitions", "results_by_partition")
        parts = next(getattr(topic, name) for name in names if hasattr(topic, name))
        for part in parts:
            code = getattr(part, "error_code", getattr(part, "partition_error_code", None))
            assert code == CODE
            found.append((topic.name, getattr(part, "partition_index", getattr(part, "index", 0))))
    assert found == paths


@pytest.mark.parametrize(
    ("key", "version", "fields", "answer_field", "names"),
    [
        (15, 5, {"groups": ["g", "h"]}, "groups", ["g", "h"]),
        (42, 2, {"groups_names": ["g", "h"]}, "results", ["g", "h"]),
        (10, 4, {"key_type": 0, "coordinator_keys": ["g", "h"]}, "coordinators", ["g", "h"]),
        (65, 0, {"transactional_ids": ["g", "h"]}, "transaction_states", ["g", "h"]),
        (69, 0, {"group_ids": ["g", "h"]}, "groups", ["g", "h"]),
    ],
)
def test_items_that_are_names(
    key: int, version: int, fields: dict[str, Any], answer_field: str, names: list[str]
) -> None:
    if "include_authorized_operations" in str(load_request_schema(key, version).__annotations__):
        fields = {**fields, "include_authorized_operations": False}
    cls = load_response_schema(key, version)
    answer = round_trip(cls, mirrored(cls, request(key, version, fields), CODE, "no"))
    found = getattr(answer, answer_field)
    assert [
        getattr(one, "group_id", getattr(one, "key", getattr(one, "transactional_id", "")))
        for one in found
    ] == names
    assert {one.error_code for one in found} == {CODE}


def test_the_struct_of_a_list() -> None:
    cls = load_response_schema(2, 7)
    topic = item_class(cls, "topics")
    assert topic is not None
    assert "partitions" in topic.__slots__
    assert item_class(cls, "nothing") is None
