from __future__ import annotations

import pytest

from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.in_process import InProcessServer
from tests.server.kafka.wire import Wire


@pytest.mark.parametrize("version", range(3))
def test_one_node(wire: Wire, store: LocalLogStore, server: InProcessServer, version: int) -> None:
    answer = wire.ask(
        "describe_cluster",
        version,
        include_cluster_authorized_operations=False,
        include_fenced_brokers=False,
    )
    info = store.describe_store()
    assert (answer.error_code, answer.cluster_id) == (0, info.cluster_id)
    (broker,) = answer.brokers
    assert answer.controller_id == broker.broker_id == info.node_id
    assert f"{broker.host}:{broker.port}" == server.kafka
    assert answer.cluster_authorized_operations == -(1 << 31)


def test_what_may_be_done_is_told_when_asked(wire: Wire) -> None:
    answer = wire.ask("describe_cluster", 0, include_cluster_authorized_operations=True)
    # CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE
    assert answer.cluster_authorized_operations == sum(1 << n for n in (5, 7, 8, 9, 10, 11, 12))


def test_controllers_are_not_known_here(wire: Wire) -> None:
    answer = wire.ask(
        "describe_cluster",
        1,
        include_cluster_authorized_operations=False,
        endpoint_type=2,
    )
    assert answer.error_code == ErrorCode.MISMATCHED_ENDPOINT_TYPE
    assert answer.brokers == ()
