"""What a user without rules, and with single ones, gets of each API."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from logstore.api import TopicSpec
from logstore.api.access import Acl, Operation, Permission, ResourceType
from logstore.record import encode_batch
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.guard_rules import RULES
from logstore_server.kafka.registry import APIS
from tests.server.in_process import InProcessServer
from tests.server.kafka.secured import add_user, allow, logged_in, secured
from tests.server.kafka.wire import Wire

TOPIC, GROUP, CLUSTER = ResourceType.TOPIC, ResourceType.GROUP, ResourceType.CLUSTER
TRANSACTION = ResourceType.TRANSACTIONAL_ID
DENIED = ErrorCode.TOPIC_AUTHORIZATION_FAILED
CLUSTER_DENIED = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
KAFKA_CLUSTER = "kafka-cluster"


@pytest.fixture
def server(store: LocalLogStore) -> Iterator[InProcessServer]:
    for name in ("ann", "root"):
        add_user(store, name)
    for name in ("mine", "other"):
        store.create_topic(TopicSpec(name))
        store.append(name, 0, encode_batch([b"secret"])).result(10)
    with secured(store) as server:
        yield server


@pytest.fixture
def ann(server: InProcessServer) -> Iterator[Wire]:
    with logged_in(server, "ann") as wire:
        yield wire


def test_every_api_says_what_it_needs() -> None:
    assert {api.key for api in APIS} <= set(RULES)


def test_an_api_without_rules_is_for_super_users(
    server: InProcessServer, ann: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(RULES, 48)
    fields: dict[str, Any] = {"components": [], "strict": False}
    assert ann.ask("describe_client_quotas", 1, **fields).error_code == CLUSTER_DENIED
    with logged_in(server) as root:
        assert root.ask("describe_client_quotas", 1, **fields).error_code == 0


def produce(wire: Wire, version: int, *topics: Any, transactional_id: str | None = None) -> Any:
    named = "topic_id" if version >= 13 else "name"
    data = [
        {named: topic, "partition_data": [{"index": 0, "records": encode_batch([b"x"])}]}
        for topic in topics
    ]
    return wire.ask(
        "produce", version, acks=-1, timeout=10_000, topic_data=data,
        transactional_id=transactional_id,
    )  # fmt: skip


def produced(answer: Any) -> dict[Any, int]:
    return {
        getattr(topic, "name", None) or topic.topic_id: topic.partition_responses[0].error_code
        for topic in answer.responses
    }


def test_producing(store: LocalLogStore, ann: Wire) -> None:
    assert produced(produce(ann, 9, "mine", "other")) == {"mine": DENIED, "other": DENIED}
    allow(store, "ann", Operation.WRITE, TOPIC, "mine")
    assert produced(produce(ann, 9, "mine", "other")) == {"mine": 0, "other": DENIED}
    ids = [topic.topic_id for topic in store.describe_topics(["mine", "other"])]
    assert produced(produce(ann, 13, *ids)) == {ids[0]: 0, ids[1]: DENIED}
    (unknown,) = produced(produce(ann, 13, uuid.uuid4())).values()
    assert unknown == ErrorCode.UNKNOWN_TOPIC_ID
    highs = [topic.partitions[0].high_watermark for topic in store.describe_topics()]
    assert highs == [3, 1]
    tried = produced(produce(ann, 9, "mine", transactional_id="t"))
    assert tried == {"mine": ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}


@pytest.mark.parametrize("transactional_id", [None, "t"])
def test_producing_without_acks_is_refused_by_closing(
    server: InProcessServer, store: LocalLogStore, transactional_id: str | None
) -> None:
    """Who waits for no answer must not get one: it would be taken for the next request's."""
    allow(store, "ann", Operation.WRITE, TOPIC, "mine")
    data = [{"index": 0, "records": encode_batch([b"x"])}]
    topics = [{"name": name, "partition_data": data} for name in ("mine", "other")]
    with logged_in(server, "ann") as ann:
        ann.send(
            "produce", 9, acks=0, timeout=1000, topic_data=topics,
            transactional_id=transactional_id,
        )  # fmt: skip
        assert ann.is_closed()
    highs = {topic.name: topic.partitions[0].log_end_offset for topic in store.describe_topics()}
    assert highs == {"mine": 1 if transactional_id else 2, "other": 1}


