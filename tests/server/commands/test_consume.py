import json
import time
from typing import cast

import pytest

from logstore.api import PartitionInfo, TopicPartition
from logstore.client import Consumer
from logstore.record import Record
from logstore_server.commands.consume import Copier, start_offset
from logstore_server.commands.values import parse_place
from tests.server.commands.conftest import Run

HOUR_MS = 3_600_000
JULY_MS = 1372636800000


@pytest.fixture(autouse=True)
def topic(run: Run) -> None:
    """Two partitions of ten records, an hour apart from 2013-07-01 on."""
    run("topic", "create", "orders", "-p", "2")
    lines = [
        json.dumps({"value": f"{partition}-{i}", "partition": partition,
                    "timestamp": JULY_MS + i * HOUR_MS})
        for i in range(10) for partition in (0, 1)
    ]  # fmt: skip
    run("produce", "orders", "-f", "json", input="\n".join(lines))


def printed(run: Run, *options: str) -> list[str]:
    return sorted(run("consume", "orders", "-e", *options).stdout.splitlines())


def expected(first: int, last: int = 9, partitions: tuple[int, ...] = (0, 1)) -> list[str]:
    return [f"{part}-{i}" for part in partitions for i in range(first, last + 1)]


@pytest.mark.parametrize(
    ("place", "first"),
    [
        ("beginning", 0),
        ("end", 10),
        ("7", 7),
        ("99", 10),
        ("-2", 8),
        ("-99", 0),
        ("+3", 3),
        ("2013-07-01T05:00Z", 5),
        ("2013-07-01T04:30Z", 5),
        ("2013-08-01", 10),
    ],
)
def test_where_to_begin(run: Run, place: str, first: int) -> None:
    assert printed(run, "--from", place) == expected(first)


@pytest.mark.parametrize(
    ("place", "offset"),
    [("beginning", 5), ("end", 9), ("7", 7), ("2", 5), ("-1", 8), ("-9", 5), ("+1", 6), ("+9", 9)],
)
def test_places_in_a_log_whose_start_was_deleted(place: str, offset: int) -> None:
    log = PartitionInfo(0, "", 0, log_start_offset=5, high_watermark=9, log_end_offset=9,
                        size_bytes=0)  # fmt: skip
    assert start_offset(log, parse_place(place)) == offset


def test_chosen_partitions(run: Run) -> None:
    assert printed(run, "-p", "1") == expected(0, partitions=(1,))
    assert "it has 0 to 1" in run("consume", "orders", "-p", "2", exit_code=1).stderr


def test_several_topics(run: Run) -> None:
    run("topic", "create", "audit")
    run("produce", "audit", input="x\n")
    everything = run("consume", "audit", "orders", "audit", "-e").stdout.splitlines()
    assert sorted(everything) == sorted([*expected(0), "x"])


def test_at_most_so_many(run: Run) -> None:
    assert len(run("consume", "orders", "-n", "3").stdout.splitlines()) == 3


def test_an_empty_topic_has_an_end(run: Run) -> None:
    run("topic", "create", "empty")
    assert run("consume", "empty", "-e").output == ""
    assert run("consume", "empty", "-e", "-g", "g").output == ""


def test_idle_exit(run: Run) -> None:
    began = time.monotonic()
    assert run("consume", "orders", "--from", "end", "--idle-exit", "0.3").output == ""
    assert 0.3 <= time.monotonic() - began < 5


def test_a_group_goes_on_where_it_stopped(run: Run) -> None:
    first = run("consume", "orders", "-g", "billing", "-n", "5").stdout.splitlines()
    rest = run("consume", "orders", "-g", "billing", "-e").stdout.splitlines()
    assert len(first) == 5
    assert sorted(first + rest) == expected(0)
    assert run("consume", "orders", "-g", "billing", "-e").output == ""


def test_a_new_group_may_begin_at_the_end(run: Run) -> None:
    assert run("consume", "orders", "-g", "g", "--from", "end", "-e").output == ""


class DoneWithItsShare:
    """A consumer that has read the only partition it owns."""

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("orders", 0)}

    def position(self, topic: str, partition: int) -> int:
        return 10

    def poll(self, timeout: float, *, max_records: int) -> list[Record]:
        return []


def test_at_the_end_the_others_of_the_group_are_waited_for() -> None:
    answers = iter([{}, {("orders", 1): 9}, {("orders", 1): 10}])
    copier = Copier(
        cast("Consumer", DoneWithItsShare()),
        lambda record: b"",
        ends={("orders", 0): 10, ("orders", 1): 10},
        committed=lambda: next(answers),
    )
    copier.run(records_max=None, idle_exit_s=None)
    assert next(answers, None) is None


def test_options_that_do_not_go_together(run: Run) -> None:
    refused = run("consume", "orders", "-g", "g", "--from", "7", exit_code=2)
    assert "logstore group reset g --to PLACE" in refused.stderr
    run("consume", "orders", "-g", "g", "-p", "0", exit_code=2)
    assert "none of value" in run("consume", "orders", "-f", "xml", exit_code=2).stderr
    assert "is none of" in run("consume", "orders", "--from", "noon", exit_code=2).stderr


def test_an_unknown_topic(run: Run) -> None:
    assert "there is no topic 'nope'" in run("consume", "nope", exit_code=1).stderr
    assert "there is no topic 'nope'" in run("consume", "nope", "-g", "g", exit_code=1).stderr
