"""`logstore consume`: records of topics to standard output, alone or as a member of a group."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from logstore_server.commands.params import PLACE
from logstore_server.commands.record_output import Format, record_format
from logstore_server.commands.target import Target, pass_target
from logstore_server.commands.values import Place, PlaceKind

if TYPE_CHECKING:
    from logstore.api import PartitionInfo
    from logstore.client import Consumer, Store
    from logstore.record import Record

POLL_S = 0.25  # how late --idle-exit and an interrupted wait may be noticed
POLL_RECORDS_MAX = 2000  # written to standard output, and committed, at one time
Part = tuple[str, int]  # topic and partition


@click.command(short_help="Read records of topics and print them.")
@click.argument("topics", metavar="TOPIC...", nargs=-1, required=True)
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    type=PLACE,
    help="beginning (the default), end, an offset (42), so many before the end (-10) or a time "
    "(2013-07-01T00:00Z). With --group: where to begin what the group has not read yet.",
)
@click.option(
    "--group",
    "-g",
    metavar="NAME",
    help="Share the topics with the other consumers of this group, go on where it stopped, and "
    "commit what was printed.",
)
@click.option(
    "--partition",
    "-p",
    "partitions",
    metavar="N",
    type=click.IntRange(min=0),
    multiple=True,
    help="Only this partition. May be repeated.",
)
@click.option(
    "--format",
    "-f",
    "output_format",
    metavar="FORMAT",
    default="value",
    show_default=True,
    help="value, key-value, json, or a template such as '{time} {partition}:{offset} "
    "{key}={value}\\n' (fields: topic, partition, offset, timestamp, time, key, value, headers).",
)
@click.option(
    "--key-separator",
    "-K",
    metavar="TEXT",
    default="\t",
    help="What --format key-value puts between the two.  [default: a tab]",
)
@click.option(
    "--max",
    "-n",
    "count",
    metavar="N",
    type=click.IntRange(min=1),
    help="Stop after so many records.",
)
@click.option(
    "--exit-at-end",
    "-e",
    is_flag=True,
    help="Stop when all that was there at the start is printed.",
)
@click.option(
    "--idle-exit",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop when nothing came for so long.",
)
@pass_target
def command(
    target: Target,
    topics: tuple[str, ...],
    place: Place | None,
    group: str | None,
    partitions: tuple[int, ...],
    output_format: str,
    key_separator: str,
    count: int | None,
    exit_at_end: bool,
    idle_exit: float | None,
) -> None:
    """Print the records of the TOPICs, and wait for more until Ctrl-C.

    \b
    logstore consume orders --from -10
    logstore consume orders --from 2013-07-01T00:00Z --exit-at-end --format json
    logstore consume orders --group billing --max 100
    """
    try:
        render = record_format(output_format, key_separator=key_separator)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--format'") from None
    if group is not None:
        _check_group_options(group, place, partitions)
    with target.open() as store:
        logs = _logs(store, list(dict.fromkeys(topics)), partitions)
        ends = {
            part: log.high_watermark
            for part, log in logs.items()
            if log.high_watermark > log.log_start_offset
        }
        if group is None:
            consumer = _lone_consumer(store, logs, place or Place(PlaceKind.EARLIEST))
            committed = None
        else:
            consumer = _group_consumer(store, topics, group, place)
            committed = partial(_committed, store, group)
        with consumer:
            copier = Copier(
                consumer, render, ends=ends if exit_at_end else None, committed=committed
            )
            copier.run(records_max=count, idle_exit_s=idle_exit)


class Copier:
    """Copies what a consumer reads to standard output.

    `ends`: stop there, and print nothing beyond. `committed`: tells the offsets that the
    consumer's group has committed; given, what was printed is committed.
    """

    def __init__(
        self,
        consumer: Consumer,
        render: Format,
        *,
        ends: Mapping[Part, int] | None = None,
        committed: Callable[[], Mapping[Part, int]] | None = None,
    ) -> None:
        self._consumer = consumer
        self._render = render
        self._ends = ends
        self._committed = committed

    def run(self, *, records_max: int | None, idle_exit_s: float | None) -> None:
        left = sys.maxsize if records_max is None else records_max
        idle_since = time.monotonic()
        while left and not self._is_at_end():
            records = self._consumer.poll(POLL_S, max_records=min(left, POLL_RECORDS_MAX))
            if records:
                left -= self._copy(records)
                idle_since = time.monotonic()
            elif idle_exit_s is not None and time.monotonic() - idle_since >= idle_exit_s:
                return

    def _copy(self, records: Sequence[Record]) -> int:
        """How many were printed."""
        ends = self._ends
        if ends is not None:
            records = [record for record in records if record.offset < ends.get(_part(record), 0)]
        sys.stdout.buffer.write(b"".join(map(self._render, records)))
        sys.stdout.buffer.flush()
        if self._committed is not None:
            self._consumer.commit({_part(record): record.offset + 1 for record in records})
        return len(records)

    def _is_at_end(self) -> bool:
        """Whether everything up to the ends was read, by this consumer or others of its group."""
        if self._ends is None:
            return False
        own = self._consumer.assignment()
        behind = [
            part
            for part, end in self._ends.items()
            if part not in own or self._consumer.position(*part) < end
        ]
        if not behind:
            return True
        if self._committed is None or own.intersection(behind):
            return False
        committed = self._committed()
        return all(committed.get(part, -1) >= self._ends[part] for part in behind)


def _part(record: Record) -> Part:
    return record.topic, record.partition


def _check_group_options(group: str, place: Place | None, partitions: Sequence[int]) -> None:
    if partitions:
        raise click.UsageError("--partition goes without --group, which shares all partitions out")
    if place is not None and place.kind not in (PlaceKind.EARLIEST, PlaceKind.LATEST):
        raise click.UsageError(
            "with --group, --from takes beginning or end; to move a group elsewhere: "
            f"logstore group reset {group} --to PLACE"
        )


def _logs(
    store: Store, topics: Sequence[str], partitions: Sequence[int]
) -> dict[Part, PartitionInfo]:
    """The chosen partitions, or all, of each topic."""
    from logstore.errors import UnknownPartitionError

    logs: dict[Part, PartitionInfo] = {}
    for topic in store.describe_topics(topics):
        known = {log.partition: log for log in topic.partitions}
        for number in partitions or known:
            if number not in known:
                raise UnknownPartitionError(
                    f"topic {topic.name!r} has no partition {number}: it has 0 to {len(known) - 1}"
                )
            logs[topic.name, number] = known[number]
    return logs


def _lone_consumer(store: Store, logs: Mapping[Part, PartitionInfo], place: Place) -> Consumer:
    consumer = store.consumer(auto_offset_reset="earliest", client_id="logstore consume")
    consumer.assign(logs)
    if place.kind is PlaceKind.TIME:
        consumer.seek_to_timestamp(place.value)
    else:
        for (topic, partition), log in logs.items():
            consumer.seek(topic, partition, start_offset(log, place))
    return consumer


def start_offset(log: PartitionInfo, place: Place) -> int:
    """Where the place is in a log; what lies outside is moved to the nearest end."""
    start, end = log.log_start_offset, log.high_watermark
    offset = {
        PlaceKind.EARLIEST: start,
        PlaceKind.LATEST: end,
        PlaceKind.OFFSET: place.value,
        PlaceKind.SHIFT: (end if place.value < 0 else start) + place.value,
    }[place.kind]
    return min(max(offset, start), end)


def _group_consumer(
    store: Store, topics: Sequence[str], group: str, place: Place | None
) -> Consumer:
    is_latest = place is not None and place.kind is PlaceKind.LATEST
    return store.consumer(
        *dict.fromkeys(topics),
        group=group,
        auto_offset_reset="latest" if is_latest else "earliest",
        enable_auto_commit=False,  # Copier commits what was printed
        client_id="logstore consume",
    )


def _committed(store: Store, group: str) -> dict[Part, int]:
    return {(item.topic, item.partition): item.offset for item in store.committed_offsets(group)}
