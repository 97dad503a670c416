"""`logstore produce`: lines, JSON lines or whole files into a topic."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from logstore_server.commands.params import ASSIGNMENT
from logstore_server.commands.progress import Progress
from logstore_server.commands.record_input import (
    InputError,
    InputRecord,
    read_lines,
    records_from_json,
    records_from_lines,
)
from logstore_server.commands.target import Target, pass_target
from logstore_server.commands.values import plural

if TYPE_CHECKING:
    from logstore.client import Delivery
    from logstore.errors import LogStoreError

RATE_RECORDS_MIN = 10_000  # of fewer the rate tells how long the input took to come
ACKS: dict[str, str | int] = {"all": "all", "leader": 1, "none": 0}


@click.command(short_help="Write records read from standard input or files to a topic.")
@click.argument("topic")
@click.argument("files", metavar="[FILE]...", type=click.File("rb"), nargs=-1)
@click.option(
    "--format",
    "-f",
    "input_format",
    type=click.Choice(["lines", "json", "file"]),
    default="lines",
    show_default=True,
    help="lines: a record a line. json: an object a line with key, value, headers, timestamp, "
    "partition. file: each input is one record.",
)
@click.option(
    "--key-separator", "-K", metavar="TEXT", help="What stands before it in a line is the key."
)
@click.option("--key", "-k", metavar="TEXT", help="The key of records that have none.")
@click.option(
    "--header",
    "-H",
    "headers",
    metavar="NAME=VALUE",
    type=ASSIGNMENT,
    multiple=True,
    help="A header of every record. May be repeated.",
)
@click.option(
    "--partition",
    "-p",
    metavar="N",
    type=click.IntRange(min=0),
    help="The partition of every record, instead of the one that the key chooses.",
)
@click.option(
    "--compression",
    "-z",
    type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]),
    default="none",
    show_default=True,
)
@click.option(
    "--acks",
    type=click.Choice(list(ACKS)),
    default="all",
    show_default=True,
    help="all: durable as the topic's config says. leader: written. none: sent.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")
@pass_target
def command(
    target: Target,
    topic: str,
    files: tuple[BinaryIO, ...],
    input_format: str,
    key_separator: str | None,
    key: str | None,
    headers: tuple[tuple[str, str], ...],
    partition: int | None,
    compression: str,
    acks: str,
    quiet: bool,
) -> None:
    """Write records read from the FILEs, or from standard input, to TOPIC.

    \b
    echo hello | logstore produce greetings
    logstore produce orders --key-separator : < orders.txt
    logstore produce events --format json events.jsonl
    logstore produce scans --format file *.pdf
    """
    if key_separator == "":
        raise click.UsageError("--key-separator must not be empty")
    if key_separator is not None and input_format != "lines":
        raise click.UsageError("--key-separator goes with --format lines only")
    inputs = files or (sys.stdin.buffer,)
    common = InputRecord(
        None,
        None if key is None else key.encode(),
        tuple((name, value.encode()) for name, value in headers),
        partition=partition,
    )
    records = (record for stream in inputs for record in _read(stream, input_format, key_separator))
    progress = _progress(inputs, quiet)
    began = time.monotonic()
    complaint = _send(target, topic, records, common, progress, compression, ACKS[acks])
    seconds = time.monotonic() - began
    if complaint:
        raise click.ClickException(complaint)
    if not quiet:
        told = f"{plural(progress.records, 'record')} to {topic}"
        if progress.records >= RATE_RECORDS_MIN:
            told += f" in {seconds:.1f} s, {progress.records / seconds:,.0f} a second"
        click.echo(told, err=True)


def _send(
    target: Target,
    topic: str,
    records: Iterable[InputRecord],
    common: InputRecord,
    progress: Progress,
    compression: str,
    acks: str | int,
) -> str:
    """Send all, wait until they are stored; what went wrong, or "". Stops at what goes wrong.

    `common`: the headers of every record, and the key and partition of those that have none.
    """
    from logstore.errors import LogStoreError

    failures: list[LogStoreError] = []

    def on_delivery(delivery: Delivery) -> None:
        if delivery.error is not None:
            failures.append(delivery.error)

    complaint = ""
    with target.open() as store:
        store.describe_topic(topic)  # before the first line is read
        with (
            progress,
            store.producer(acks=acks, compression=compression, on_delivery=on_delivery) as producer,
        ):
            try:
                for record in records:
                    producer.send(
                        topic,
                        record.value,
                        common.key if record.key is None else record.key,
                        headers=record.headers + common.headers,
                        timestamp_ms=record.timestamp_ms,
                        partition=record.partition
                        if common.partition is None
                        else common.partition,
                    )
                    progress.add()
                    if failures:
                        break
            except (InputError, LogStoreError) as error:
                complaint = str(error)
    stored = progress.records - len(failures)
    if failures:
        complaint = f"{plural(len(failures), 'record')} could not be stored: {failures[0]}"
    if complaint and stored:
        complaint += (
            f"; {plural(stored, 'record')} before it {'was' if stored == 1 else 'were'} stored"
        )
    return complaint


def _read(stream: BinaryIO, input_format: str, key_separator: str | None) -> Iterator[InputRecord]:
    name = "standard input" if stream is sys.stdin.buffer else stream.name
    if input_format == "file":
        return iter([InputRecord(stream.read())])
    lines = read_lines(stream)
    if input_format == "json":
        return records_from_json(lines, name=name)
    return records_from_lines(lines, name=name, key_separator=key_separator)


def _progress(inputs: tuple[BinaryIO, ...], quiet: bool) -> Progress:
    """Shown to a person who waits for a file or a pipe, not to one who types the records."""
    watched = not quiet and sys.stderr.isatty() and not sys.stdin.isatty()
    sizes = [_size_bytes(stream) for stream in inputs]
    total = 0 if None in sizes else sum(size for size in sizes if size is not None)
    return Progress(
        enabled=watched,
        total_bytes=total,
        done_bytes=lambda: sum(stream.tell() for stream in inputs),
    )


def _size_bytes(stream: BinaryIO) -> int | None:
    """None where it is not a file, and so has no end that is known."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
