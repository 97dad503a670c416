"""`logstore import`: the topics of a stopped Kafka broker, taken into a store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from logstore_server.commands.bar import Bar
from logstore_server.commands.tables import json_option, print_facts, print_json, print_table
from logstore_server.commands.target import Target, pass_target
from logstore_server.commands.topic import config_option

if TYPE_CHECKING:
    from logstore.adopt import Adoption


@click.command("import", short_help="Take over the topics of a stopped Kafka broker.")
@click.argument(
    "directories",
    metavar="DIR...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False),
)
@click.option("--topic", "-t", "topics", metavar="NAME", multiple=True, help="Only this one.")
@config_option
@click.option(
    "--unclean", is_flag=True, help="The broker was killed: a torn end of a log is left out."
)
@click.option("--no-offsets", is_flag=True, help="Leave the committed offsets of groups.")
@click.option("--offsets-only", is_flag=True, help="The topics were taken over before.")
@json_option
@pass_target
def command(
    target: Target,
    directories: tuple[str, ...],
    topics: tuple[str, ...],
    configs: tuple[tuple[str, str], ...],
    unclean: bool,
    no_offsets: bool,
    offsets_only: bool,
    as_json: bool,
) -> None:
    """Copy the partitions in DIR..., all log directories (log.dirs) of a Kafka broker that was
    stopped, into the store of --store, which no server may have open. DIR is not changed.

    Offsets, timestamps, leader epochs and the bytes of the record batches are kept, and the topics'
    ids; committed offsets of groups follow. A topic that the store has already is refused before
    anything is copied. One that cannot be read is not there afterwards; those before it are.

    Configs of topics are not in these directories: say them with --config (for all that are taken
    over). Keys keep their partitions: partitioner=murmur2, as of Kafka's clients.

    \b
    logstore --store data import /var/lib/kafka/data
    """
    from logstore.adopt import adopt
    from logstore.fs import RealFileSystem
    from logstore.store import LocalLogStore
    from logstore.verify.findings import Progress

    if target.directory is None:
        raise click.UsageError("say where to: logstore --store DIR import ...")
    store = LocalLogStore.open(str(target.directory))
    try:
        with Bar(enabled=sys.stderr.isatty()) as bar:
            result = adopt(
                store,
                RealFileSystem(),
                directories,
                topics=topics,
                configs=dict(configs),
                unclean=unclean,
                with_topics=not offsets_only,
                with_offsets=not no_offsets,
                on_progress=lambda *seen: bar.show(Progress(*seen)),
            )
    finally:
        store.close()
    if as_json:
        print_json(as_dict(result))
    else:
        print_result(result)


def as_dict(result: Adoption) -> dict[str, object]:
    return {
        "topics": [
            {
                "topic": item.topic,
                "partitions": item.partitions,
                "bytes": item.size_bytes,
                "end_offsets": list(item.end_offsets),
            }
            for item in result.topics
        ],
        "groups": result.groups,
        "notes": result.notes,
    }


def print_result(result: Adoption) -> None:
    for note in result.notes:
        click.echo(note)
    print_table(
        ["topic", "partitions", "bytes", "end offsets"],
        [
            [item.topic, item.partitions, item.size_bytes, " ".join(map(str, item.end_offsets))]
            for item in result.topics
        ],
    )
    print_facts([("groups", len(result.groups)), ("offsets", sum(result.groups.values()))])