def fetch(wire: Wire, version: int, *topics: Any) -> dict[Any, tuple[int, bool]]:
    """topic -> (error, whether there are records)."""
    named = "topic_id" if version >= 13 else "topic"
    partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    asked = [{named: topic, "partitions": [partition]} for topic in topics]
    answer = wire.ask(
        "fetch", version, max_wait=0, min_bytes=0, topics=asked, forgotten_topics_data=[],
        replica_id=-1,
    )  # fmt: skip
    return {
        getattr(topic, named): (topic.partitions[0].error_code, bool(topic.partitions[0].records))
        for topic in answer.responses
    }


def test_fetching(store: LocalLogStore, ann: Wire) -> None:
    assert fetch(ann, 11, "mine", "other") == {"mine": (DENIED, False), "other": (DENIED, False)}
    allow(store, "ann", Operation.READ, TOPIC, "mine")
    assert fetch(ann, 11, "mine", "other") == {"mine": (0, True), "other": (DENIED, False)}
    mine, other = (topic.topic_id for topic in store.describe_topics(["mine", "other"]))
    assert fetch(ann, 16, mine, other) == {mine: (0, True), other: (DENIED, False)}


def test_a_fetch_session_ends_where_the_rule_does(store: LocalLogStore, ann: Wire) -> None:
    """What a session has, the request does not name again."""
    allow(store, "ann", Operation.READ, TOPIC, "mine")
    partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    common: dict[str, Any] = {
        "max_wait": 0, "min_bytes": 0, "forgotten_topics_data": [], "replica_id": -1,
    }  # fmt: skip
    topics = [{"topic": "mine", "partitions": [partition]}]
    first = ann.ask("fetch", 11, topics=topics, session_id=0, session_epoch=0, **common)
    assert first.responses[0].partitions[0].records
    deny = Acl(
        resource=TOPIC, name="*", principal="User:ann", operation=Operation.ALL,
        permission=Permission.DENY,
    )  # fmt: skip
    store.access.create_acls([deny])
    again = ann.ask("fetch", 11, topics=[], session_id=first.session_id, session_epoch=1, **common)
    for topic in again.responses:
        assert topic.partitions[0].error_code == DENIED
        assert not topic.partitions[0].records


