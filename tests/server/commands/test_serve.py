"""The command's options; tests/server/test_cli.py runs it as a process."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from logstore_server.cli import cli
from logstore_server.commands.serve_config import server_config
from logstore_server.config import RpcConfig, ServerConfig


def printed_config(*arguments: str) -> ServerConfig:
    result = CliRunner().invoke(cli, ["serve", *arguments, "--print-config"])
    assert result.exit_code == 0, result.output
    return server_config(flags={}, environment={}, toml=result.stdout)


def test_flags() -> None:
    assert printed_config(
        "d", "--host", "::1", "--port", "1", "--advertise", "a:2", "--set", "rpc.streams_max=3"
    ) == ServerConfig(
        "d", host="::1", advertised_endpoint="a:2", rpc=RpcConfig(port=1, streams_max=3)
    )


def test_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "logstore.toml"
    file.write_text('data_dir = "file"\n[rpc]\nport = 1\nstreams_max = 2\n')
    monkeypatch.setenv("LOGSTORE_CONFIG", str(file))
    monkeypatch.setenv("LOGSTORE_RPC_PORT", "3")
    assert printed_config() == ServerConfig("file", rpc=RpcConfig(port=3, streams_max=2))


def test_a_wrong_setting_is_one_sentence() -> None:
    result = CliRunner().invoke(cli, ["serve", "d", "--set", "rpc.prot=1"])
    assert result.exit_code == 1
    assert result.stderr == "Error: there is no setting 'rpc.prot'; is it rpc.port?\n"
