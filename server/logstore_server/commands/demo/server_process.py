"""A server process for the demo: `logstore serve` on a free port, stopped with SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

import click

STOP_TIMEOUT_S = 30


class DemoServer:
    """Serves `directory` inside a with statement; `address` is "host:port"."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.address = ""

    def __enter__(self) -> DemoServer:
        # The settings of the user's own server are not for this one.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("LOGSTORE_")
        }
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "logstore_server",
                "serve",
                str(self._directory),
                "--port",
                "0",
                "--no-kafka",
            ],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()  # or nothing, if it could not start
        if not line:
            self._process.stdout.close()
            code = self._process.wait()
            raise click.ClickException(f"the server could not start (exit code {code})")
        self.address = line.strip().rpartition(" ")[2]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if code != 0 and error is None:
            raise click.ClickException(f"the server did not stop in order (exit code {code})")