def test_metadata_shows_what_may_be_described(store: LocalLogStore, ann: Wire) -> None:
    def topics(*names: str, create: bool = False) -> dict[str, int]:
        asked = [{"name": name} for name in names] or None
        answer = ann.ask("metadata", 4, topics=asked, allow_auto_topic_creation=create)
        assert answer.brokers
        return {topic.name: topic.error_code for topic in answer.topics}

    assert topics() == {}
    assert topics("mine", "other") == {"mine": DENIED, "other": DENIED}
    allow(store, "ann", Operation.READ, TOPIC, "mine")
    assert topics() == {"mine": 0}
    assert topics("mine", "other") == {"mine": 0, "other": DENIED}
    allow(store, "ann", Operation.DESCRIBE, TOPIC, "new")
    assert topics("new", "mine", create=True) == {"new": DENIED, "mine": 0}
    assert topics("new") == {"new": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
    allow(store, "ann", Operation.CREATE, TOPIC, "new")
    assert topics("new", "mine", create=True) == {"new": 0, "mine": 0}


def test_creating_and_deleting_topics(store: LocalLogStore, ann: Wire) -> None:
    def create(*names: str) -> dict[str, int]:
        asked = [
            {"name": name, "num_partitions": 1, "replication_factor": 1, "assignments": [],
             "configs": []} for name in names
        ]  # fmt: skip
        answer = ann.ask("create_topics", 7, topics=asked, timeout=1000, validate_only=False)
        return {topic.name: topic.error_code for topic in answer.topics}

    def delete(version: int, *names: str) -> dict[str, int]:
        asked: dict[str, Any] = {"topic_names": names}
        if version >= 6:
            asked = {"topics": [{"name": name, "topic_id": None} for name in names]}
        answer = ann.ask("delete_topics", version, timeout=1000, **asked)
        return {topic.name: topic.error_code for topic in answer.responses}

    assert create("a", "b") == {"a": DENIED, "b": DENIED}
    allow(store, "ann", Operation.CREATE, TOPIC, "a")
    assert create("a", "b") == {"a": 0, "b": DENIED}
    allow(store, "ann", Operation.CREATE, CLUSTER, KAFKA_CLUSTER)
    assert create("b") == {"b": 0}
    for version in (5, 6):
        assert delete(version, "a", "b") == {"a": DENIED, "b": DENIED}
    allow(store, "ann", Operation.DELETE, TOPIC, "a")
    assert delete(6, "a", "b") == {"a": 0, "b": DENIED}
    assert "b" in [topic.name for topic in store.describe_topics()]


def test_configs(store: LocalLogStore, ann: Wire) -> None:
    def codes(name: str, version: int, answer: str, **more: Any) -> list[int]:
        resources: list[dict[str, Any]] = [
            {"resource_type": 2, "resource_name": topic, "configs": [], "configuration_keys": None}
            for topic in ("mine", "other")
        ]
        node = {"resource_type": 4, "resource_name": "1"}
        resources.append({**resources[0], **node})
        given = ann.ask(name, version, resources=resources, **more)
        return [one.error_code for one in sorted(getattr(given, answer), key=str)]

    describe = {"include_synonyms": False, "include_documentation": False}
    assert codes("describe_configs", 4, "results", **describe) == [DENIED] * 3
    assert codes("alter_configs", 2, "responses", validate_only=True) == [DENIED] * 3
    assert codes("incremental_alter_configs", 1, "responses", validate_only=True) == [DENIED] * 3
    allow(store, "ann", Operation.ALTER_CONFIGS, TOPIC, "mine")
    assert sorted(codes("describe_configs", 4, "results", **describe)) == [0, DENIED, DENIED]
    assert sorted(codes("alter_configs", 2, "responses", validate_only=True)) == [
        0, DENIED, DENIED,
    ]  # fmt: skip


def test_partitions_are_added_by_who_may_alter(store: LocalLogStore, ann: Wire) -> None:
    topics = [{"name": name, "count": 2, "assignments": None} for name in ("mine", "other")]
    fields: dict[str, Any] = {"topics": topics, "timeout": 1000, "validate_only": False}
    allow(store, "ann", Operation.ALTER, TOPIC, "mine")
    answer = ann.ask("create_partitions", 3, **fields)
    assert {one.name: one.error_code for one in answer.results} == {"mine": 0, "other": DENIED}
    assert [len(topic.partitions) for topic in store.describe_topics()] == [2, 1]


CLUSTER_WIDE: list[tuple[str, int, dict[str, Any], Operation]] = [
    ("describe_log_dirs", 4, {"topics": None}, Operation.DESCRIBE),
    ("elect_leaders", 2, {"election_type": 0, "topic_partitions": None, "timeout": 1},
     Operation.ALTER),
    ("alter_partition_reassignments", 0, {"topics": [], "timeout": 1}, Operation.ALTER),
    ("list_partition_reassignments", 0, {"topics": None, "timeout": 1}, Operation.DESCRIBE),
    ("list_config_resources", 1, {"resource_types": []}, Operation.DESCRIBE_CONFIGS),
    ("describe_user_scram_credentials", 0, {"users": None}, Operation.DESCRIBE),
    ("describe_client_quotas", 1, {"components": [], "strict": False},
     Operation.DESCRIBE_CONFIGS),
    ("describe_quorum", 2,
     {"topics": [{"topic_name": "__cluster_metadata", "partitions": [{"partition_index": 0}]}]},
     Operation.DESCRIBE),
    ("describe_acls", 3,
     {"resource_type_filter": 1, "resource_name_filter": None, "pattern_type_filter": 1,
      "principal_filter": None, "host_filter": None, "operation": 1, "permission_type": 1},
     Operation.DESCRIBE),
]  # fmt: skip


@pytest.mark.parametrize(("name", "version", "fields", "operation"), CLUSTER_WIDE)
def test_of_the_cluster(
    store: LocalLogStore,
    ann: Wire,
    name: str,
    version: int,
    fields: dict[str, Any],
    operation: Operation,
) -> None:
    assert ann.ask(name, version, **fields).error_code == CLUSTER_DENIED
    allow(store, "ann", operation, CLUSTER, KAFKA_CLUSTER)
    assert ann.ask(name, version, **fields).error_code == 0


def test_users_and_rules_are_changed_by_who_may_alter_the_cluster(
    store: LocalLogStore, ann: Wire
) -> None:
    creation = {
        "resource_type": 2, "resource_name": "mine", "resource_pattern_type": 3,
        "principal": "User:ann", "host": "*", "operation": 3, "permission_type": 3,
    }  # fmt: skip
    upsertion = {
        "name": "ann", "mechanism": 1, "iterations": 4096, "salt": b"0" * 12,
        "salted_password": b"1" * 32,
    }  # fmt: skip
    quota = {
        "entity": [{"entity_type": "user", "entity_name": "ann"}],
        "ops": [{"key": "producer_byte_rate", "value": 1e9, "remove": False}],
    }

    def codes() -> list[list[int]]:
        made = ann.ask("create_acls", 3, creations=[creation] * 2).results
        changed = ann.ask(
            "alter_user_scram_credentials", 0, deletions=[], upsertions=[upsertion]
        ).results
        limited = ann.ask("alter_client_quotas", 1, entries=[quota], validate_only=True).entries
        return [[one.error_code for one in results] for results in (made, changed, limited)]

    assert codes() == [[CLUSTER_DENIED] * 2, [CLUSTER_DENIED], [CLUSTER_DENIED]]
    assert store.access.acls() == []
    allow(store, "ann", Operation.ALTER, CLUSTER, KAFKA_CLUSTER)
    allow(store, "ann", Operation.ALTER_CONFIGS, CLUSTER, KAFKA_CLUSTER)
    assert codes() == [[0, 0], [0], [0]]


def test_offsets_are_listed_for_who_may_describe(store: LocalLogStore, ann: Wire) -> None:
    allow(store, "ann", Operation.WRITE, TOPIC, "mine")
    part = {"partition_index": 0, "timestamp": -1}
    topics = [{"name": name, "partitions": [part]} for name in ("mine", "other")]
    answer = ann.ask("list_offsets", 4, topics=topics, replica_id=-1, isolation_level=0)
    found = {topic.name: topic.partitions[0].error_code for topic in answer.topics}
    assert found == {"mine": 0, "other": DENIED}


def test_topics_are_described_page_by_page(store: LocalLogStore, ann: Wire) -> None:
    def found(*names: str) -> dict[str, int]:
        answer = ann.ask(
            "describe_topic_partitions", 0, topics=[{"name": name} for name in names],
            response_partition_limit=10, cursor=None,
        )  # fmt: skip
        return {topic.name: topic.error_code for topic in answer.topics}

    assert found() == {}
    assert found("mine", "other") == {"mine": DENIED, "other": DENIED}
    allow(store, "ann", Operation.READ, TOPIC, "mine")
    assert found() == {"mine": 0}


def test_the_clients_operations_are_told(store: LocalLogStore, ann: Wire) -> None:
    allow(store, "ann", Operation.ALTER, CLUSTER, KAFKA_CLUSTER)
    answer = ann.ask("describe_cluster", 0, include_cluster_authorized_operations=True)
    alter_and_describe = 1 << Operation.ALTER | 1 << Operation.DESCRIBE
    assert answer.cluster_authorized_operations == alter_and_describe


def test_without_rules_all_may_be_allowed(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("mine"))
    for name in ("ann", "bob"):
        add_user(store, name)
    with (
        secured(store, allow_everyone_if_no_acl_found=True) as server,
        logged_in(server, "ann") as ann,
        logged_in(server, "bob") as bob,
    ):
        assert produced(produce(ann, 9, "mine")) == {"mine": 0}
        allow(store, "bob", Operation.READ, TOPIC, "mine")  # now there is one
        assert produced(produce(ann, 9, "mine")) == {"mine": DENIED}
        assert fetch(bob, 11, "mine") == {"mine": (0, True)}


def test_without_logins_everybody_is_anonymous(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("mine"))
    with secured(store, sasl_mechanisms="") as server, Wire(server.kafka) as wire:
        assert produced(produce(wire, 9, "mine")) == {"mine": DENIED}
        allow(store, "ANONYMOUS", Operation.WRITE, TOPIC, "mine")
        assert produced(produce(wire, 9, "mine")) == {"mine": 0}
