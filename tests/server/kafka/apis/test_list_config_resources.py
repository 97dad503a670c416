from __future__ import annotations

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.config_answers import ConfigResource
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire


def test_topics_and_the_broker(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    node = (str(store.describe_store().node_id), ConfigResource.BROKER)

    def found(*kinds: int) -> set[tuple[str, int]]:
        answer = wire.ask("list_config_resources", 1, resource_types=kinds)
        assert answer.error_code == 0
        return {(one.resource_name, one.resource_type) for one in answer.config_resources}

    assert {("t", ConfigResource.TOPIC), node} <= found()
    assert found(ConfigResource.BROKER) == {node}
    assert ("t", 2) in found(ConfigResource.TOPIC)
    assert found(ConfigResource.GROUP, ConfigResource.CLIENT_METRICS) == set()


def test_a_kind_that_there_is_not(wire: Wire) -> None:
    answer = wire.ask("list_config_resources", 1, resource_types=[3])
    assert (answer.error_code, answer.config_resources) == (ErrorCode.UNSUPPORTED_VERSION, ())


def test_the_old_version_lists_client_metrics(wire: Wire, store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t"))
    answer = wire.ask("list_config_resources", 0)
    assert (answer.error_code, answer.config_resources) == (0, ())
