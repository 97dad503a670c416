"""The users and access rules of a store that no server has open, for `user` and `acl`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from logstore_server.commands.target import Target

if TYPE_CHECKING:
    from logstore.api.access import AccessStore


@contextmanager
def open_access(target: Target) -> Iterator[AccessStore]:
    """Changes are on disk when they return. A store is made if there is none: the first user can be
    there before the first server."""
    from logstore.store import LocalLogStore

    if target.directory is None:
        raise click.UsageError(
            "users and access rules are changed in the store's directory, while no server runs: "
            "give --store DIR. A running server takes them from Kafka's own tools."
        )
    store = LocalLogStore.open(str(target.directory))
    try:
        yield store.access
    finally:
        store.close()
