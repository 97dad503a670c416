"""In processes of their own, as the limit is the whole process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from logstore.config import StoreConfig
from logstore_server import open_files
from logstore_server.config import KafkaConfig, RpcConfig, ServerConfig

PROGRAM = """
import logging, resource, sys
from logstore.config import StoreConfig
from logstore_server.config import KafkaConfig, RpcConfig, ServerConfig
from logstore_server.open_files import allow_open_files
logging.basicConfig()
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
store, rpc = StoreConfig(open_segments_max=50), RpcConfig(streams_max=90)
kafka = KafkaConfig(connections_max=10)
config = ServerConfig("data", store=store, rpc=rpc, kafka=kafka)
assert allow_open_files(config) == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
"""


def said(soft: int, hard: int) -> str:
    """Its stderr; needs 506 files."""
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_the_soft_limit_becomes_the_hard_one() -> None:
    assert said(64, 600) == ""


def test_a_limit_that_is_too_low_is_told_with_the_figures() -> None:
    told = said(64, 300)
    assert "may open 300 files" in told
    assert "store.open_segments_max=50, rpc.streams_max=90 and" in told
    assert "kafka.connections_max=10 may need 506" in told


def test_what_a_config_may_need() -> None:
    store, rpc = StoreConfig(open_segments_max=10), RpcConfig(streams_max=7)
    config = ServerConfig("data", store=store, rpc=rpc, kafka=KafkaConfig(connections_max=3))
    assert open_files.open_files_wanted(config) == 30 + 7 + 3 + open_files.FILES_ELSE
    config = ServerConfig("data", store=store, rpc=rpc, kafka=KafkaConfig(enabled=False))
    assert open_files.open_files_wanted(config) == 30 + 7 + open_files.FILES_ELSE


def test_a_system_that_refuses_keeps_its_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1 << 40))
    monkeypatch.setattr("resource.setrlimit", refuse)
    assert open_files.allow_open_files(ServerConfig("data")) == 256
    assert "stays at 256" in caplog.text
