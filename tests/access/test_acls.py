from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.access import AclIndex, check_acl, matches
from logstore.access.acls import IMPLIED_BY, OPERATIONS
from logstore.api.access import (
    Acl,
    AclFilter,
    Operation,
    PatternType,
    Permission,
    ResourceType,
)
from logstore.errors import InvalidAclError

READ_ORDERS = Acl(
    resource=ResourceType.TOPIC, name="orders", principal="User:ann", operation=Operation.READ
)


def decide(
    *acls: Acl,
    principal: str = "User:ann",
    host: str = "10.0.0.1",
    operation: Operation = Operation.READ,
    resource: ResourceType = ResourceType.TOPIC,
    name: str = "orders",
) -> bool | None:
    return AclIndex(acls).decide(principal, host, operation, resource, name)


def denied(acl: Acl) -> Acl:
    return replace(acl, permission=Permission.DENY)


def test_without_a_rule_for_the_resource_nothing_is_decided() -> None:
    assert decide() is None
    assert decide(READ_ORDERS, name="other") is None
    assert decide(READ_ORDERS, resource=ResourceType.GROUP) is None


def test_a_rule_of_others_closes_the_resource() -> None:
    assert decide(READ_ORDERS) is True
    assert decide(READ_ORDERS, principal="User:bob") is False
    assert decide(READ_ORDERS, operation=Operation.WRITE) is False


@pytest.mark.parametrize(
    ("change", "covers"),
    [
        ({"name": "*"}, True),
        ({"name": "ord", "pattern": PatternType.PREFIXED}, True),
        ({"name": "orders", "pattern": PatternType.PREFIXED}, True),
        ({"name": "ordersx", "pattern": PatternType.PREFIXED}, None),
        ({"name": "ord"}, None),
        ({"name": "*", "pattern": PatternType.PREFIXED}, None),
        ({"principal": "User:*"}, True),
        ({"host": "10.0.0.1"}, True),
        ({"host": "10.0.0.2"}, False),
        ({"operation": Operation.ALL}, True),
    ],
)
def test_what_a_rule_covers(change: dict[str, object], covers: bool | None) -> None:
    assert decide(replace(READ_ORDERS, **change)) is covers  # type: ignore[arg-type]


def test_to_deny_wins_whatever_the_pattern() -> None:
    wide = replace(READ_ORDERS, name="*", principal="User:*", operation=Operation.ALL)
    assert decide(READ_ORDERS, denied(wide)) is False
    assert decide(wide, denied(READ_ORDERS)) is False
    assert decide(wide, denied(READ_ORDERS), name="other") is True


@pytest.mark.parametrize("operation", list(Operation)[2:])
def test_what_is_implied(operation: Operation) -> None:
    rule = replace(READ_ORDERS, operation=operation)
    describes = operation in IMPLIED_BY[Operation.DESCRIBE] | {Operation.DESCRIBE}
    assert decide(rule, operation=Operation.DESCRIBE) is describes
    configs = operation in (Operation.ALTER_CONFIGS, Operation.DESCRIBE_CONFIGS)
    assert decide(rule, operation=Operation.DESCRIBE_CONFIGS) is configs


def test_to_deny_implies_nothing() -> None:
    allowed = replace(READ_ORDERS, operation=Operation.DESCRIBE)
    assert decide(allowed, denied(READ_ORDERS), operation=Operation.DESCRIBE) is True


def allows_some(*acls: Acl, operation: Operation = Operation.WRITE) -> bool:
    return AclIndex(acls).allows_some("User:ann", "10.0.0.1", operation, ResourceType.TOPIC)


def test_some_topic_is_allowed() -> None:
    write = replace(READ_ORDERS, operation=Operation.WRITE)
    prefixed = replace(write, name="ord", pattern=PatternType.PREFIXED)
    everything = replace(write, name="*")
    assert not allows_some()
    assert not allows_some(READ_ORDERS)
    assert not allows_some(replace(write, principal="User:bob"))
    assert not allows_some(replace(write, resource=ResourceType.GROUP, operation=Operation.ALL))
    for rule in (write, prefixed, everything):
        assert allows_some(rule)
        assert not allows_some(rule, denied(everything))
    assert not allows_some(write, denied(prefixed))
    assert not allows_some(prefixed, denied(replace(prefixed, name="o")))
    assert allows_some(prefixed, denied(write))
    assert allows_some(everything, denied(prefixed))


