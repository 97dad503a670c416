"""Which store a command works on: a directory opened here, or a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logstore.client import Store

DEFAULT_SERVER = "localhost:7070"


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
            return logstore.connect(self.server)
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


pass_target = click.make_pass_decorator(Target)
