"""`logstore group`: list, describe, reset, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from logstore_server.commands.params import PLACE, TOPIC_PARTITION
from logstore_server.commands.tables import json_option, print_facts, print_json, print_table
from logstore_server.commands.target import Target, pass_target
from logstore_server.commands.values import Place, PlaceKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logstore.api import GroupInfo, TopicPartition

RESETS = {
    PlaceKind.EARLIEST: "earliest",
    PlaceKind.LATEST: "latest",
    PlaceKind.OFFSET: "offset",
    PlaceKind.TIME: "timestamp",
    PlaceKind.SHIFT: "shift",
}


@click.group(short_help="List, describe, reset and delete consumer groups.")
def command() -> None:
    """List, describe, reset and delete consumer groups."""


@command.command("list")
@json_option
@pass_target
def list_groups(target: Target, as_json: bool) -> None:
    """List consumer groups."""
    with target.open() as store:
        groups = sorted(store.list_groups(), key=lambda group: group.group_id)
    rows = [(group.group_id, str(group.kind), group.state, group.members) for group in groups]
    if as_json:
        print_json(
            [dict(zip(("group", "kind", "state", "members"), row, strict=True)) for row in rows]
        )
    elif not rows:
        click.echo("no groups; a consumer that names one makes it", err=True)
    else:
        print_table(("group", "kind", "state", "members"), rows)


@command.command()
@click.argument("group")
@json_option
@pass_target
def describe(target: Target, group: str, as_json: bool) -> None:
    """Show the members of GROUP and how far it has read."""
    with target.open() as store:
        info = store.describe_group(group)
    if as_json:
        print_json(group_as_json(info))
        return
    print_facts(
        [
            ("group", info.group_id),
            ("state", info.state),
            ("kind", info.kind),
            ("assignor", info.assignor),
            ("epoch", info.group_epoch),
            ("lag", sum(item.lag for item in info.offsets)),
        ]
    )
    click.echo()
    if info.members:
        print_table(
            ("member", "client", "host", "owns"),
            [
                (
                    member.member_id,
                    member.client_id,
                    member.client_host,
                    format_partitions(member.assigned),
                )
                for member in info.members
            ],
        )
    else:
        click.echo("no members")
    click.echo()
    if info.offsets:
        print_table(
            ("topic", "partition", "committed", "end", "lag", "owner"),
            [
                (
                    item.topic,
                    item.partition,
                    None if item.committed < 0 else item.committed,
                    item.high_watermark,
                    item.lag,
                    item.member_id,
                )
                for item in sorted(info.offsets, key=lambda item: (item.topic, item.partition))
            ],
        )
    else:
        click.echo("nothing committed")


@command.command()
@click.argument("group")
@click.option(
    "--to",
    "place",
    metavar="PLACE",
    type=PLACE,
    required=True,
    help="earliest, latest, an offset (42), a time (2013-07-01T00:00Z) or a shift (-10, +10).",
)
@click.option(
    "--topic", "topics", metavar="NAME", multiple=True, help="All partitions of it. Repeatable."
)
@click.option(
    "--partition",
    "partitions",
    metavar="TOPIC:N",
    type=TOPIC_PARTITION,
    multiple=True,
    help="One partition. Repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Show where it would go and change nothing.")
@pass_target
def reset(
    target: Target,
    group: str,
    place: Place,
    topics: tuple[str, ...],
    partitions: tuple[tuple[str, int], ...],
    dry_run: bool,
) -> None:
    """Move the committed offsets of GROUP, which must have no members.

    Without --topic and --partition: in all partitions that the group has committed. What lies
    outside a log is moved to its nearest end.
    """
    with target.open() as store:
        before = {
            (item.topic, item.partition): item.offset for item in store.committed_offsets(group)
        }
        chosen = list(partitions)
        if not topics and not chosen:
            chosen = sorted(before)
            if not chosen:
                raise click.ClickException(
                    f"group {group} has committed nothing; name what to set with --topic"
                )
        after = store.reset_offsets(
            group, RESETS[place.kind], place.value,
            topics=topics, partitions=chosen, dry_run=dry_run,
        )  # fmt: skip
    after.sort(key=lambda item: (item.topic, item.partition))
    print_table(
        ("topic", "partition", "from", "to"),
        [
            (item.topic, item.partition, before.get((item.topic, item.partition)), item.offset)
            for item in after
        ],
    )
    if dry_run:
        click.echo("nothing was changed", err=True)


@command.command()
@click.argument("names", metavar="GROUP...", nargs=-1, required=True)
@pass_target
def delete(target: Target, names: tuple[str, ...]) -> None:
    """Delete groups, which must have no members, with their committed offsets."""
    with target.open() as store:
        for name in dict.fromkeys(names):
            store.delete_group(name)
            click.echo(f"deleted group {name}")


def format_partitions(partitions: Sequence[TopicPartition]) -> str:
    """Grouped by topic: "orders:0,1 parcels:2"."""
    numbers: dict[str, list[int]] = {}
    for topic, partition in sorted(partitions):
        numbers.setdefault(topic, []).append(partition)
    return " ".join(f"{topic}:{','.join(map(str, owned))}" for topic, owned in numbers.items())


def group_as_json(info: GroupInfo) -> dict[str, object]:
    return {
        "group": info.group_id,
        "kind": str(info.kind),
        "state": info.state,
        "epoch": info.group_epoch,
        "assignor": info.assignor,
        "endpoint": info.endpoint,
        "members": [
            {
                "member_id": member.member_id,
                "instance_id": member.instance_id,
                "client_id": member.client_id,
                "client_host": member.client_host,
                "epoch": member.member_epoch,
                "topics": list(member.subscribed_topics),
                "pattern": member.subscribed_pattern,
                "assigned": [list(partition) for partition in member.assigned],
                "target": [list(partition) for partition in member.target],
            }
            for member in info.members
        ],
        "offsets": [
            {
                "topic": item.topic,
                "partition": item.partition,
                "committed": None if item.committed < 0 else item.committed,
                "high_watermark": item.high_watermark,
                "lag": item.lag,
                "metadata": item.metadata,
                "member_id": item.member_id,
            }
            for item in info.offsets
        ],
    }
