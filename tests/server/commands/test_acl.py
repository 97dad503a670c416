from __future__ import annotations

import json
from pathlib import Path

from logstore.api.access import Acl, Operation, PatternType, Permission, ResourceType
from logstore.store import LocalLogStore
from tests.server.commands.conftest import Run


def stored(directory: Path) -> set[Acl]:
    store = LocalLogStore.open(str(directory))
    acls = set(store.access.acls())
    store.close()
    return acls


def test_rules_come_and_go(run: Run, directory: Path) -> None:
    added = run("acl", "add", "ann", "topic", "orders", "-o", "read", "-o", "write")
    assert added.stdout == "added 2 rules\n"
    run("acl", "add", "*", "group", "g-", "--prefix", "--deny", "-o", "all", "--host", "::1")
    run("acl", "add", "User:CN=bob", "cluster", "-o", "describe-configs")
    read, write = (
        Acl(resource=ResourceType.TOPIC, name="orders", principal="User:ann", operation=operation)
        for operation in (Operation.READ, Operation.WRITE)
    )
    denied = Acl(
        resource=ResourceType.GROUP, name="g-", pattern=PatternType.PREFIXED, principal="User:*",
        host="::1", operation=Operation.ALL, permission=Permission.DENY,
    )  # fmt: skip
    cluster = Acl(
        resource=ResourceType.CLUSTER, name="kafka-cluster", principal="User:CN=bob",
        operation=Operation.DESCRIBE_CONFIGS,
    )  # fmt: skip
    assert stored(directory) == {read, write, denied, cluster}
    assert run("acl", "remove", "ann", "topic", "-o", "read").stdout == "removed 1 rule\n"
    assert stored(directory) == {write, denied, cluster}
    assert run("acl", "remove", "bob", "topic").stdout == "removed 0 rules\n"


def test_rules_are_listed(run: Run) -> None:
    assert "no access rules" in run("acl", "list").stderr
    run("acl", "add", "ann", "topic", "orders", "-o", "read")
    run("acl", "add", "bob", "topic", "orders", "-o", "read")
    (rule,) = json.loads(run("acl", "list", "--user", "ann", "--json").stdout)
    assert rule == {
        "principal": "User:ann", "host": "*", "permission": "allow", "operation": "read",
        "resource": "topic", "pattern": "literal", "name": "orders",
    }  # fmt: skip
    assert "User:bob" in run("acl", "list").stdout


def test_what_cannot_be(run: Run, directory: Path) -> None:
    run("acl", "add", "ann", "topic", "-o", "read", exit_code=2)
    run("acl", "add", "ann", "topic", "orders", exit_code=2)
    refused = run("acl", "add", "ann", "group", "g", "-o", "write", exit_code=1)
    assert "GROUP has no operation WRITE" in refused.stderr
    assert stored(directory) == set()
