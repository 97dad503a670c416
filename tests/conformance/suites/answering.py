"""Does a Kafka listener answer? One Metadata request, by hand: no client under test is used here.

request   int32 size | int16 key 3 | int16 version 0 | int32 correlation | string client id
          | int32 count of topics (0: all)
response  int32 size | int32 correlation | int32 count of brokers | ...
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable

ANSWER_SECONDS_MAX = 5
_CLIENT = b"conformance"
_METADATA = struct.pack(f">hhih{len(_CLIENT)}si", 3, 0, 1, len(_CLIENT), _CLIENT, 0)


def knows_a_broker(host: str, port: int) -> bool:
    """Whether it answers Metadata with at least one broker: it is then ready for clients."""
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS_MAX) as connection:
            connection.settimeout(ANSWER_SECONDS_MAX)
            connection.sendall(struct.pack(">i", len(_METADATA)) + _METADATA)
            head = b""
            while len(head) < 12:
                chunk = connection.recv(12 - len(head))
                if not chunk:
                    return False
                head += chunk
    except OSError:
        return False
    brokers: int = struct.unpack(">iii", head)[2]
    return brokers > 0


def wait_until_ready(
    host: str, port: int, *, seconds: float, is_alive: Callable[[], bool], pause: float = 0.2
) -> bool:
    """False when the process ended or the time is over first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and is_alive():
        if knows_a_broker(host, port):
            return True
        time.sleep(pause)
    return False
