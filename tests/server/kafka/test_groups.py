"""What the APIs of groups share."""

from __future__ import annotations

from datetime import timedelta

import pytest

from logstore import errors
from logstore.api import GroupKind, TopicPartition, TopicSpec
from logstore_server.kafka import groups
from logstore_server.kafka.errors import ErrorCode


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StoreClosedError("e"), ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (errors.StorageFailedError("e"), ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (errors.UnavailableError("e"), ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (errors.WrongEndpointError("e"), ErrorCode.NOT_COORDINATOR),
        (errors.IllegalGenerationError("e"), ErrorCode.ILLEGAL_GENERATION),
    ],
)
def test_what_ails_the_store_sends_a_client_to_look_again(error, code):
    assert groups.group_error_code(error) is code


def test_topics_that_are_gone_have_no_id(store):
    topic_id = store.create_topic(TopicSpec("t", 2)).topic_id
    parts = [TopicPartition("t", 1), TopicPartition("gone", 0), TopicPartition("t", 0)]
    assert groups.topics_with_ids(store, parts) == [
        {"topic_id": topic_id, "topic_name": "t", "partitions": [1, 0]}
    ]


def test_a_group_of_offsets_only_is_classic_to_kafkas_tools():
    assert groups.is_classic(GroupKind.CONSUMER, "")
    assert not groups.is_classic(GroupKind.CONSUMER, "consumer")
    assert groups.is_classic(GroupKind.CLASSIC, "consumer")


def test_times():
    assert groups.milliseconds(timedelta(milliseconds=-1)) == -1
    assert groups.milliseconds(timedelta(seconds=1.5)) == 1500
