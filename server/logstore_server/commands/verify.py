"""`logstore verify`: is everything in a store's files what was written there?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from logstore_server.commands.bar import Bar
from logstore_server.commands.tables import json_option, print_facts, print_json

if TYPE_CHECKING:
    from logstore.verify import Finding, Report


@click.command(short_help="Check every file of a store, changing nothing.")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@json_option
def command(directory: str, as_json: bool) -> None:
    """Read everything in the store DIR and report what is not as it was written.

    Changes nothing and takes no lock: a server may be at work in DIR. A finding names the file, the
    position in it, the offsets it costs and what can still be read. A remark is what a crash or a
    writer at work leaves for the next opening to clear up.

    Exit code: 0 nothing is damaged, 1 something is, 2 wrong usage.
    """
    from logstore.fs import RealFileSystem
    from logstore.verify import verify_store

    with Bar(enabled=sys.stderr.isatty()) as bar:
        report = verify_store(RealFileSystem(), directory, on_progress=bar.show)
    if as_json:
        print_json(as_dict(directory, report))
    else:
        print_report(directory, report)
    if report.damages:
        raise click.exceptions.Exit(1)


def as_dict(directory: str, report: Report) -> dict[str, object]:
    findings = []
    for found in report.findings:
        item = asdict(found)
        item["severity"] = found.severity.value
        for name in ("position", "first_offset", "last_offset"):
            if item[name] < 0:
                item[name] = None
        findings.append(item)
    return {
        "store": directory,
        "damaged": bool(report.damages),
        "closed_cleanly": report.is_closed_cleanly,
        "partitions": report.partitions,
        "files": report.files,
        "batches": report.batches,
        "records": report.records,
        "bytes": report.bytes_read,
        "findings": findings,
    }


def print_report(directory: str, report: Report, echo: Callable[[str], None] = click.echo) -> None:
    for found in report.findings:
        for line in finding_lines(found):
            echo(line)
    remarks = len(report.findings) - len(report.damages)
    print_facts(
        [
            ("store", directory),
            ("closed cleanly", report.is_closed_cleanly),
            ("partitions", report.partitions),
            ("batches", report.batches),
            ("records", report.records),
            ("bytes", report.bytes_read),
            ("damages", len(report.damages)),
            ("remarks", remarks),
        ]
    )


def finding_lines(found: Finding) -> list[str]:
    """The place, what is wrong, and what it means."""
    place = f"{found.path}:{found.position}" if found.position >= 0 else found.path
    lines = [f"{found.severity.value}: {place}: {found.problem}"]
    if 0 <= found.first_offset <= found.last_offset:
        lines.append(f"    offsets {found.first_offset} to {found.last_offset}")
    if found.readable:
        lines.append(f"    still to be read: {found.readable}")
    return lines
