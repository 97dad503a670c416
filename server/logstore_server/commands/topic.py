"""`logstore topic`: create, list, describe, alter, delete, add-partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from logstore_server.commands.params import ASSIGNMENT
from logstore_server.commands.tables import json_option, print_facts, print_json, print_table
from logstore_server.commands.target import Target, pass_target
from logstore_server.commands.values import format_bytes, plural

if TYPE_CHECKING:
    from logstore.api import TopicInfo

config_option = click.option(
    "--config", "-c", "configs", metavar="NAME=VALUE", type=ASSIGNMENT, multiple=True,
    help="A config of the topic; 'logstore topic configs' lists them. May be repeated.",
)  # fmt: skip


@click.group(short_help="Create, list, describe, alter and delete topics.")
def command() -> None:
    """Create, list, describe, alter and delete topics."""


@command.command()
@click.argument("name")
@click.option(
    "--partitions",
    "-p",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="More partitions, more consumers of one group at work side by side.",
)
@config_option
@click.option("--if-not-exists", is_flag=True, help="It is no error if the topic is there.")
@pass_target
def create(
    target: Target,
    name: str,
    partitions: int,
    configs: tuple[tuple[str, str], ...],
    if_not_exists: bool,
) -> None:
    """Create the topic NAME."""
    from logstore.errors import TopicExistsError

    with target.open(create=True) as store:
        try:
            topic = store.create_topic(name, partitions=partitions, configs=dict(configs))
        except TopicExistsError:
            if not if_not_exists:
                raise
            click.echo(f"topic {name} is there already")
            return
    click.echo(f"created topic {name} with {plural(len(topic.partitions), 'partition')}")


@command.command("list")
@click.option("--internal", is_flag=True, help="Also the topics that the store keeps for itself.")
@json_option
@pass_target
def list_topics(target: Target, internal: bool, as_json: bool) -> None:
    """List topics with what they hold."""
    with target.open() as store:
        topics = store.describe_topics(include_internal=internal)
    topics.sort(key=lambda topic: topic.name)
    if as_json:
        print_json([topic_as_json(topic) for topic in topics])
    elif not topics:
        click.echo(f"no topics; 'logstore {target.flags}topic create NAME' adds one", err=True)
    else:
        print_table(
            ("topic", "partitions", "records", "size"),
            [
                (topic.name, len(topic.partitions), records_in(topic), format_bytes(size_of(topic)))
                for topic in topics
            ],
        )


@command.command()
@click.argument("name")
@json_option
@pass_target
def describe(target: Target, name: str, as_json: bool) -> None:
    """Show the partitions and configs of the topic NAME."""
    with target.open() as store:
        (topic,) = store.describe_topics([name])
    if as_json:
        print_json(topic_as_json(topic))
        return
    print_facts(
        [
            ("topic", topic.name),
            ("id", topic.topic_id),
            ("records", records_in(topic)),
            ("size", format_bytes(size_of(topic))),
        ]
    )
    click.echo()
    print_table(
        ("partition", "start", "end", "records", "size", "epoch"),
        [
            (
                partition.partition,
                partition.log_start_offset,
                partition.high_watermark,
                partition.high_watermark - partition.log_start_offset,
                format_bytes(partition.size_bytes),
                partition.leader_epoch,
            )
            for partition in topic.partitions
        ],
    )
    click.echo()
    print_table(
        ("config", "value", "set"),
        [
            (config, value, "here" if config in topic.overrides else "default")
            for config, value in sorted(topic.configs.items())
        ],
    )


@command.command()
@click.argument("name")
@config_option
@click.option(
    "--reset", "-r", "resets", metavar="NAME", multiple=True,
    help="A config that goes back to its default. May be repeated.",
)  # fmt: skip
@pass_target
def alter(
    target: Target, name: str, configs: tuple[tuple[str, str], ...], resets: tuple[str, ...]
) -> None:
    """Change configs of the topic NAME."""
    if not configs and not resets:
        raise click.UsageError("nothing to change: give --config NAME=VALUE or --reset NAME")
    with target.open() as store:
        topic = store.alter_topic(name, set_configs=dict(configs), reset_configs=resets)
    overrides = ", ".join(f"{config}={value}" for config, value in sorted(topic.overrides.items()))
    click.echo(f"altered topic {name}; set on it: {overrides or 'nothing'}")


@command.command("add-partitions")
@click.argument("name")
@click.option(
    "--total", metavar="N", type=click.IntRange(min=1), required=True,
    help="How many partitions the topic will have.",
)  # fmt: skip
@pass_target
def add_partitions(target: Target, name: str, total: int) -> None:
    """Give the topic NAME more partitions.

    Records stay where they are, but new records of a key may go to another partition than the
    old ones: what relies on the order by key should be done with the old ones first.
    """
    with target.open() as store:
        topic = store.add_partitions(name, total=total)
    click.echo(f"topic {name} has {plural(len(topic.partitions), 'partition')}")


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@pass_target
def delete(target: Target, names: tuple[str, ...], yes: bool) -> None:
    """Delete topics with all their records."""
    with target.open() as store:
        topics = store.describe_topics(list(dict.fromkeys(names)))
        for topic in topics:
            records = plural(records_in(topic), "record")
            if not yes and not click.confirm(f"delete topic {topic.name} with {records}?"):
                click.echo(f"kept topic {topic.name}")
                continue
            store.delete_topic(topic.name)
            click.echo(f"deleted topic {topic.name} with {records}")


@command.command()
@json_option
def configs(as_json: bool) -> None:
    """List the configs that a topic can have. Kafka's names for them are taken too."""
    from logstore.config import TOPIC_CONFIGS
    from logstore.config_names import kafka_name

    keys = sorted(TOPIC_CONFIGS.values(), key=lambda key: key.name)
    if as_json:
        print_json(
            [
                {
                    "name": key.name,
                    "kafka_name": kafka_name(key.name),
                    "default": key.default,
                    "allowed": key.allowed,
                    "documentation": key.documentation,
                }
                for key in keys
            ]
        )
        return
    for key in keys:
        click.echo(f"{key.name} (default {key.default}; {key.allowed})")
        click.echo(click.wrap_text(key.documentation, 96, "    ", "    "))


def records_in(topic: TopicInfo) -> int:
    return sum(
        partition.high_watermark - partition.log_start_offset for partition in topic.partitions
    )


def size_of(topic: TopicInfo) -> int:
    return sum(partition.size_bytes for partition in topic.partitions)


def topic_as_json(topic: TopicInfo) -> dict[str, object]:
    return {
        "name": topic.name,
        "id": str(topic.topic_id),
        "internal": topic.internal,
        "records": records_in(topic),
        "size_bytes": size_of(topic),
        "configs": dict(topic.configs),
        "overrides": dict(topic.overrides),
        "partitions": [
            {
                "partition": partition.partition,
                "log_start_offset": partition.log_start_offset,
                "high_watermark": partition.high_watermark,
                "log_end_offset": partition.log_end_offset,
                "leader_epoch": partition.leader_epoch,
                "size_bytes": partition.size_bytes,
                "endpoint": partition.endpoint,
            }
            for partition in topic.partitions
        ],
    }
