"""A TCP relay between clients and a server that can stop relaying, or cut, at any moment."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from pathlib import Path
from types import TracebackType

PIECE_BYTES = 64 << 10
ESTABLISHED = "01"  # in /proc/net/tcp
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST


class Proxy:
    """Relays every connection to `target`, each in a thread of its own.

    `freeze`: what is connected stays so, but nothing passes any more, in neither direction, and
    nothing is acknowledged above TCP: a host that vanished. New connections are relayed.
    `cut`: what is connected is reset on both sides.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._lock = threading.Lock()
        self._links: dict[Link, None] = {}
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._accepting.start()

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def freeze(self) -> int:
        """How many connections it was."""
        links = self._take()
        for link in links:
            link.is_frozen.set()
        return len(links)

    def held(self) -> int:
        """How many of the frozen connections the target has not closed."""
        with self._lock:
            mine = {link.port for link in self._links if link.is_frozen.is_set()}
        fields = [
            line.split()
            for name in ("tcp", "tcp6")  # gRPC's sockets are of the second kind
            for line in Path("/proc/net", name).read_text().splitlines()[1:]
        ]
        theirs = {
            int(remote.rpartition(":")[2], 16)
            for _, local, remote, state, *_ in fields
            if state == ESTABLISHED and int(local.rpartition(":")[2], 16) == self._target[1]
        }
        return len(mine & theirs)

    def cut(self) -> int:
        links = self._take()
        for link in links:
            link.close(abort=True)
        return len(links)

    def _take(self) -> list[Link]:
        with self._lock:
            return [link for link in self._links if not link.is_frozen.is_set()]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                client.close()
                continue
            link = Link(client, server)
            with self._lock:
                self._links[link] = None
            thread = threading.Thread(target=self._relay, args=(link,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, link: Link) -> None:
        link.relay()
        if not link.is_frozen.is_set():
            link.close()
            with self._lock:
                self._links.pop(link, None)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(30)
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()
        for thread in self._threads:
            thread.join(30)


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.is_frozen = threading.Event()
        self.port: int = server.getsockname()[1]
        self._ends = {client: server, server: client}
        for end in self._ends:
            end.setblocking(True)

    def relay(self) -> None:
        """Until one side ends, or it is frozen."""
        ends = list(self._ends)
        while not self.is_frozen.is_set():
            try:
                ready, _, _ = select.select(ends, [], [], 0.1)
                for end in ready:
                    data = end.recv(PIECE_BYTES)
                    if not data:
                        return
                    self._ends[end].sendall(data)
            except (OSError, ValueError):  # closed by the other thread, or reset
                return

    def close(self, *, abort: bool = False) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                if abort:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                else:
                    end.shutdown(socket.SHUT_RDWR)
            end.close()
