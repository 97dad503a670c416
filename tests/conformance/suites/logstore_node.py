"""The server under test: `logstore serve` with its Kafka listener, in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.conformance.suites.answering import wait_until_ready

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
# Kafka's names of what is set, and ours. The defaults are those of ONE_NODE of kafka_node.py.
SETTINGS = {
    "auto.create.topics.enable": "kafka.auto_create_topics",
    "num.partitions": "kafka.num_partitions",
    "authorizer.class.name": "kafka.security.authorization",
    "allow.everyone.if.no.acl.found": "kafka.security.allow_everyone_if_no_acl_found",
}
DEFAULTS = {
    "num.partitions": "4",
    "authorizer.class.name": "true",
    "allow.everyone.if.no.acl.found": "true",
}


class LogstoreNode:
    """A server on `directory`; `settings` are those of the scenario, by Kafka's names."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._settings = dict(settings or {})
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        return self._directory / "node.log"

    @property
    def data(self) -> Path:
        return self._directory / "data"

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        self._wait_ready(before)

    def stop(self) -> str | None:
        """What was wrong with its end, if anything was."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"logstore did not stop within {STOP_SECONDS_MAX} s, see {self.log}"
        return None if status == 0 else f"logstore ended with status {status}, see {self.log}"

    def crashed(self) -> str | None:
        """What it ended with, if it ended by itself."""
        if self._process is None or self._process.poll() is None:
            return None
        return f"logstore ended with status {self._process.returncode}, see {self.log}"

    def _command(self) -> list[str]:
        serve = ["-m", "logstore_server", "serve", str(self.data), "--port", "0"]
        kafka = ["--kafka-port", str(self._port)]
        names = {**DEFAULTS, **self._settings}
        named = [f"--set={SETTINGS[name]}={value}" for name, value in names.items()]
        return [sys.executable, *serve, *kafka, *named]

    def _wait_ready(self, before: int) -> None:
        """It says where it listens; then it must answer there."""
        assert self._process is not None
        process = self._process
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and process.poll() is None and not self._port:
            said = self.log.read_bytes()[before:].decode(errors="replace")
            found = re.search(r"kafka 127\.0\.0\.1:(\d+)", said)
            if found:
                self._port = int(found[1])
            else:
                time.sleep(0.05)
        ready = self._port and wait_until_ready(
            "127.0.0.1",
            self._port,
            seconds=START_SECONDS_MAX,
            is_alive=lambda: process.poll() is None,
        )
        if not ready:
            self.stop()
            raise AssertionError(f"logstore did not start, see {self.log}")
