"""`logstore dump`: what the files of a store say, as lines."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from logstore_server.commands.bar import Bar
from logstore_server.commands.record_output import as_dict
from logstore_server.commands.values import format_time

if TYPE_CHECKING:
    from logstore.verify import Item

VALUE_CHARACTERS_MAX = 120  # of a key or value on a line for people


@click.command(short_help="Print what is in the files of a store.")
@click.argument("path", metavar="PATH", type=click.Path())
@click.option("--records", "-r", is_flag=True, help="Print the records of each batch too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
def command(path: str, records: bool, as_json: bool) -> None:
    """Print what PATH says: a segment, an index, a snapshot or another file of a store, the
    directory of a partition or a store, or a topic as DIR/TOPIC.

    Changes nothing and takes no lock. What is damaged is printed as such; `logstore verify` says
    what it means.

    \b
    logstore dump data/orders --records
    logstore dump data/orders-0/00000000000000000000.log --json
    """
    from logstore.fs import RealFileSystem
    from logstore.verify import dump

    is_watched = sys.stderr.isatty() and not sys.stdout.isatty()
    with Bar(enabled=is_watched) as bar:
        for item in dump(RealFileSystem(), path, records=records, on_progress=bar.show):
            click.echo(json_line(item) if as_json else text_line(item))


def json_line(item: Item) -> str:
    facts: dict[str, object] = {"kind": item.kind, "path": item.path, **item.fields}
    if item.record is not None:
        facts.update(as_dict(item.record))
        for name in ("topic", "partition"):  # the path says it
            del facts[name]
    return json.dumps(facts, ensure_ascii=False)


def text_line(item: Item) -> str:
    fields = item.fields
    if item.kind == "file":
        return f"{item.path}  {fields['bytes']:,} bytes"
    if item.kind == "line":
        return f"  {fields['text']}"
    if item.record is not None:
        record = item.record
        parts = [f"    {record.offset}", format_time(record.timestamp)]
        parts += [f"{name}={_value(data)}" for name, data in record.headers]
        parts += [f"key={_value(record.key)}", f"value={_value(record.value)}"]
        return "  ".join(part for part in parts if part)
    return f"  {item.kind}  " + "  ".join(
        f"{name}={_field(name, value)}" for name, value in fields.items()
    )


def _field(name: str, value: object) -> str:
    if name.endswith("timestamp") and isinstance(value, int):
        return format_time(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "[" + "; ".join(str(part) for part in value) + "]"
    return str(value)


def _value(data: bytes | None) -> str:
    """On one line whatever is in it."""
    if data is None:
        return "null"
    text = data[: 4 * VALUE_CHARACTERS_MAX].decode("utf-8", "backslashreplace")
    shown = "".join(
        character if character.isprintable() else repr(character)[1:-1]
        for character in text[:VALUE_CHARACTERS_MAX]
    )
    is_cut = len(text) > VALUE_CHARACTERS_MAX or len(data) > 4 * VALUE_CHARACTERS_MAX
    return f"{shown}... ({len(data):,} bytes)" if is_cut else shown
