"""One connection without its I/O: bytes in, request frames out; answers in, bytes in order out.

    frame    int32 length, then that many bytes: a request header and body

    received      [ partial frame ]  queued frames  ->  next_frame  ->  in flight (oldest first)
    answered      in any order; `take_output` gives those that are at the head, in request order

Limits
- a frame's length is checked before anything is allocated for it, and its buffer grows with what
  really arrives: a length that lies costs nothing
- `requests_max` frames or `bytes_max` bytes are queued and in flight; then `wants_bytes` is false
  and the transport must pause: a client that floods without reading answers stops itself

Nothing here awaits, reads a clock or touches a socket. Only FrameError leaves it on purpose.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from logstore_server.kafka.encoding import Part

LENGTH_BYTES = 4
# api key, version, correlation id: no request is shorter.
FRAME_BYTES_MIN = 8
# The buffer of a frame that comes in pieces starts at this, and then grows to so many times what
# has arrived: a megabyte is moved a third of a time, and a length that lies costs 16 KiB.
FRAME_BUFFER_BYTES = 16 * 1024
FRAME_BUFFER_GROWTH = 4

_LENGTH = struct.Struct(">i")


class FrameError(Exception):
    """What comes is not a frame. The connection ends."""


@dataclass(slots=True, eq=False)
class InFlight:
    """A request that was given out.

    `taken`: the next may start if it is of a kind that overlaps. `parts`: the answer, None until
    there is one, empty if the client wants none. `release`: to be called when they are sent.
    """

    size_bytes: int
    taken: bool = False
    parts: list[Part] | None = None
    release: Callable[[], None] | None = None


@dataclass(slots=True, eq=False)
class Output:
    """Bytes to send, and what to call when they are sent (or never will be)."""

    parts: list[Part] = field(default_factory=list)
    releases: list[Callable[[], None]] = field(default_factory=list)


class Connection:
    """`scratch` is where bytes arrive between frames; connections of one loop may share it.

    `first_frame_bytes_max`: the limit until `allow_large_frames`, for clients that nobody knows.
    """

    __slots__ = (
        "_bytes_max", "_filled", "_frame", "_frame_bytes_max", "_frame_size", "_held_bytes",
        "_in_flight", "_large_frame_bytes_max", "_length", "_may_overlap", "_queue",
        "_requests_max", "_scratch",
    )  # fmt: skip

    def __init__(
        self,
        scratch: memoryview,
        *,
        frame_bytes_max: int,
        first_frame_bytes_max: int | None = None,
        requests_max: int,
        bytes_max: int,
        may_overlap: Callable[[memoryview], bool],
    ) -> None:
        self._may_overlap = may_overlap
        self._scratch = scratch
        self._large_frame_bytes_max = frame_bytes_max
        self._frame_bytes_max = frame_bytes_max
        if first_frame_bytes_max is not None:
            self._frame_bytes_max = min(frame_bytes_max, first_frame_bytes_max)
        self._requests_max = requests_max
        self._bytes_max = bytes_max
        self._length = b""  # the first bytes of a frame's length
        self._frame: bytearray | None = None  # a frame that is not whole yet
        self._frame_size = 0
        self._filled = 0
        self._queue: deque[memoryview] = deque()
        self._in_flight: deque[InFlight] = deque()
        self._held_bytes = 0  # queued and in flight

    def allow_large_frames(self) -> None:
        """The client has shown who it is."""
        self._frame_bytes_max = self._large_frame_bytes_max

    # --- in ---------------------------------------------------------------------------------

    @property
    def wants_bytes(self) -> bool:
        held = len(self._queue) + len(self._in_flight)
        return held < self._requests_max and (self._held_bytes < self._bytes_max or not held)

    def buffer(self) -> memoryview:
        """Where the next bytes go; tell `received` how many came before anything else is asked."""
        if self._frame is None:
            return self._scratch
        if self._filled == len(self._frame):
            size = min(self._frame_size, FRAME_BUFFER_GROWTH * len(self._frame))
            grown = bytearray(size)
            grown[: self._filled] = self._frame
            self._frame = grown
        return memoryview(self._frame)[self._filled :]

    def received(self, count: int) -> None:
        """Raises FrameError; the connection is of no use then."""
        if self._frame is not None:
            self._filled += count
            if self._filled == self._frame_size:
                frame, self._frame = self._frame, None
                self._take(memoryview(frame).toreadonly())
            return
        data = self._scratch[:count]
        position = 0
        while position < count:
            if len(self._length) < LENGTH_BYTES:
                piece = data[position : position + LENGTH_BYTES - len(self._length)]
                position += len(piece)
                self._length += piece
                if len(self._length) < LENGTH_BYTES:
                    return
            size = self._checked_length()
            self._length = b""
            end = position + size
            if end > count:
                self._begin_frame(data[position:], size)
                return
            self._take(memoryview(bytes(data[position:end])))
            position = end

    def _checked_length(self) -> int:
        (size,) = _LENGTH.unpack(self._length)
        if FRAME_BYTES_MIN <= size <= self._frame_bytes_max:
            return int(size)
        if self._length[:2] == b"\x16\x03":
            raise FrameError("a TLS hello came; this port speaks plain Kafka")
        if self._length in (b"GET ", b"POST", b"HEAD", b"PUT ", b"PRI "):
            raise FrameError("an HTTP request came; this port speaks Kafka's protocol")
        raise FrameError(
            f"a frame of {size} bytes was announced; it takes {FRAME_BYTES_MIN} to "
            f"{self._frame_bytes_max} (kafka.request_bytes_max)"
        )

    def _begin_frame(self, start: memoryview, size: int) -> None:
        self._frame = bytearray(
            min(size, max(FRAME_BUFFER_BYTES, FRAME_BUFFER_GROWTH * len(start)))
        )
        self._frame[: len(start)] = start
        self._frame_size = size
        self._filled = len(start)

    def _take(self, frame: memoryview) -> None:
        self._held_bytes += len(frame)
        self._queue.append(frame)

    # --- requests ---------------------------------------------------------------------------

    def next_frame(self) -> memoryview | None:
        """The next request that may start now, or None; `start` must follow.

        A request starts when all before it are answered. But one that may overlap starts once the
        one before it, which may too, was taken.
        """
        if not self._queue:
            return None
        if self._in_flight:
            last = self._in_flight[-1]
            if not last.taken or not self._may_overlap(self._queue[0]):
                return None
        return self._queue.popleft()

    def start(self, frame: memoryview) -> InFlight:
        request = InFlight(len(frame))
        self._in_flight.append(request)
        return request

    @property
    def is_idle(self) -> bool:
        """Nothing is queued, in flight or begun."""
        return not (self._queue or self._in_flight or self._frame or self._length)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def take_output(self) -> Output:
        """The answers that may be sent now: those before which nothing is missing."""
        output = Output()
        while self._in_flight and (parts := self._in_flight[0].parts) is not None:
            request = self._in_flight.popleft()
            self._held_bytes -= request.size_bytes
            output.parts += parts
            if request.release is not None:
                output.releases.append(request.release)
        return output

    def abandon(self) -> list[Callable[[], None]]:
        """The transport is gone: forget everything; what has to be released still."""
        releases = [one.release for one in self._in_flight if one.release is not None]
        self._queue.clear()
        self._in_flight.clear()
        self._frame = None
        self._held_bytes = 0
        return releases
