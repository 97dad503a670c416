"""`logstore` as a process: how it starts, ends and fails, and a server with clients."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from logstore_server.cli import COMMANDS, cli
from tests.support.server_process import ServerProcess

HELP_SECONDS_MAX = 0.3
COMMAND = [sys.executable, "-m", "logstore_server"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("LOGSTORE_")}


def logstore(
    *arguments: str, input: str = "", exit_code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments], input=input, text=True, capture_output=True, timeout=60,
        env={**CLEAN, **environment},
    )  # fmt: skip
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**CLEAN, **environment},
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A store with 2,000 records in the topic orders."""
    directory = str(tmp_path / "store")
    logstore("--store", directory, "topic", "create", "orders", "-p", "2")
    lines = "".join(f"record {i}\n" for i in range(2000))
    logstore("--store", directory, "produce", "orders", input=lines)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = ServerProcess(tmp_path_factory.mktemp("server") / "data")
    process.start()
    yield process.address
    assert process.stop() == 0


# --- help and usage -------------------------------------------------------------------------


def test_help_is_fast() -> None:
    """By the processor's time: the machine may be busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = logstore("--help").stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < HELP_SECONDS_MAX
    assert all(f"  {name} " in shown for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from logstore_server.cli import run; run(['--help']); "
        "print([name for name in ('grpc', 'rich', 'logstore.store') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_as_the_list_says(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.short_help == COMMANDS[name]


def test_version() -> None:
    assert logstore("--version").stdout.startswith("logstore 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["topic"],
        ["topic", "frobnicate"],
        ["--store", "a", "--server", "b:1", "demo"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert logstore(*arguments, exit_code=2).stderr.startswith("Usage: ")


# --- which store ----------------------------------------------------------------------------


def test_flags_win_over_the_environment(data: str, server: str) -> None:
    by_environment = logstore("topic", "list", LOGSTORE_STORE=data)
    assert "orders" in by_environment.stdout
    by_flag = logstore("--server", server, "topic", "list", LOGSTORE_STORE=data)
    assert "orders" not in by_flag.stdout
    other = logstore("--store", data, "topic", "list", LOGSTORE_SERVER="nowhere:1")
    assert other.stdout == by_environment.stdout


# --- errors ---------------------------------------------------------------------------------


def test_an_error_is_one_line_and_exit_code_1(data: str) -> None:
    failed = logstore("--store", data, "topic", "describe", "nope", exit_code=1)
    assert failed.stdout == ""
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("Error: there is no topic 'nope'")


def test_no_server_is_told_soon() -> None:
    began = time.monotonic()
    failed = logstore("--server", "127.0.0.1:1", "topic", "list", exit_code=1)
    assert time.monotonic() - began < 10
    assert failed.stderr.startswith("Error: 127.0.0.1:1 cannot be reached")
    assert "logstore serve DIR" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_store_that_is_in_use(data: str) -> None:
    reader = start("--store", data, "consume", "orders")
    assert reader.stdout is not None
    reader.stdout.readline()
    failed = logstore("--store", data, "topic", "list", exit_code=1)
    end(reader, signal.SIGINT)
    assert "is open for writing in another process" in failed.stderr
    assert "--server HOST:PORT" in failed.stderr


def test_a_bug_stays_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logstore_server.commands.target.Target.open", lambda self: 1 / 0)
    result = CliRunner().invoke(cli, ["topic", "list"])
    assert isinstance(result.exception, ZeroDivisionError)


# --- ends -----------------------------------------------------------------------------------


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Exit code and stderr after the signal."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_consumer_quietly(data: str, number: signal.Signals, code: int) -> None:
    reader = start("--store", data, "consume", "orders", "--group", "billing")
    assert reader.stdout is not None
    while reader.stdout.readline() != "record 1999\n":
        pass
    time.sleep(0.5)  # until it has committed
    assert end(reader, number) == (code, "")
    described = logstore("--store", data, "group", "describe", "billing").stdout
    assert "no members" in described
    assert ["lag", "0"] in [line.split() for line in described.splitlines()]


def test_a_reader_that_has_had_enough_is_no_error(data: str) -> None:
    command = " ".join(COMMAND) + f' --store "{data}" consume orders --exit-at-end --format json'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -1"],
        capture_output=True, text=True, timeout=60, env=CLEAN,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


# --- a server -------------------------------------------------------------------------------


def test_serve_prints_one_line_and_ends_with_0(tmp_path: Path) -> None:
    server = start("serve", str(tmp_path / "data"), "--port", "0", "--no-kafka")
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith(f"logstore serves {tmp_path / 'data'} at grpc 127.0.0.1:")
    server.send_signal(signal.SIGTERM)
    assert server.communicate(timeout=30) == ("", "")
    assert server.returncode == 0


def test_a_port_in_use_is_one_line(server: str, tmp_path: Path) -> None:
    port = server.rpartition(":")[2]
    failed = logstore("serve", str(tmp_path / "data"), "--port", port, exit_code=1)
    assert failed.stderr == (
        f"Error: cannot listen on 127.0.0.1:{port}: is another server running there?\n"
    )


def test_the_commands_over_grpc(server: str) -> None:
    def run(*arguments: str, input: str = "", exit_code: int = 0) -> str:
        done = logstore(*arguments, input=input, exit_code=exit_code, LOGSTORE_SERVER=server)
        return done.stdout + done.stderr

    assert run("topic", "create", "events", "-p", "2") == "created topic events with 2 partitions\n"
    assert run("produce", "events", "-K", ":", input="a:1\nb:2\na:3\n") == "3 records to events\n"
    everything = run("consume", "events", "-e", "-f", r"{key}{value}\n")
    assert sorted(everything.split()) == ["a1", "a3", "b2"]
    assert len(run("consume", "events", "-g", "g", "-e").split()) == 3
    assert "events" in run("group", "describe", "g")
    assert run("group", "reset", "g", "--to", "earliest").count("events") == 2
    assert run("group", "delete", "g") == "deleted group g\n"
    assert "set on it: retention_ms=9" in run("topic", "alter", "events", "-c", "retention_ms=9")
    assert "retention_ms='x' is not valid" in run(
        "topic", "alter", "events", "-c", "retention_ms=x", exit_code=1
    )
    assert "has 3 partitions" in run("topic", "add-partitions", "events", "--total", "3")
    assert run("topic", "delete", "events", "-y") == "deleted topic events with 3 records\n"


def test_a_consumer_waits_for_what_comes(server: str) -> None:
    logstore("--server", server, "topic", "create", "ticks")
    reader = start("--server", server, "consume", "ticks", "--max", "2")
    for text in ("one", "two"):
        logstore("--server", server, "produce", "ticks", input=f"{text}\n")
    out, errors = reader.communicate(timeout=30)
    assert (out, errors, reader.returncode) == ("one\ntwo\n", "", 0)
