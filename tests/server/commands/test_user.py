from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from logstore.access import verify_password
from logstore.api.access import ScramMechanism
from logstore.store import LocalLogStore
from logstore_server.cli import cli
from tests.server.commands.conftest import Run


def test_users_come_and_go(run: Run, directory: Path) -> None:
    added = run("user", "add", "ann", "--password-stdin", input="sesame\n")
    assert added.stdout == "added user ann\n"
    only = ("--mechanism", "SCRAM-SHA-512", "--iterations", "4096")
    run("user", "add", "bob", *only, input="secret\nsecret\n")
    assert json.loads(run("user", "list", "--json").stdout) == [
        {"user": "ann", "mechanisms": ["SCRAM-SHA-256", "SCRAM-SHA-512"]},
        {"user": "bob", "mechanisms": ["SCRAM-SHA-512"]},
    ]
    assert "ann" in run("user", "list").stdout
    store = LocalLogStore.open(str(directory))
    for mechanism, credential in store.access.users()["ann"].items():
        assert verify_password(mechanism, credential, "sesame")
    assert store.access.users()["bob"][ScramMechanism.SCRAM_SHA_512].iterations == 4096
    store.close()
    again = run("user", "add", "ann", "--password-stdin", input="other\n")
    assert again.stdout == "user ann has a new password\n"
    assert run("user", "remove", "ann", "bob").stdout == "removed ann, bob\n"
    assert "no users" in run("user", "list").stderr


def test_what_cannot_be(run: Run) -> None:
    run("user", "add", "ann", "--password-stdin", input="sesame\n")
    assert "no user 'bob'" in run("user", "remove", "ann", "bob", exit_code=1).stderr
    assert "ann" in run("user", "list").stdout
    empty = run("user", "add", "eve", "--password-stdin", input="\n", exit_code=1)
    assert "a password takes 1 to 1024 bytes" in empty.stderr
    cheap = run(
        "user", "add", "eve", "--password-stdin", "--iterations", "5", input="x\n", exit_code=1
    )
    assert "4096 to 16384" in cheap.stderr


def test_a_server_is_told_of_users_by_kafkas_tools() -> None:
    result = CliRunner().invoke(cli, ["user", "list"])
    assert result.exit_code == 2
    assert "--store DIR" in result.stderr
