"""One client connection: a transport's protocol around Connection, and the calls of handlers.

    bytes -> Connection -> frame -> header -> Messages (loaded once) -> handler -> answer -> bytes

A handler is a plain function, or a coroutine function for what has to wait; the first costs no
task. What an answer leases is given back when the transport has written it. While the client does
not read, nothing more is started for it; the Connection's limits then pause the reading.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from logstore_server.kafka.connection import Connection, FrameError, InFlight
from logstore_server.kafka.context import Client, CloseConnection, Request
from logstore_server.kafka.header import Header, read_header, skip_tagged_fields
from logstore_server.kafka.identity import identify
from logstore_server.kafka.login import LOGIN_KEYS, LOGIN_S_MAX
from logstore_server.kafka.messages import Answer, MalformedRequestError, Messages

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Directory(Protocol):
    """listener.KafkaListener, as its sessions see it."""

    def messages(self, header: Header) -> Messages | Awaitable[Messages]: ...

    def joined(self, session: Session) -> bool: ...

    def left(self, session: Session) -> None: ...


class Session(asyncio.BufferedProtocol):
    """Owned by the event loop."""

    def __init__(
        self,
        directory: Directory,
        make_client: Callable[[str], Client],
        connection: Connection,
    ) -> None:
        self._directory = directory
        self._make_client = make_client
        self._connection = connection
        self._client: Client | None = None
        self._transport: asyncio.Transport | None = None
        self._write_paused = False
        self._read_paused = False
        self._unsent: list[Callable[[], None]] = []  # releases of what the transport still holds
        self._tasks: set[asyncio.Future[Any]] = set()
        self._ending = False
        self._pumping = False
        self._is_tls = False
        self._held_back: asyncio.TimerHandle | None = None  # by a quota, until then
        self._login_timer: asyncio.TimerHandle | None = None
        self._moved_at = time.monotonic()  # when bytes last came or went
        self._left_bytes = 0  # of an answer that the client is slow to take, when last looked at

    # --- asyncio's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self._transport = transport
        # A write is tried at once; `pause_writing` says that the kernel did not take all of it.
        # (Over TLS a limit of 0 would pause a connection that has nothing to write.)
        is_tls = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if is_tls else 0, low=0)
        peer = transport.get_extra_info("peername")
        self._client = self._make_client(peer[0] if isinstance(peer, tuple) else "")
        self._is_tls = is_tls
        identify(self._client, transport.get_extra_info("peercert"))
        if not self._directory.joined(self):
            self._close()
        elif self._client.login is not None:
            loop = asyncio.get_running_loop()
            self._login_timer = loop.call_later(LOGIN_S_MAX, self._end_without_login)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._connection.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._moved_at = time.monotonic()
        if self._ending:
            return
        try:
            self._connection.received(nbytes)
        except FrameError as error:
            self._refuse(str(error))
            return
        self._pump()

    def eof_received(self) -> bool:
        """The client sends no more; what it sent is answered first."""
        if self._connection.in_flight == 0:
            return False
        self.end_when_idle()
        return not self._is_tls  # TLS has no half-closed connections

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._moved_at = time.monotonic()
        self._release_sent()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True
        for timer in (self._held_back, self._login_timer):
            if timer is not None:
                timer.cancel()
        self._directory.left(self)
        self._release_sent()
        for release in self._connection.abandon():
            release()
        for task in self._tasks:
            task.cancel()

    # --- the listener's side ----------------------------------------------------------------

    def end_when_idle(self) -> None:
        """Start nothing more; close when what is in flight is answered."""
        self._ending = True
        if self._connection.in_flight == 0 and not self._write_paused:
            self._close()

    def is_idle_since(self, moment: float) -> bool:
        """Nothing has come or gone since then, and it is not the server that is waited for."""
        if self._write_paused and self._transport is not None:
            left_bytes = self._transport.get_write_buffer_size()
            if left_bytes != self._left_bytes:  # a slow reader, but a reader
                self._left_bytes = left_bytes
                self._moved_at = time.monotonic()
        is_waiting = self._connection.in_flight > 0 and not self._write_paused
        return self._moved_at < moment and not (is_waiting or self._held_back)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- requests ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Start what may start, send what may be sent, and read on or pause."""
        if self._pumping:  # a handler answered before its call returned
            return
        self._pumping = True
        try:
            self._send()
            while not (self._write_paused or self._ending or self._held_back):
                frame = self._connection.next_frame()
                if frame is None:
                    break
                self._start(self._connection.start(frame), frame)
                self._send()
        finally:
            self._pumping = False
        self._pause_or_read()

    def _pause_or_read(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        wanted = self._connection.wants_bytes
        if wanted is self._read_paused:
            self._read_paused = not wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def _start(self, flight: InFlight, frame: memoryview) -> None:
        try:
            header = read_header(frame)
            self._check_login(header)
            messages = self._directory.messages(header)
            if isinstance(messages, Messages):
                self._handle(flight, frame, header, messages)
            else:
                self._spawn(self._load_and_handle(flight, frame, header, messages))
        except MalformedRequestError as error:
            self._refuse(str(error))

    async def _load_and_handle(
        self,
        flight: InFlight,
        frame: memoryview,
        header: Header,
        loading: Awaitable[Messages],
    ) -> None:
        try:
            self._handle(flight, frame, header, await loading)
        except MalformedRequestError as error:
            self._refuse(str(error))

    def _handle(
        self, flight: InFlight, frame: memoryview, header: Header, messages: Messages
    ) -> None:
        assert self._client is not None
        position = header.end
        if messages.is_flexible:
            position = skip_tagged_fields(frame, position)
        body = messages.read(frame, position)

        def taken() -> None:
            flight.taken = messages.api.overlaps
            self._hold_back(request)
            self._pump()

        request = Request(
            self._client, header.version, header.client_id, body, taken, size_bytes=len(frame)
        )
        try:
            answer = messages.handle(request)
        except Exception as error:
            self._failed(messages, error)
            return
        self._hold_back(request)
        if answer is None or not isinstance(answer, Awaitable):
            self._answer(flight, request, header, messages, answer)
        else:
            task = self._spawn(answer)
            task.add_done_callback(partial(self._answered, flight, request, header, messages))

    def _answered(
        self,
        flight: InFlight,
        request: Request,
        header: Header,
        messages: Messages,
        done: asyncio.Future[Answer],
    ) -> None:
        if done.cancelled():  # the client is gone
            return
        error = done.exception()
        if isinstance(error, Exception):
            self._failed(messages, error)
        elif error is None:
            self._answer(flight, request, header, messages, done.result())

    def _answer(
        self,
        flight: InFlight,
        request: Request,
        header: Header,
        messages: Messages,
        values: Answer,
    ) -> None:
        try:
            parts = [] if values is None else messages.encode(header.correlation_id, values)
        except Exception as error:
            if request.on_sent is not None:
                request.on_sent()
            self._failed(messages, error)
            return
        flight.release = request.on_sent
        flight.parts = parts
        self._note_login(header)
        self._hold_back(request)
        if self._transport is None or self._transport.is_closing():
            for release in self._connection.abandon():
                release()
            return
        self._pump()

    # --- logins and quotas ------------------------------------------------------------------

    def _check_login(self, header: Header) -> None:
        """Raises MalformedRequestError: Kafka closes without an answer, too."""
        login = None if self._client is None else self._client.login
        if login is not None and header.api_key not in LOGIN_KEYS and not login.is_valid():
            raise MalformedRequestError("it asked for more than a login before it had logged in")

    def _note_login(self, header: Header) -> None:
        login = None if self._client is None else self._client.login
        if login is None or header.api_key not in LOGIN_KEYS:
            return
        if login.has_failed:
            host = self._client.host if self._client else "?"
            _log.warning("a Kafka client from %s could not log in", host)
            self._ending = True  # once it is told
        elif login.is_valid():
            self._connection.allow_large_frames()
            if self._login_timer is not None:
                self._login_timer.cancel()

    def _end_without_login(self) -> None:
        self._refuse(f"it did not log in within {LOGIN_S_MAX:.0f} s")

    def _hold_back(self, request: Request) -> None:
        """Take no request for so long, whether the client waits or not."""
        seconds, request.hold_back_s = request.hold_back_s, 0.0
        if seconds <= 0 or self._ending:
            return
        if self._held_back is not None:
            self._held_back.cancel()
        self._held_back = asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._held_back = None
        self._pump()

    def _spawn(self, work: Awaitable[T]) -> asyncio.Future[T]:
        """Of a handler itself, not of a coroutine around it: one that is cancelled before it began
        would leave the handler's behind, never awaited."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- out --------------------------------------------------------------------------------

    def _send(self) -> None:
        transport = self._transport
        if transport is None or self._write_paused:
            return
        output = self._connection.take_output()
        self._unsent += output.releases
        if output.parts:
            self._moved_at = time.monotonic()
            if len(output.parts) == 1:
                transport.write(output.parts[0])
            else:
                transport.writelines(output.parts)
        if self._unsent and transport.get_write_buffer_size() == 0:
            self._release_sent()
        if self._ending and self._connection.in_flight == 0:
            self._close()

    def _release_sent(self) -> None:
        unsent, self._unsent = self._unsent, []
        for release in unsent:
            release()

    def _refuse(self, why: str) -> None:
        host = self._client.host if self._client else "?"
        _log.warning("a Kafka connection from %s is closed: %s", host, why)
        self.abort()

    def _failed(self, messages: Messages, error: Exception) -> None:
        """On purpose, or a bug, or values that the schema does not take."""
        if isinstance(error, CloseConnection):
            self._refuse(str(error))
            return
        _log.error("%s v%d failed", messages.api.name, messages.version, exc_info=error)
        self.abort()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
