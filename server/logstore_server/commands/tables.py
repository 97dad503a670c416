"""What commands print: tables that read well in a terminal, in a file and through `grep`.

No lines are drawn and nothing is cut or wrapped unless a terminal is too narrow. For programs
there is `--json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 500  # where there is no terminal, wide enough to cut nothing

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for programs instead of a table."
)


def console() -> Console:
    from rich.console import Console

    return Console(
        highlight=False, markup=False, emoji=False,
        width=None if sys.stdout.isatty() else PLAIN_WIDTH,
    )  # fmt: skip


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns whose values are all numbers are set right, with thousands apart."""
    from rich.table import Table

    rows = [list(row) for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, name in enumerate(columns):
        values = [row[index] for row in rows if row[index] is not None]
        numeric = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(
            name.upper(), justify="right" if numeric else "left", overflow="fold", no_wrap=False
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _print_stripped(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """A name and a value a line."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, _cell(value))
    _print_stripped(table)


def _print_stripped(table: object) -> None:
    """Into a file without the blanks that rich puts at the ends of lines."""
    out = console()
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None or value == "" else str(value)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
