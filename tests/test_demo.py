"""The demo as a user runs it, against counts taken from the CSV here."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from logstore_server.commands.demo.flights import find_archive

REPLAY_FROM = "2013-07-01T00:00:00Z"


@pytest.fixture(scope="module")
def counts() -> dict[str, int]:
    """ISO times of one form are ordered as text."""
    with zipfile.ZipFile(find_archive()) as files, files.open("flights.csv") as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
    return {
        "all": len(rows),
        "from July": sum(row["time_hour"] >= REPLAY_FROM for row in rows),
        "no tail number": sum(row["tailnum"] in ("", "NA") for row in rows),
    }


def test_the_csv_is_the_one_that_is_told_about(counts: dict[str, int]) -> None:
    assert counts == {"all": 336_776, "from July": 170_722, "no tail number": 2_512}


@pytest.mark.parametrize("options", [[], ["--server"]], ids=["embedded", "server"])
def test_every_record_arrives_where_it_should(
    options: list[str], counts: dict[str, int], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    done = subprocess.run(
        [sys.executable, "-m", "logstore_server", "demo", "--data", str(data), *options],
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    steps = {
        match[1].strip(): (number(match[2]), number(match[3]), number(match[4]))
        for match in re.finditer(
            r"^(.+?)  +\w+ +([\d,]+) +([\d,]+) +[\d.]+ +([\d,]+)  ok$", done.stdout, re.MULTILINE
        )
    }
    counted = {name: numbers[:2] for name, numbers in steps.items()}
    everything = (counts["all"], counts["all"])
    assert counted == {
        "produced into 6 partitions": everything,
        "shared by a group of 3": everything,
        "read by a second group": everything,
        "replayed from 2013-07-01T00:00Z": (counts["from July"], counts["from July"]),
    }
    assert all(rate > 0 for _, _, rate in steps.values())
    members = re.findall(r"^member \d +(\d, \d) +([\d,]+)$", done.stdout, re.MULTILINE)
    assert sorted("".join(partitions for partitions, _ in members).replace(", ", "")) == list(
        "012345"
    )
    assert sum(number(read) for _, read in members) == counts["all"]
    assert ", 0 of them read twice; lag left 0\n" in done.stdout
    assert f"{counts['no tail number']:,} have none" in done.stdout
    assert (data / "flights-5").is_dir()


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "logstore_server", "demo", "--data", str(tmp_path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is not empty; give --data a new directory" in done.stderr
