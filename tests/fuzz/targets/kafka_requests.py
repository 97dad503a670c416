"""Invariant: a request is answered, or its connection closed; no handler fails, none is harmed.

The requests of groups, transactions, security and configs, which other tests have rigs for, are
read only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import overload

from logstore_server.kafka.decoding import MalformedRequestError
from tests.fuzz.kafka import CALLS, ClosedError, Rig, frame, loaded, sample_body
from tests.fuzz.target import Target, require


@cache
def rig() -> Rig:
    return Rig()


HANDLED = {
    "produce", "fetch", "list_offsets", "delete_records", "offset_for_leader_epoch", "metadata",
    "find_coordinator", "api_versions", "get_telemetry_subscriptions",
}  # fmt: skip


class Seeds(Sequence[bytes]):
    """One request of each API and version, made when it is wanted: schemas take a while."""

    def __len__(self) -> int:
        return len(CALLS)

    @overload
    def __getitem__(self, number: int) -> bytes: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[bytes]: ...
    def __getitem__(self, number: int | slice) -> bytes | Sequence[bytes]:
        """The first two bytes say which API and version is asked."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        api, version = CALLS[number]
        return number.to_bytes(2, "big") + sample_body(api.key, version)


def check(data: bytes) -> object:
    api, version = CALLS[int.from_bytes(data[:2], "big") % len(CALLS)]
    if api.name not in HANDLED:
        body = loaded(api.key, version).read(memoryview(data[2:]), 0)
        return api.name, version, type(body).__name__
    answers = rig().send(frame(api.key, version, data[2:]))
    require(len(answers) <= 1, "one request has one answer")
    require(not answers or answers[0][:4] == b"\0\0\0\7", "the answer is the request's")
    return api.name, version, len(answers[0]) if answers else -1


TARGET = Target(
    "kafka_requests",
    Seeds,
    check,
    (ClosedError, MalformedRequestError),
    bytes_max=600,
    memory_bytes_max=512 << 20,
)
