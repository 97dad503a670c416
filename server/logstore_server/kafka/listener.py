"""The Kafka listener's life: the socket, the connections, schemas, start and the orderly end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable

from logstore_server.auth import Authorizer
from logstore_server.bridge import StoreBridge
from logstore_server.config import KafkaConfig, join_address
from logstore_server.kafka.connection import Connection
from logstore_server.kafka.context import Client, Serving
from logstore_server.kafka.header import Header, api_key_of
from logstore_server.kafka.identity import TLS_HANDSHAKE_S_MAX, server_context
from logstore_server.kafka.login import LOGIN_FRAME_BYTES_MAX, Login
from logstore_server.kafka.messages import MalformedRequestError, Messages
from logstore_server.kafka.registry import API_VERSIONS_KEY, BY_KEY, Api
from logstore_server.kafka.session import Session
from logstore_server.kafka.throttling import Throttle

# Where bytes of all connections arrive between frames: one read of one connection at a time.
SCRATCH_BYTES = 64 * 1024
BACKLOG = 1_024
IDLE_SWEEPS = 4  # in the time after which a connection is idle

_log = logging.getLogger(__name__)


class KafkaListener:
    """listener.Listener for Kafka's protocol."""

    name = "kafka"

    def __init__(self, bridge: StoreBridge, config: KafkaConfig, *, host: str) -> None:
        self._config = config
        self._host = config.host or host
        security = config.security
        access = bridge.store.access
        self._serving = Serving(
            bridge, config, protocol=security.protocol, throttle=Throttle(access, time.monotonic)
        )
        if security.authorization:
            self._serving.authorizer = Authorizer(
                access,
                super_users=security.supers,
                allow_without_rules=security.allow_everyone_if_no_acl_found,
            )
        self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._server: asyncio.Server | None = None
        self._sessions: set[Session] = set()
        self._messages: dict[tuple[int, int], Messages] = {}
        self._loading: dict[tuple[int, int], asyncio.Task[Messages]] = {}
        self._all_ended = asyncio.Event()
        self._sweep: asyncio.TimerHandle | None = None

    # --- the lifecycle ----------------------------------------------------------------------

    async def start(self) -> str:
        loop = asyncio.get_running_loop()
        address = join_address(self._host, self._config.port)
        tls = await loop.run_in_executor(None, server_context, self._config.security)
        try:
            self._server = await loop.create_server(
                self._make_session,
                self._host.strip("[]"),
                self._config.port,
                backlog=BACKLOG,
                reuse_port=False,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else TLS_HANDSHAKE_S_MAX,
            )
        except OSError as error:
            raise OSError(
                f"cannot listen on {address} for Kafka clients: is another server running there? "
                f"Choose with --kafka-port, or leave Kafka out with --no-kafka ({error})"
            ) from None
        port = self._server.sockets[0].getsockname()[1]
        self._serving.host = self._config.advertised_host or self._host.strip("[]")
        self._serving.port = self._config.advertised_port or port
        self._sweep_later()
        return join_address(self._host, port)

    async def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()
        self._serving.start_draining()
        for session in list(self._sessions):
            session.end_when_idle()

    async def drain(self, grace_s: float) -> None:
        if self._sessions:
            self._all_ended.clear()
            try:
                await asyncio.wait_for(self._all_ended.wait(), grace_s)
            except TimeoutError:
                _log.warning("%d Kafka clients were cut off", len(self._sessions))

    async def stop(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        for session in list(self._sessions):
            session.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def _sweep_later(self) -> None:
        seconds = self._config.connections_idle_ms / 1000 / IDLE_SWEEPS
        self._sweep = asyncio.get_running_loop().call_later(seconds, self._close_idle)

    def _close_idle(self) -> None:
        """Also those whose client has vanished without a word, which nothing else would end."""
        idle_s = self._config.connections_idle_ms / 1000
        before = time.monotonic() - idle_s
        idle = [session for session in self._sessions if session.is_idle_since(before)]
        if idle:
            _log.info("%d Kafka connections are closed: idle for %.0f s", len(idle), idle_s)
        for session in idle:
            session.abort()
        self._sweep_later()

    # --- what sessions ask ------------------------------------------------------------------

    def _make_session(self) -> Session:
        config = self._config
        connection = Connection(
            self._scratch,
            frame_bytes_max=config.request_bytes_max,
            first_frame_bytes_max=LOGIN_FRAME_BYTES_MAX if config.security.mechanisms else None,
            requests_max=config.requests_in_flight_max,
            bytes_max=config.request_bytes_max,
            may_overlap=_may_overlap,
        )
        return Session(self, self._make_client, connection)

    def _make_client(self, host: str) -> Client:
        security = self._config.security
        login = None
        if security.mechanisms:
            login = Login(
                self._serving.store.access,
                security.mechanisms,
                lifetime_ms=security.sasl_session_lifetime_ms,
                monotonic=time.monotonic,
            )
        return Client(self._serving, host, login=login)

    def joined(self, session: Session) -> bool:
        """False: it is one too many and must close."""
        self._sessions.add(session)
        if len(self._sessions) <= self._config.connections_max and not self._serving.draining:
            return True
        _log.warning("a Kafka connection is closed: %d are open", len(self._sessions) - 1)
        return False

    def left(self, session: Session) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._all_ended.set()

    def messages(self, header: Header) -> Messages | Awaitable[Messages]:
        """Of the request's API and version; raises MalformedRequestError if none is served."""
        api = BY_KEY.get(header.api_key)
        if api is None:
            raise MalformedRequestError(f"there is no API {header.api_key} here")
        version = header.version
        if not api.version_min <= version <= api.version_max:
            if api.key != API_VERSIONS_KEY:
                raise MalformedRequestError(
                    f"version {version} of {api.name} is not served: {api.version_min} to "
                    f"{api.version_max} are"
                )
            version = 0  # whose answer every client reads
        key = (api.key, version)
        loaded = self._messages.get(key)
        if loaded is not None:
            return loaded
        if key not in self._loading:
            self._loading[key] = asyncio.ensure_future(self._load(*key))
        return asyncio.shield(self._loading[key])

    async def _load(self, api_key: int, version: int) -> Messages:
        try:
            messages = await self._serving.bridge.call(_load, BY_KEY[api_key], version)
            self._messages[api_key, version] = messages
            return messages
        finally:
            del self._loading[api_key, version]


def _load(api: Api, version: int) -> Messages:
    """In a worker thread: neither rules nor schemas are imported before a client asks."""
    from logstore_server.kafka.gate import gated

    return Messages.load(api, version, gated)


def _may_overlap(frame: memoryview) -> bool:
    api = BY_KEY.get(api_key_of(frame))
    return api is not None and api.overlaps
