"""The peer: one Apache Kafka node (KRaft, broker and controller in one process) from Maven's jars.

Formatted, started on free ports of 127.0.0.1 in a directory of its own, awaited until it answers,
stopped by SIGTERM. What is set differs from Kafka's defaults only where one node needs it, and
where the suites' own scripts set it for the brokers that they start.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from tests.conformance.suites.answering import wait_until_ready

START_SECONDS_MAX = 180
STOP_SECONDS_MAX = 60
HEAP = "-Xmx512m"

# One node holds one replica of everything. Fewer partitions of the internal topics than the default
# 50 only make the start shorter. An authorizer is there because the suites' scripts set one; all
# may do all while no ACL says otherwise.
ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "20000000",
    "log.retention.check.interval.ms": "10000",
}


class KafkaNode:
    """A node in `directory`, which must not exist yet; `settings` win over ONE_NODE."""

    def __init__(
        self, jars: Path, directory: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self._jars = jars
        self._directory = directory
        self._settings = dict(settings or {})
        self._port = _free_port()
        self._controller_port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        return self._directory / "node.log"

    def start(self) -> None:
        self._directory.mkdir(parents=True)
        properties = self._write_properties()
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        with self.log.open("ab") as log:
            subprocess.run(
                self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties),
                check=True,
                stdout=log,
                stderr=log,
                env=self._environment(),
            )
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", properties),
                stdout=log,
                stderr=log,
                env=self._environment(),
            )
        self._wait_ready()

    def stop(self) -> str | None:
        """Nothing is wrong with its end: it is not what is under test."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return None

    def crashed(self) -> str | None:
        """What it ended with, if it ended by itself."""
        if self._process is None or self._process.poll() is None:
            return None
        return f"Kafka ended with status {self._process.returncode}, see {self.log}"

    def _wait_ready(self) -> None:
        assert self._process is not None
        process = self._process
        ready = wait_until_ready(
            "127.0.0.1",
            self._port,
            seconds=START_SECONDS_MAX,
            is_alive=lambda: process.poll() is None,
        )
        if ready:
            return
        self.stop()
        raise AssertionError(f"Kafka did not start, see {self.log}")

    def _write_properties(self) -> str:
        ports = f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}"
        settings = {
            **ONE_NODE,
            "listeners": ports,
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._port}",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "log.dirs": str(self._directory / "data"),
            **self._settings,
        }
        path = self._directory / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return str(path)

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        return ["java", HEAP, "-cp", java_class_path(self._jars), main_class, *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "LOG_DIR": str(self._directory / "logs")}


def java_class_path(jars: Path) -> str:
    """All jars of a folder, and the folder itself, where log4j finds its settings."""
    return f"{jars}:{jars}/*"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