RULES = st.builds(
    Acl,
    resource=st.just(ResourceType.TOPIC),
    name=st.sampled_from(["*", "a", "ab", "abc", "b"]),
    pattern=st.sampled_from([PatternType.LITERAL, PatternType.PREFIXED]),
    principal=st.sampled_from(["User:ann", "User:bob", "User:*"]),
    host=st.sampled_from(["*", "10.0.0.1", "10.0.0.2"]),
    operation=st.sampled_from([Operation.READ, Operation.WRITE, Operation.ALL, Operation.DESCRIBE]),
    permission=st.sampled_from([Permission.ALLOW, Permission.DENY]),
)


@given(
    rules=st.lists(RULES, max_size=6),
    name=st.sampled_from(["a", "ab", "abcd", "b", "c"]),
    operation=st.sampled_from([Operation.READ, Operation.DESCRIBE]),
)
def test_the_index_says_what_a_walk_over_all_rules_says(
    rules: list[Acl], name: str, operation: Operation
) -> None:
    of_name = AclFilter(resource=ResourceType.TOPIC, name=name, pattern=PatternType.MATCH)
    counting = [rule for rule in rules if matches(rule, of_name)]
    mine = [
        rule
        for rule in counting
        if rule.principal in ("User:ann", "User:*") and rule.host in ("10.0.0.1", "*")
    ]
    named = (operation, Operation.ALL)
    expected: bool | None = None
    if counting:
        allowing = (*named, *IMPLIED_BY.get(operation, ()))
        expected = any(
            rule.operation in allowing and rule.permission is Permission.ALLOW for rule in mine
        ) and not any(
            rule.operation in named and rule.permission is Permission.DENY for rule in mine
        )
    assert decide(*rules, name=name, operation=operation) is expected


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (AclFilter(), True),
        (AclFilter(resource=ResourceType.GROUP), False),
        (AclFilter(name="orders"), True),
        (AclFilter(name="*"), False),
        (AclFilter(name="orders", pattern=PatternType.LITERAL), True),
        (AclFilter(name="orders", pattern=PatternType.PREFIXED), False),
        (AclFilter(name="orders-2", pattern=PatternType.MATCH), False),
        (AclFilter(pattern=PatternType.MATCH), True),
        (AclFilter(principal="User:ann", host="*"), True),
        (AclFilter(principal="User:*"), False),
        (AclFilter(host="10.0.0.1"), False),
        (AclFilter(operation=Operation.READ, permission=Permission.ALLOW), True),
        (AclFilter(operation=Operation.ALL), False),
        (AclFilter(permission=Permission.DENY), False),
    ],
)
def test_filters(wanted: AclFilter, fits: bool) -> None:
    assert matches(READ_ORDERS, wanted) is fits


def test_a_match_finds_every_rule_that_covers_the_name() -> None:
    wanted = AclFilter(name="orders-2", pattern=PatternType.MATCH)
    assert matches(replace(READ_ORDERS, name="*"), wanted)
    assert matches(replace(READ_ORDERS, pattern=PatternType.PREFIXED), wanted)
    assert not matches(replace(READ_ORDERS, name="x", pattern=PatternType.PREFIXED), wanted)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"resource": ResourceType.ANY}, "resource type"),
        ({"name": ""}, "name is empty"),
        ({"name": "x" * 1025}, "longer than 1024"),
        ({"name": "a\nb"}, "cannot be printed"),
        ({"resource": ResourceType.CLUSTER}, "kafka-cluster"),
        ({"pattern": PatternType.MATCH}, "literal or prefixed"),
        ({"principal": "ann"}, "User:name"),
        ({"principal": "User:"}, "User:name"),
        ({"host": "example"}, "neither an IP address"),
        ({"operation": Operation.ANY}, "has no operation ANY"),
        ({"operation": Operation.IDEMPOTENT_WRITE}, "has no operation IDEMPOTENT_WRITE"),
        ({"permission": Permission.ANY}, "allow or deny"),
    ],
)
def test_rules_that_are_not_valid(change: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidAclError, match=problem):
        check_acl(replace(READ_ORDERS, **change))  # type: ignore[arg-type]


def test_every_resource_has_its_operations() -> None:
    for resource, operations in OPERATIONS.items():
        name = "kafka-cluster" if resource is ResourceType.CLUSTER else "x"
        for operation in operations:
            check_acl(replace(READ_ORDERS, resource=resource, name=name, operation=operation))
    assert set(OPERATIONS) == set(ResourceType) - {ResourceType.ANY}
