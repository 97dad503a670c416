"""`logstore acl`: add, list, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from logstore_server.commands.access import open_access
from logstore_server.commands.tables import json_option, print_json, print_table
from logstore_server.commands.target import Target, pass_target
from logstore_server.commands.values import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from logstore.api.access import Acl

RESOURCES = ("topic", "group", "cluster", "transactional-id")
OPERATIONS = (
    "all", "read", "write", "create", "delete", "alter", "describe", "cluster-action",
    "describe-configs", "alter-configs", "idempotent-write",
)  # fmt: skip


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What names a rule, or those to remove."""
    for option in (
        click.option("--host", metavar="ADDRESS", help="Only from this address."),
        click.option("--deny", is_flag=True, help="A rule that forbids; it wins over all others."),
        click.option("--prefix", is_flag=True, help="NAME is how names begin."),
        click.option(
            "--operation", "-o", "operations", type=click.Choice(OPERATIONS), multiple=True,
            help="May be repeated. To read, write, delete or alter is to describe too.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group(short_help="Add, list and remove access rules.")
def command() -> None:
    """Add, list and remove access rules (ACLs): what users may do over Kafka's protocol.

    They are in force with 'logstore serve --set kafka.security.authorization=true'.
    """


@command.command()
@click.argument("user")
@click.argument("resource", type=click.Choice(RESOURCES))
@click.argument("name", required=False)
@rule_options
@pass_target
def add(
    target: Target,
    user: str,
    resource: str,
    name: str | None,
    operations: tuple[str, ...],
    prefix: bool,
    deny: bool,
    host: str | None,
) -> None:
    """Allow USER operations on the topic, group or transactional id NAME ("*": every one).

    USER "*" is everybody. The cluster has no name.
    """
    from logstore.api.access import (
        CLUSTER_NAME,
        EVERYWHERE,
        Acl,
        Operation,
        PatternType,
        Permission,
        ResourceType,
    )

    if resource == "cluster":
        name = name or CLUSTER_NAME
    if name is None or not operations:
        raise click.UsageError("give NAME, and at least one --operation")
    rules = [
        Acl(
            resource=ResourceType[_constant(resource)],
            name=name,
            pattern=PatternType.PREFIXED if prefix else PatternType.LITERAL,
            principal=_principal(user),
            host=host or EVERYWHERE,
            operation=Operation[_constant(operation)],
            permission=Permission.DENY if deny else Permission.ALLOW,
        )
        for operation in operations
    ]
    with open_access(target) as access:
        access.create_acls(rules)
    click.echo(f"added {plural(len(rules), 'rule')}")


@command.command("list")
@click.option("--user", help="Only rules of this user.")
@json_option
@pass_target
def list_rules(target: Target, user: str | None, as_json: bool) -> None:
    """List the access rules."""
    from logstore.api.access import AclFilter

    with open_access(target) as access:
        rules = access.acls(AclFilter(principal=None if user is None else _principal(user)))
    if as_json:
        print_json([_as_json(rule) for rule in rules])
    elif not rules:
        click.echo("no access rules", err=True)
    else:
        shown = [_as_json(rule) for rule in rules]
        print_table(tuple(shown[0]), [tuple(rule.values()) for rule in shown])


@command.command()
@click.argument("user")
@click.argument("resource", type=click.Choice(RESOURCES))
@click.argument("name", required=False)
@rule_options
@pass_target
def remove(
    target: Target,
    user: str,
    resource: str,
    name: str | None,
    operations: tuple[str, ...],
    prefix: bool,
    deny: bool,
    host: str | None,
) -> None:
    """Remove rules of USER about a resource: those that fit all that is given."""
    from logstore.api.access import AclFilter, Operation, PatternType, Permission, ResourceType

    filters = [
        AclFilter(
            resource=ResourceType[_constant(resource)],
            name=name,
            pattern=PatternType.PREFIXED if prefix else PatternType.ANY,
            principal=_principal(user),
            host=host,
            operation=Operation[_constant(operation)],
            permission=Permission.DENY if deny else Permission.ANY,
        )
        for operation in operations or ("any",)
    ]
    with open_access(target) as access:
        removed = {rule for found in access.delete_acls(filters) for rule in found}
    click.echo(f"removed {plural(len(removed), 'rule')}")


def _constant(word: str) -> str:
    return word.upper().replace("-", "_")


def _principal(user: str) -> str:
    """A plain name is a user; "Type:name" is as it is."""
    return user if ":" in user else f"User:{user}"


def _as_json(rule: Acl) -> dict[str, str]:
    return {
        "principal": rule.principal,
        "host": rule.host,
        "permission": rule.permission.name.lower(),
        "operation": rule.operation.name.lower().replace("_", "-"),
        "resource": rule.resource.name.lower().replace("_", "-"),
        "pattern": rule.pattern.name.lower(),
        "name": rule.name,
    }
