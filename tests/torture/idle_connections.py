"""Ten thousand connections that say nothing, half of them plain TCP, half HTTP/2 that got as far
as its preface; an ordinary client beside them."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.server_process import ServerProcess
from tests.torture.canary import Canaries, Watched, memory_bytes, open_sockets
from tests.torture.report import Outcome

# The preface and an empty SETTINGS frame (RFC 9113, 3.4): length, type, flags, stream.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + b"\x04" + b"\0" + b"\0\0\0\0"
FILES_ELSE = 500  # of this process, besides the connections
CONNECTION_BYTES_MAX = 32 << 10  # of the server's memory, each, in any wave
SOCKETS_LEFT_MAX = 20  # an ordinary client may have come back over a new one
ACCEPT_SECONDS_MAX = 60.0


class IdleRun:
    """One server, an ordinary client, and waves of connections that come and go."""

    def __init__(self, directory: Path, connections: int, say: Callable[[str], None]) -> None:
        self.outcome = Outcome("idle-connections")
        self._connections = connections
        self._directory = directory
        self._say = say
        self._server = ServerProcess(directory / "data", errors=directory / "server.log")
        self._sockets: list[socket.socket] = []
        self._memory = 0  # of the server before there were any
        self._before = 0

    def run(self, *, waves: int, watch_seconds: float) -> Outcome:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard - FILES_ELSE < self._connections:
            self.outcome.skipped = f"{self._connections} connections, but {hard} open files at most"
            return self.outcome
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        with self._server:
            try:
                with Canaries(self._server.address, self._directory) as canaries:
                    usual = self._watch_before(canaries, watch_seconds)
                    grown = [self._wave(canaries, usual, watch_seconds) for _ in range(waves)]
            finally:
                self._close_all()
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        limit = self._connections * CONNECTION_BYTES_MAX
        self.outcome.require(max(grown) <= limit, "memory", f"{grown} bytes more in the waves")
        return self.outcome

    def _watch_before(self, canaries: Canaries, watch_seconds: float) -> Watched:
        canaries.watch(0.5)  # to warm up
        watched = canaries.watch(watch_seconds)
        self._memory, self._before = memory_bytes(self._server.pid), open_sockets(self._server.pid)
        self._note(f"none: {watched}, {self._memory >> 20} MiB, {self._before} sockets")
        return watched

    def _wave(self, canaries: Canaries, usual: Watched, watch_seconds: float) -> int:
        """Bytes by which the server is larger than before the first."""
        server = self._server
        _connect(server.address, self._connections, self._sockets)
        _wait_for_sockets(server.pid, self._before + self._connections)
        watched = canaries.watch(watch_seconds)
        grown = memory_bytes(server.pid) - self._memory
        held = open_sockets(server.pid) - self._before
        self._close_all()
        left = _wait_for_sockets(server.pid, self._before, down=True) - self._before
        after = memory_bytes(server.pid)
        self._note(
            f"{held} idle: {watched}, {self._memory + grown >> 20} MiB; closed: {left} left, "
            f"{after >> 20} MiB"
        )
        self.outcome.add("idle connections", held)
        require = self.outcome.require
        require(held >= self._connections, "not accepted", f"{held} of {self._connections}")
        require(watched.is_unnoticed(usual), "an ordinary client notices", str(watched))
        require(left <= SOCKETS_LEFT_MAX, "closed connections stay", f"{left} sockets")
        return grown

    def _note(self, line: str) -> None:
        self._say(line)
        self.outcome.notes.append(line)

    def _close_all(self) -> None:
        while self._sockets:
            self._sockets.pop().close()


def _connect(address: str, count: int, sockets: list[socket.socket]) -> None:
    host, _, port = address.rpartition(":")
    for number in range(count):
        connection = socket.create_connection((host, int(port)), timeout=30)
        sockets.append(connection)
        if number % 2:
            connection.sendall(PREFACE)


def _wait_for_sockets(pid: int, wanted: int, *, down: bool = False) -> int:
    """How many sockets the process has open once they are as many, or after a while."""
    deadline = time.monotonic() + ACCEPT_SECONDS_MAX
    while True:
        found = open_sockets(pid)
        if (found <= wanted if down else found >= wanted) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
