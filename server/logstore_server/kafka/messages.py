"""The messages of one version of one API: reading its requests, writing its answers.

The schemas are kio's, one module for each version, loaded when a client first sends that version,
in a worker thread (a few milliseconds each; the first also loads kio itself).
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from logstore_server.kafka.decoding import Input, MalformedRequestError, Reader, entity_reader
from logstore_server.kafka.encoding import Output, Part, Values, Writer, entity_writer
from logstore_server.kafka.registry import Api

__all__ = ["Answer", "Handler", "MalformedRequestError", "Messages"]

Answer: TypeAlias = Values | None  # None: the client wants none
# (API key, handler, schema of the answer) -> the handler behind what all of them are behind.
Gate: TypeAlias = Callable[[int, "Handler", type[Any]], "Handler"]
Handler: TypeAlias = Callable[[Any], Answer | Awaitable[Answer]]

_PREFIX = struct.Struct(">ii")  # length, correlation id


@dataclass(frozen=True, slots=True)
class Messages:
    api: Api
    version: int
    is_flexible: bool
    handle: Handler
    _read: Reader
    _write: Writer
    _header_is_flexible: bool

    @classmethod
    def load(cls, api: Api, version: int, gate: Gate | None = None) -> Messages:
        """Imports what is needed: call it in a thread. Thread-safe. `gate`: see gate.py."""
        from kio.index import load_request_schema, load_response_schema

        request = load_request_schema(api.key, version)
        response = load_response_schema(api.key, version)
        handle: Handler = importlib.import_module(api.module).handle
        if gate is not None:
            handle = gate(api.key, handle, response)
        return cls(
            api=api,
            version=version,
            is_flexible=request.__flexible__,
            handle=handle,
            _read=entity_reader(request),
            _write=entity_writer(response),
            _header_is_flexible=response.__header_schema__.__flexible__,
        )

    def read(self, frame: memoryview, position: int) -> Any:
        """The request's body. Raises MalformedRequestError."""
        return self._read(Input(frame, position))

    def encode(self, correlation_id: int, values: Values) -> list[Part]:
        """A whole frame. Raises for values that are not the schema's: a bug of the handler."""
        out = Output()
        out.tail += _PREFIX.pack(0, correlation_id)
        if self._header_is_flexible:
            out.tail.append(0)
        self._write(out, values)
        size = out.size_bytes
        parts = out.finish()
        struct.pack_into(">i", parts[0], 0, size - 4)
        return parts
