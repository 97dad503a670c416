"""LogStore over gRPC. See README.md.

Names are imported when first asked for: the server shares `wire` and needs nothing else of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logstore.remote.config import RemoteConfig
    from logstore.remote.store import RemoteLogStore, connect_store

__all__ = ["RemoteConfig", "RemoteLogStore", "connect_store"]


def __getattr__(name: str) -> object:
    if name == "RemoteConfig":
        from logstore.remote.config import RemoteConfig

        return RemoteConfig
    if name in __all__:
        from logstore.remote import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
