"""The command line: its global options, its list of commands, and how errors reach people.

A command is a module of `commands/` with a click command named `command`; it is imported when it
is asked for, so that `logstore --help` and shell completion stay fast. What a command needs
beyond click it imports inside its functions.
"""

from __future__ import annotations

import importlib
import keyword
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from logstore_server.commands.failures import as_failure
from logstore_server.commands.target import DEFAULT_SERVER, Target

# Name and one line of help of every command, in the order of `logstore --help`.
COMMANDS = {
    "serve": "Serve a store to clients over the network.",
    "topic": "Create, list, describe, alter and delete topics.",
    "produce": "Write records read from standard input or files to a topic.",
    "consume": "Read records of topics and print them.",
    "group": "List, describe, reset and delete consumer groups.",
    "user": "Add, list and remove users who log in.",
    "acl": "Add, list and remove access rules.",
    "verify": "Check every file of a store, changing nothing.",
    "dump": "Print what is in the files of a store.",
    "import": "Take over the topics of a stopped Kafka broker.",
    "demo": "See it work on 336,776 real flights, and how fast.",
}
INTERRUPTED, TERMINATED = 130, 143  # exit codes, as shells have them: 128 + the signal


class CommandGroup(click.Group):
    """Imports a command when it is used, and turns errors into one sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"logstore_server.commands.{name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _discard_stdout()
            raise click.exceptions.Exit(0) from None
        except Exception as error:
            failure = as_failure(error, ctx.obj)
            if failure is None:
                raise
            raise failure from None


def _discard_stdout() -> None:
    """Whoever read our output has had enough, as `head` does: what is left goes nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # no file behind it; then nothing is flushed at exit either


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from logstore import __version__

        click.echo(f"logstore {__version__}")
        ctx.exit()


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--store",
    metavar="DIR",
    envvar="LOGSTORE_STORE",
    type=click.Path(file_okay=False, path_type=Path),
    help="Work on the store in this directory, without a server.",
)
@click.option(
    "--server",
    metavar="HOST:PORT",
    envvar="LOGSTORE_SERVER",
    default=DEFAULT_SERVER,
    show_default=True,
    help="Work on the store that this server serves.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Show the version and exit.",
)  # fmt: skip
@click.pass_context
def cli(ctx: click.Context, store: Path | None, server: str) -> None:
    """An event log: topics on disk, consumer groups, replay from any offset or time.

    Commands work on a server (--server) or directly on a directory (--store). Every command
    explains itself: logstore COMMAND --help.
    """
    given = {name for name in ("store", "server") if _on_command_line(ctx, name)}
    if given == {"store", "server"}:
        raise click.UsageError("give --store or --server, not both")
    if given == {"server"}:
        store = None  # a flag wins over LOGSTORE_STORE
    ctx.obj = Target(directory=store, server=server)


def _on_command_line(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends a command like any error does: open stores and groups are left in order."""
    raise click.exceptions.Exit(TERMINATED)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. `arguments` None: those of the process."""
    try:
        code = cli.main(args=arguments, prog_name="logstore", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # a question was not answered
        click.echo("Aborted.", err=True)
        return 1
    return code if isinstance(code, int) else 0


def main() -> None:
    """What the `logstore` script calls."""
    signal.signal(signal.SIGTERM, _terminate)
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    sys.exit(code)
