from __future__ import annotations

import json
from pathlib import Path

from tests.server.commands.conftest import Run, rows


def damaged(run: Run, directory: Path) -> None:
    run("topic", "create", "orders")
    run("produce", "orders", input="a\nb\n")
    log = directory / "orders-0" / f"{0:020d}.log"
    content = bytearray(log.read_bytes())
    content[-3] ^= 1
    log.write_bytes(content)


def test_a_sound_store(run: Run, directory: Path) -> None:
    run("topic", "create", "orders")
    run("produce", "orders", input="a\nb\n")
    table = rows(run("verify", str(directory)))
    assert ["damages", "0"] in table
    assert ["partitions", "3"] in table


def test_damage_is_named_and_is_the_exit_code(run: Run, directory: Path) -> None:
    damaged(run, directory)
    lines = run("verify", str(directory), exit_code=1).stdout.splitlines()
    assert lines[0].startswith(f"damage: orders-0/{0:020d}.log:0: the batch of offsets 0 to 1")
    assert lines[1] == "    offsets 0 to 1"
    assert lines[2] == "    still to be read: offsets from 2 on"


def test_json_for_programs(run: Run, directory: Path) -> None:
    damaged(run, directory)
    report = json.loads(run("verify", str(directory), "--json", exit_code=1).stdout)
    assert report["damaged"]
    (found,) = report["findings"]
    assert (found["severity"], found["position"], found["last_offset"]) == ("damage", 0, 1)


def test_not_a_store(run: Run, directory: Path) -> None:
    directory.mkdir()
    assert "is not a logstore" in run("verify", str(directory), exit_code=1).stderr
