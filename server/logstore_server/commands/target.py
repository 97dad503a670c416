"""Which store a command works on: a directory opened here, or a server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logstore.client import Store

DEFAULT_SERVER = "localhost:7070"
CONNECT_TIMEOUT_MS = 3_000  # a person waits; a server that has just been started is up by then


@dataclass(frozen=True, slots=True)
class Target:
    """The global options. `directory` None: the server at `server` ("host:port")."""

    directory: Path | None
    server: str = DEFAULT_SERVER

    def open(self, *, create: bool = False) -> Store:
        """The store, which the caller closes. A missing directory is an error unless `create`:
        a mistyped one would otherwise look like an empty store."""
        import logstore

        if self.directory is None:
            silence_grpc()
            from logstore.remote import RemoteConfig

            config = RemoteConfig(connect_timeout_ms=CONNECT_TIMEOUT_MS)
            return logstore.connect(self.server, config=config)
        if not create and not (self.directory / "meta").is_file():
            raise click.ClickException(
                f"there is no store in {self.directory}; a first "
                f"'logstore --store {self.directory} topic create NAME' makes one"
            )
        return logstore.open(self.directory)

    @property
    def flags(self) -> str:
        """The option that names this target, for examples in messages."""
        return f"--store {self.directory} " if self.directory else ""


def silence_grpc() -> None:
    """Keep the lines that gRPC's core logs to stderr from people. Before grpc is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


pass_target = click.make_pass_decorator(Target)
