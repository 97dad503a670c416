from __future__ import annotations

import json
from pathlib import Path

import pytest

from logstore.client import Store
from tests.server.commands.conftest import Run


@pytest.fixture
def filled(run: Run) -> Run:
    run("topic", "create", "orders", "-p", "2")
    run("produce", "orders", "-p", "1", "-K", "\t", input="k\tvalue one\nk\ttwo\n")
    return run


def test_a_topic_of_a_store(filled: Run, directory: Path) -> None:
    lines = filled("dump", f"{directory}/orders", "--records").stdout.splitlines()
    log = f"{directory}/orders-1/{0:020d}.log"
    at = next(number for number, line in enumerate(lines) if line.startswith(log))
    assert lines[at + 1].startswith("  batch  position=0  bytes=")
    assert "first_offset=0  last_offset=1  records=2" in lines[at + 1]
    assert "crc_holds=yes  producer=0" in lines[at + 1]
    assert lines[at + 2].startswith("    0  ")
    assert lines[at + 2].endswith("key=k  value=value one")
    assert any(line.startswith(f"{directory}/orders-0/") for line in lines)


def test_json_for_programs(filled: Run, directory: Path) -> None:
    output = filled("dump", f"{directory}/orders-1", "-r", "--json").stdout
    items = [json.loads(line) for line in output.splitlines()]
    records = [item for item in items if item["kind"] == "record"]
    assert [(item["offset"], item["key"], item["value"]) for item in records] == [
        (0, "k", "value one"),
        (1, "k", "two"),
    ]
    (batch,) = (item for item in items if item["kind"] == "batch")
    assert (batch["position"], batch["records"], batch["crc_holds"]) == (0, 2, True)
    assert {"file", "batch", "record", "entry", "producer", "block", "end", "line"} >= {
        item["kind"] for item in items
    }


def test_a_whole_store(filled: Run, directory: Path) -> None:
    output = filled("dump", str(directory)).stdout
    for text in ("logstore=meta", "slot  topic_id=", "__cluster_metadata-0", "orders-1"):
        assert text in output
    assert "    0  " not in output  # no records


def test_damage_is_shown_and_the_rest_goes_on(filled: Run, directory: Path) -> None:
    filled("produce", "orders", "-p", "1", input="three\n")
    log = directory / "orders-1" / f"{0:020d}.log"
    content = bytearray(log.read_bytes())
    content[5:40] = bytes(35)
    log.write_bytes(content)
    lines = filled("dump", str(log)).stdout.splitlines()
    assert lines[1].startswith("  damage  position=0  bytes=")
    assert "no record batch" in lines[1]
    assert "first_offset=2" in lines[2]


def test_values_stay_on_one_line(run: Run, directory: Path, store: Store) -> None:
    with store:
        store.create_topic("t")
        with store.producer() as producer:
            producer.send("t", b"a\nb\xff" + b"x" * 1000, headers=[("h", None)])
    lines = run("dump", f"{directory}/t-0/{0:020d}.log", "-r").stdout.splitlines()
    assert len(lines) == 3
    assert r"h=null  key=null  value=a\nb\xff" in lines[2]
    assert lines[2].endswith("... (1,004 bytes)")


def test_nothing_of_that_name(filled: Run, directory: Path) -> None:
    result = filled("dump", f"{directory}/other", exit_code=1)
    assert "other: no such file, partition or topic" in result.stderr
