"""A Kafka client of bytes: one connection, requests by name of field, answers as kio reads them."""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from typing import Any

from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader

from logstore_server.kafka.encoding import Output, entity_writer
from logstore_server.kafka.registry import APIS

TIMEOUT_S = 20.0
KEYS = {api.name: api.key for api in APIS}


def request_bytes(
    name: str,
    version: int,
    fields: dict[str, Any],
    *,
    correlation_id: int = 1,
    client_id: str = "t",
) -> bytes:
    """A whole frame."""
    key = KEYS[name]
    schema = load_request_schema(key, version)
    out = Output()
    entity_writer(schema)(out, fields)
    tags = b"\0" if schema.__flexible__ else b""
    body = b"".join(out.finish())
    return raw_request(key, version, tags + body, correlation_id, client_id)


def raw_request(
    key: int, version: int, body: bytes, correlation_id: int = 1, client_id: str = "t"
) -> bytes:
    name = client_id.encode()
    head = struct.pack(">hhih", key, version, correlation_id, len(name)) + name
    return struct.pack(">i", len(head) + len(body)) + head + body


class Wire:
    """Ended by `close`, or the with block."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        self._number = 0

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, name: str, version: int, **fields: Any) -> int:
        """Its correlation id."""
        self._number += 1
        self.socket.sendall(request_bytes(name, version, fields, correlation_id=self._number))
        return self._number

    def ask(self, name: str, version: int, **fields: Any) -> Any:
        number = self.send(name, version, **fields)
        answered, answer = self.receive(name, version)
        assert answered == number
        return answer

    def receive(self, name: str, version: int) -> tuple[int, Any]:
        """(correlation id, answer); EOFError if the server closed."""
        frame = self.receive_frame()
        schema = load_response_schema(KEYS[name], version)
        position = 4
        if schema.__header_schema__.__flexible__:
            assert frame[4] == 0
            position = 5
        answer, size = entity_reader(schema)(frame, position)
        assert position + size == len(frame), "bytes are left over"
        return struct.unpack_from(">i", frame)[0], answer

    def receive_frame(self) -> bytes:
        (size,) = struct.unpack(">i", self._receive(4))
        return self._receive(size)

    def is_closed(self) -> bool:
        """Whether the server closes, having sent nothing more."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _receive(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.socket.recv(min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def answers(address: str) -> bool:
    """Whether a new connection is served."""
    with closing(Wire(address)) as wire:
        return bool(wire.ask("api_versions", 0).api_keys)
