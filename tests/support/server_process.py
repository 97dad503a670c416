"""A logstore server in a process of its own, for tests that kill it, stop it and fail its calls."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

# A start takes half a second. Where thirty processes shared two cores it took 28, all but one of
# them waiting for its turn to import. What a recovery may take is for `make bench` to say.
START_SECONDS_MAX = 120


class ServerProcess:
    """`logstore serve` on a directory; the ports are chosen at the first start and then kept.

    `with_kafka`: it serves Kafka's clients too, on a port that no outgoing connection is given: a
    client that asks while the server is down could else be connected to itself, and keep the port.
    `errors`: a file its stderr is added to. `prefix`: a command that runs it (strace).
    `environment`: what is set besides what this process has; both may be changed between starts.
    """

    def __init__(
        self,
        data: Path,
        *options: str,
        errors: Path | None = None,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        with_kafka: bool = False,
    ) -> None:
        self.environment = dict(environment or {})
        self.prefix = tuple(prefix)
        self._data = data
        self._options = options
        self._errors = errors
        self._port = 0
        self._kafka_port = _quiet_port() if with_kafka else 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def kafka_address(self) -> str:
        assert self._kafka_port
        return f"127.0.0.1:{self._kafka_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it and do not wait until it listens."""
        kafka = ["--kafka-port", str(self._kafka_port)] if self._kafka_port else ["--no-kafka"]
        with open(self._errors or os.devnull, "a") as errors:
            self._process = subprocess.Popen(
                [
                    *self.prefix,
                    sys.executable,
                    "-m",
                    "logstore_server",
                    "serve",
                    str(self._data),
                    "--port",
                    str(self._port),
                    *kafka,
                    *self._options,
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | self.environment,
            )

    def wait_ready(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._process.stdout], [], [], 0.1)
            if not ready:
                continue
            line = self._process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if found:
                self._port = int(found[1])
                return
            if not line:
                break
        ended = self._process.poll()
        self.kill()
        said = self._errors.read_text(errors="replace")[-1000:] if self._errors else ""
        raise AssertionError(
            f"the server did not say where it listens (exit status {ended}): {said}"
        )

    def send_signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT: what does not end it."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            os.kill(process.pid, how)
        status = process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()
        return status

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def _quiet_port() -> int:
    """A free one below those that the kernel gives to outgoing connections."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first, 10_001))
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
