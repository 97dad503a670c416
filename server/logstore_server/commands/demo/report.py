"""What the demo prints at its end."""

from __future__ import annotations

import click

from logstore_server.commands.demo.stages import TOPIC, Report, Stage
from logstore_server.commands.tables import print_table
from logstore_server.commands.values import format_bytes


def print_report(report: Report) -> None:
    click.echo(
        f"topic {TOPIC}: key = tail number ({report.null_keys:,} have none), value = CSV row, "
        f"time = hour of departure; {format_bytes(report.size_bytes)} on disk\n"
    )
    print_table(
        ("step", "with", "records", "expected", "seconds", "records/s", "check"),
        [stage_row(stage) for stage in report.stages],
    )
    click.echo()
    print_table(
        ("group of 3", "partitions", "records"),
        [
            (member.name, ", ".join(map(str, sorted(member.partitions))), len(member.seen))
            for member in report.members
        ],
    )
    total = sum(len(member.seen) for member in report.members)
    distinct = len(set().union(*(member.seen for member in report.members)))
    click.echo(
        f"{' + '.join(f'{len(member.seen):,}' for member in report.members)} = {total:,}, "
        f"{total - distinct:,} of them read twice; lag left {report.lag:,}"
    )
    click.echo(f"\n{'every count is right' if report.is_right else 'SOMETHING IS WRONG'}")


def stage_row(stage: Stage) -> tuple[object, ...]:
    complaints = list(stage.complaints)
    if stage.counted != stage.expected:
        complaints.insert(0, f"{stage.counted - stage.expected:+,}")
    rate = round(stage.counted / stage.seconds) if stage.seconds else 0
    return (
        stage.name,
        stage.call,
        stage.counted,
        stage.expected,
        f"{stage.seconds:.2f}",
        rate,
        "; ".join(complaints) or "ok",
    )
