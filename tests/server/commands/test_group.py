import json

import pytest

from logstore.api import TopicPartition
from logstore_server.commands.group import format_partitions
from tests.server.commands.conftest import Run, rows


@pytest.fixture(autouse=True)
def group(run: Run) -> None:
    """billing has read 6 of 10 records of orders."""
    run("topic", "create", "orders")
    lines = [json.dumps({"value": str(i), "timestamp": 1372636800000 + i}) for i in range(10)]
    run("produce", "orders", "-f", "json", input="\n".join(lines))
    run("consume", "orders", "-g", "billing", "-n", "6")


def test_list(run: Run) -> None:
    assert rows(run("group", "list")) == [
        ["GROUP", "KIND", "STATE", "MEMBERS"],
        ["billing", "consumer", "empty", "0"],
    ]
    (item,) = json.loads(run("group", "list", "--json").stdout)
    assert item == {"group": "billing", "kind": "consumer", "state": "empty", "members": 0}


def test_describe_shows_the_lag(run: Run) -> None:
    table = rows(run("group", "describe", "billing"))
    assert ["lag", "4"] in table
    assert ["no", "members"] in table
    assert table[-1] == ["orders", "0", "6", "10", "4", "-"]
    (offsets,) = json.loads(run("group", "describe", "billing", "--json").stdout)["offsets"]
    assert (offsets["committed"], offsets["lag"]) == (6, 4)


@pytest.mark.parametrize(
    ("place", "offset"),
    [
        ("earliest", 0),
        ("latest", 10),
        ("3", 3),
        ("99", 10),
        ("-2", 4),
        ("+2", 8),
        ("2013-07-01T00:00:00.005Z", 5),
        ("2014-01-01", 10),
    ],
)
def test_reset(run: Run, place: str, offset: int) -> None:
    moved = rows(run("group", "reset", "billing", "--to", place))
    assert moved == [["TOPIC", "PARTITION", "FROM", "TO"], ["orders", "0", "6", str(offset)]]
    assert rows(run("group", "describe", "billing"))[-1][2] == str(offset)


def test_a_dry_run_changes_nothing(run: Run) -> None:
    shown = run("group", "reset", "billing", "--to", "0", "--dry-run")
    assert rows(shown)[-1] == ["orders", "0", "6", "0"]
    assert "nothing was changed" in shown.stderr
    assert rows(run("group", "describe", "billing"))[-1][2] == "6"


def test_a_new_group_can_be_placed(run: Run) -> None:
    refused = run("group", "reset", "new", "--to", "4", exit_code=1)
    assert "name what to set with --topic" in refused.stderr
    assert rows(run("group", "reset", "new", "--to", "4", "--topic", "orders"))[-1] == [
        "orders", "0", "-", "4"
    ]  # fmt: skip
    run("group", "reset", "new", "--to", "5", "--partition", "orders:0")
    assert run("consume", "orders", "-g", "new", "-e").stdout.split() == ["5", "6", "7", "8", "9"]


def test_bad_places_and_partitions(run: Run) -> None:
    run("group", "reset", "billing", "--to", "noon", exit_code=2)
    run("group", "reset", "billing", "--to", "0", "--partition", "orders", exit_code=2)
    run("group", "reset", "billing", "--to", "0", "--topic", "nope", exit_code=1)


def test_delete(run: Run) -> None:
    assert run("group", "delete", "billing").stdout == "deleted group billing\n"
    assert "no group 'billing'" in run("group", "describe", "billing", exit_code=1).stderr
    assert "no groups" in run("group", "list").stderr


def test_partitions_as_text() -> None:
    parts = [TopicPartition("b", 2), TopicPartition("a", 1), TopicPartition("a", 0)]
    assert format_partitions(parts) == "a:0,1 b:2"
