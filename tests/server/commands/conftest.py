"""The command line in this process, on a store in an empty directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import logstore
from logstore.client import Store
from logstore_server.cli import cli

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGSTORE_STORE", "LOGSTORE_SERVER", "LOGSTORE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def run(directory: Path) -> Run:
    """Runs `logstore --store DIR ...`; fails the test if the exit code is not the expected one."""

    def run(*arguments: str, exit_code: int = 0, input: bytes | str | None = None) -> Result:
        result = CliRunner().invoke(cli, ["--store", str(directory), *arguments], input=input)
        assert result.exit_code == exit_code, result.output
        return result

    return run


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    """The same store through the API; closed before a command is run on it."""
    with logstore.open(directory) as store:
        yield store


def rows(result: Result) -> list[list[str]]:
    """A printed table as words."""
    return [line.split() for line in result.stdout.splitlines()]
