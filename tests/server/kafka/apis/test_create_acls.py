"""CreateAcls, DescribeAcls and DeleteAcls; enforcement is in ../test_guard_rules.py."""

from __future__ import annotations

from typing import Any

import pytest

from logstore.api.access import Acl, Operation, PatternType, Permission, ResourceType
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.in_process import InProcessServer
from tests.server.kafka.secured import secured
from tests.server.kafka.wire import Wire

READ = {
    "resource_type": 2, "resource_name": "orders", "resource_pattern_type": 3,
    "principal": "User:ann", "host": "*", "operation": 3, "permission_type": 3,
}  # fmt: skip
EVERYTHING = {
    "resource_type_filter": 1, "resource_name_filter": None, "pattern_type_filter": 1,
    "principal_filter": None, "host_filter": None, "operation": 1, "permission_type": 1,
}  # fmt: skip


@pytest.fixture
def server(store: LocalLogStore) -> Any:
    with secured(store, sasl_mechanisms="", super_users="User:ANONYMOUS") as server:
        yield server


def create(wire: Wire, *creations: dict[str, Any], version: int = 3) -> list[int]:
    answer = wire.ask("create_acls", version, creations=creations)
    return [result.error_code for result in answer.results]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_rules_are_made_shown_and_deleted(store: LocalLogStore, wire: Wire, version: int) -> None:
    prefixed = READ | {"resource_pattern_type": 4, "permission_type": 2, "operation": 2}
    assert create(wire, READ, prefixed, READ, version=version) == [0, 0, 0]
    assert set(store.access.acls()) == {
        Acl(
            resource=ResourceType.TOPIC, name="orders", principal="User:ann",
            operation=Operation.READ,
        ),
        Acl(
            resource=ResourceType.TOPIC, name="orders", principal="User:ann",
            pattern=PatternType.PREFIXED, operation=Operation.ALL, permission=Permission.DENY,
        ),
    }  # fmt: skip
    shown = wire.ask("describe_acls", version, **EVERYTHING)
    assert shown.error_code == 0
    assert [
        (one.resource_type, one.resource_name, one.pattern_type, acl.principal, acl.host,
         acl.operation, acl.permission_type)
        for one in shown.resources for acl in one.acls
    ] == [
        (2, "orders", 3, "User:ann", "*", 3, 3), (2, "orders", 4, "User:ann", "*", 2, 2),
    ]  # fmt: skip
    allows = EVERYTHING | {"permission_type": 3}
    none = EVERYTHING | {"principal_filter": "User:bob"}
    first, second = wire.ask("delete_acls", version, filters=[allows, none]).filter_results
    assert [one.operation for one in first.matching_acls] == [3]
    assert (first.error_code, second.error_code, second.matching_acls) == (0, 0, ())
    assert [acl.permission for acl in store.access.acls()] == [Permission.DENY]


def test_rules_of_one_resource_are_shown_together(store: LocalLogStore, wire: Wire) -> None:
    create(wire, READ, READ | {"operation": 4}, READ | {"resource_type": 3})
    shown = wire.ask("describe_acls", 3, **EVERYTHING).resources
    assert [(one.resource_type, len(one.acls)) for one in shown] == [(2, 2), (3, 1)]
    matching = EVERYTHING | {"resource_name_filter": "orders", "pattern_type_filter": 2}
    assert len(wire.ask("describe_acls", 3, **matching).resources) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"resource_type": 0},
        {"resource_type": 1},
        {"resource_type": 99},
        {"resource_pattern_type": 1},
        {"principal": "ann"},
        {"host": "nowhere"},
        {"operation": 0},
        {"operation": 12},
        {"permission_type": 1},
        {"resource_name": ""},
    ],
)
def test_a_rule_that_is_none_harms_no_other(
    store: LocalLogStore, wire: Wire, change: dict[str, Any]
) -> None:
    assert create(wire, READ | change, READ) == [ErrorCode.INVALID_REQUEST, 0]
    assert len(store.access.acls()) == 1


def test_filters_of_unknown_numbers(wire: Wire) -> None:
    wrong = EVERYTHING | {"operation": 99}
    assert wire.ask("describe_acls", 3, **wrong).error_code == ErrorCode.INVALID_REQUEST
    (result,) = wire.ask("delete_acls", 3, filters=[wrong]).filter_results
    assert (result.error_code, result.matching_acls) == (ErrorCode.INVALID_REQUEST, ())


def test_rules_that_nobody_obeys_are_not_taken(store: LocalLogStore) -> None:
    with secured(store, authorization=False, sasl_mechanisms="") as server:
        _refuses(server)
    assert store.access.acls() == []


def _refuses(server: InProcessServer) -> None:
    with Wire(server.kafka) as wire:
        assert create(wire, READ) == [ErrorCode.SECURITY_DISABLED]
        assert wire.ask("describe_acls", 3, **EVERYTHING).error_code == ErrorCode.SECURITY_DISABLED
        (result,) = wire.ask("delete_acls", 3, filters=[EVERYTHING]).filter_results
        assert result.error_code == ErrorCode.SECURITY_DISABLED
