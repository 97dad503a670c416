"""The lifecycle seam: what the application asks of each wire protocol.

A listener is made with a StoreBridge and its own part of the config. It sees logstore.api,
logstore.errors, logstore.record and the shared modules beside this one; never the inside of the
store, never another listener.

The calls come in this order, each at most once, from the server's event loop:

    start -> stop_accepting -> drain -> stop
"""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    @property
    def name(self) -> str:
        """For people and metrics: "grpc", "kafka", ..."""
        ...

    async def start(self) -> str:
        """Listen; returns the address, "host:port". Raises OSError if it cannot."""
        ...

    async def stop_accepting(self) -> None:
        """Take no new connections and requests, end waits early. Does not wait."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Finish what is in flight, for at most `grace_s` seconds."""
        ...

    async def stop(self) -> None:
        """End what is left. No callback of this listener runs afterwards."""
        ...
