"""What handlers are given: the listener's shared things, the client, and one request."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logstore.api import ServedLogStore
from logstore_server.bridge import StoreBridge
from logstore_server.config import KafkaConfig
from logstore_server.kafka.fetch_sessions import SESSION_ID_MAX, FetchSessions

if TYPE_CHECKING:
    from logstore_server.auth import Authorizer
    from logstore_server.kafka.login import Login
    from logstore_server.kafka.throttling import Throttle

# Kafka's min.incremental.fetch.session.eviction.ms.
FETCH_SESSION_IDLE_S_MIN = 120.0
# Who a client is that did not authenticate; Kafka's name for it.
ANONYMOUS = "User:ANONYMOUS"


@dataclass(slots=True)
class Serving:
    """Shared by all connections of one listener. Owned by the event loop.

    `host` and `port`: what clients are told to connect to.
    """

    bridge: StoreBridge
    config: KafkaConfig
    host: str = ""
    port: int = 0
    protocol: str = "PLAINTEXT"  # Kafka's name for how clients are to connect
    authorizer: Authorizer | None = None  # None: everybody may do everything
    throttle: Throttle | None = None
    draining: bool = False
    fetch_sessions: FetchSessions = field(init=False)
    _on_drain: set[Callable[[], None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.fetch_sessions = FetchSessions(
            sessions_max=self.config.fetch_sessions_max,
            idle_s_min=FETCH_SESSION_IDLE_S_MIN,
            now=time.monotonic,
            new_id=lambda: secrets.randbelow(SESSION_ID_MAX) + 1,
        )

    @property
    def store(self) -> ServedLogStore:
        return self.bridge.store

    def start_draining(self) -> None:
        """End every wait: long polls answer with what is there."""
        self.draining = True
        for callback in list(self._on_drain):
            callback()

    def on_drain(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called when draining starts; returns how to forget it."""
        self._on_drain.add(callback)
        return lambda: self._on_drain.discard(callback)


@dataclass(slots=True, eq=False)
class Client:
    """One connection. `host` is its address; `principal` who it has proved to be."""

    serving: Serving
    host: str
    principal: str = ANONYMOUS
    login: Login | None = None  # None: nobody has to
    software: str = ""  # name and version, if ApiVersions told them


@dataclass(slots=True, eq=False)
class Request:
    """One request. `body` is the schema's object for this version (kio's).

    `taken` is called by a handler of an API that overlaps, once the next request may start.
    `on_sent` is called when the answer is sent, or the client is gone: gives leases back.
    """

    client: Client
    version: int
    client_id: str
    body: Any
    taken: Callable[[], None]
    on_sent: Callable[[], None] | None = None
    size_bytes: int = 0  # of the whole request
    hold_back_s: float = 0.0  # a quota asks that nothing more is taken for so long

    @property
    def serving(self) -> Serving:
        return self.client.serving

    @property
    def store(self) -> ServedLogStore:
        return self.client.serving.bridge.store

    @property
    def bridge(self) -> StoreBridge:
        return self.client.serving.bridge


class CloseConnection(Exception):
    """Raised by a handler to end the connection on purpose; the text says why."""
