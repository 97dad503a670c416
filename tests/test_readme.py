"""README.md is true: what it shows is run, in its order, in one empty directory.

    ```python      executed, all blocks in one namespace; a comment behind a print is its output
    ```console     each `$ line` run by bash and its output compared; `...` stands for anything;
                   `logstore serve` stays up until the end, on a free port instead of 7070
    ```toml        must be a config that `logstore serve --config` takes
    ```sh          not run, and so allowed to hold only what installs, or runs the tests (`make
                   test` would come back here)

Tables of configs and limits must say what the code says.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from logstore.config import TOPIC_CONFIGS
from logstore_server.commands.serve_config import server_config, setting_types
from logstore_server.config import GRPC_PORT

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
NOT_RUN = ("make ", "pip install ", "git clone ", "cd ")


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    line: int  # of its first line in the README


def blocks(kind: str | None = None) -> list[Block]:
    text = README.read_text()
    found = [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1)
        for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
    return [block for block in found if kind in (None, block.kind)]


class Reader:
    """Does what a reader of the README would do, in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._namespace: dict[str, object] = {"__name__": "readme"}
        self._servers: list[subprocess.Popen[str]] = []
        with socket.create_server(("127.0.0.1", 0)) as unused:
            self._port = str(unused.getsockname()[1])
        scripts = directory / ".bin"
        scripts.mkdir()
        script = scripts / "logstore"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m logstore_server "$@"\n')
        script.chmod(0o755)
        path = os.pathsep.join([str(ROOT), str(ROOT / "server"), os.environ.get("PYTHONPATH", "")])
        self._environment = {
            "PATH": f"{scripts}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin",
            "PYTHONPATH": path,
            "LOGSTORE_SERVER": f"localhost:{self._port}",
            "LOGSTORE_RPC_PORT": self._port,
        }

    def run(self, block: Block) -> None:
        if block.kind == "python":
            self._run_python(block)
        elif block.kind == "console":
            self._run_console(block)

    def _run_python(self, block: Block) -> None:
        source = "\n" * (block.line - 1) + block.text.replace(str(GRPC_PORT), self._port)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(README), "exec"), self._namespace)
        expected = re.findall(r"^ *print\(.*\)  # (.*)$", block.text, re.MULTILINE)
        if expected:
            assert_output(block.line, printed.getvalue(), "\n".join(expected))

    def _run_console(self, block: Block) -> None:
        for match in re.finditer(
            r"^\$ (.*(?:\n> .*)*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE
        ):
            command, expected = match[1].replace("\n> ", "\n"), match[2]
            if command.startswith("logstore serve "):
                printed = self._serve(command.removesuffix(" &"))
            else:
                printed = self._shell(command)
            printed = printed.replace(self._port, str(GRPC_PORT))
            assert_output(block.line, printed, expected)

    def _shell(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self._directory, env=self._environment, text=True, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout

    def _serve(self, command: str) -> str:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self._directory, env=self._environment, text=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._servers.append(server)
        assert server.stdout is not None
        return server.stdout.readline()

    def close(self) -> None:
        for server in self._servers:
            server.terminate()
            assert server.wait(30) == 0
            assert server.stdout is not None
            server.stdout.close()


def assert_output(line: int, printed: str, expected: str) -> None:
    def words(text: str) -> str:
        return "\n".join(" ".join(row.split()) for row in text.strip().splitlines())

    pattern = re.escape(words(expected)).replace(re.escape("..."), ".*?")
    assert re.fullmatch(pattern, words(printed), re.DOTALL), (
        f"README.md, line {line}: expected\n{expected}\nbut it printed\n{printed}"
    )


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    monkeypatch.chdir(tmp_path)
    reader = Reader(tmp_path)
    yield reader
    reader.close()


def test_what_the_readme_shows_works(reader: Reader) -> None:
    for block in blocks():
        reader.run(block)


def test_what_is_not_run_only_installs_or_makes() -> None:
    assert {block.kind for block in blocks()} <= {"python", "console", "toml", "sh"}
    for block in blocks("sh"):
        for line in block.text.splitlines():
            assert line.startswith(NOT_RUN), f"README.md, line {block.line}: {line}"


def test_config_files_shown_are_valid() -> None:
    for block in blocks("toml"):
        server_config(flags={"data_dir": "data"}, environment={}, toml=block.text)


def test_the_table_of_topic_configs_is_the_code() -> None:
    rows = ["| config | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{key.name}` | {key.default} | {key.allowed} | {key.documentation} |"
        for _, key in sorted(TOPIC_CONFIGS.items())
    ]
    assert "\n".join(rows) in README.read_text(), "the table should be\n" + "\n".join(rows)


def test_limits_shown_are_the_defaults() -> None:
    defaults = server_config(flags={"data_dir": "data"}, environment={})
    shown = re.findall(r"^\| `([a-z_.]+)` \| ([0-9,]+) \|", README.read_text(), re.MULTILINE)
    shown = [(name, value) for name, value in shown if name not in TOPIC_CONFIGS]
    assert len(shown) >= 5
    for name, value in shown:
        assert name in setting_types()
        actual: object = defaults
        for part in name.split("."):
            actual = getattr(actual, part)
        assert actual == int(value.replace(",", "")), name
