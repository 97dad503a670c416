"""AlterClientQuotas and DescribeClientQuotas; that quotas are kept is in ../test_throttling.py."""

from __future__ import annotations

from typing import Any

import pytest

from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.wire import Wire

PRODUCER, CONSUMER = "producer_byte_rate", "consumer_byte_rate"


def entry(entity: dict[str, str | None], **limits: float | None) -> dict[str, Any]:
    return {
        "entity": [{"entity_type": kind, "entity_name": name} for kind, name in entity.items()],
        "ops": [
            {"key": key, "value": value or 0.0, "remove": value is None}
            for key, value in limits.items()
        ],
    }


def alter(wire: Wire, *entries: dict[str, Any], version: int = 1, only: bool = False) -> list[int]:
    answer = wire.ask("alter_client_quotas", version, entries=entries, validate_only=only)
    return [one.error_code for one in answer.entries]


def describe(wire: Wire, *components: tuple[str, int, str | None], strict: bool = False) -> Any:
    asked = [
        {"entity_type": kind, "match_type": match, "match": name}
        for kind, match, name in components
    ]
    answer = wire.ask("describe_client_quotas", 1, components=asked, strict=strict)
    if answer.error_code:
        return answer.error_code
    return {
        tuple((part.entity_type, part.entity_name) for part in one.entity): {
            value.key: value.value for value in one.values
        }
        for one in answer.entries
    }


@pytest.mark.parametrize("version", [0, 1])
def test_quotas_come_and_go(store: LocalLogStore, wire: Wire, version: int) -> None:
    both = {"user": "ann", "client-id": None}
    ann = (("user", "ann"),)
    pair = (("client-id", None), ("user", "ann"))
    assert alter(
        wire,
        entry({"user": "ann"}, producer_byte_rate=1.0, consumer_byte_rate=2.5),
        entry(both, producer_byte_rate=3.0),
        version=version,
    ) == [0, 0]
    assert store.access.quotas() == {ann: {PRODUCER: 1.0, CONSUMER: 2.5}, pair: {PRODUCER: 3.0}}
    assert alter(wire, entry(both, producer_byte_rate=None), version=version) == [0]
    assert alter(wire, entry({"user": "ann"}, producer_byte_rate=9.0), only=True) == [0]
    assert describe(wire) == {ann: {PRODUCER: 1.0, CONSUMER: 2.5}}


def test_filters(wire: Wire) -> None:
    ann: dict[str, str | None]
    pair: dict[str, str | None]
    default: dict[str, str | None]
    ann, pair, default = (
        {"user": "ann"}, {"client-id": "x", "user": "ann"}, {"user": None},
    )  # fmt: skip
    alter(wire, *(entry(entity, producer_byte_rate=1.0) for entity in (ann, pair, default)))

    def found(*components: tuple[str, int, str | None], strict: bool = False) -> list[Any]:
        return [dict(entity) for entity in describe(wire, *components, strict=strict)]

    assert len(found()) == 3
    assert found(("user", 0, "ann")) == [ann, pair]
    assert found(("user", 0, "ann"), strict=True) == [ann]
    assert found(("user", 1, None)) == [default]
    assert found(("user", 2, None), ("client-id", 2, None)) == [pair]
    assert found(("client-id", 1, None)) == []
    assert found(("ip", 2, None)) == []


@pytest.mark.parametrize(
    ("components", "code"),
    [
        ([("user", 0, None)], ErrorCode.INVALID_REQUEST),
        ([("user", 1, "ann")], ErrorCode.INVALID_REQUEST),
        ([("user", 7, None)], ErrorCode.INVALID_REQUEST),
        ([("user", 2, None), ("user", 2, None)], ErrorCode.INVALID_REQUEST),
        ([("planet", 2, None)], ErrorCode.UNSUPPORTED_VERSION),
    ],
)
def test_filters_that_are_none(
    wire: Wire, components: list[tuple[str, int, str | None]], code: ErrorCode
) -> None:
    assert describe(wire, *components) == code


@pytest.mark.parametrize(
    "bad",
    [
        entry({}, producer_byte_rate=1.0),
        entry({"ip": "::1"}, producer_byte_rate=1.0),
        entry({"user": "ann"}, producer_byte_rate=-1.0),
        entry({"user": "ann"}, request_percentage=1.0),
        entry({"user": "ann"}, nope=1.0),
        {**entry({"user": "a"}), "ops": [{"key": PRODUCER, "value": 1.0, "remove": False}] * 2},
        {
            **entry({"user": "a"}, producer_byte_rate=1.0),
            "entity": entry({"user": "a"})["entity"] * 2,
        },
    ],
)
def test_what_is_refused_harms_no_other(
    store: LocalLogStore, wire: Wire, bad: dict[str, Any]
) -> None:
    good = entry({"user": "good"}, producer_byte_rate=1.0)
    assert alter(wire, bad, good) == [ErrorCode.INVALID_REQUEST, 0]
    assert list(store.access.quotas()) == [(("user", "good"),)]
