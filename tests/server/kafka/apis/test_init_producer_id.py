from __future__ import annotations

import pytest

from logstore.api import TopicSpec
from logstore.store import LocalLogStore
from logstore_server.kafka.errors import ErrorCode
from tests.server.kafka.apis.txn_client import add, end, init
from tests.server.kafka.wire import Wire

VERSIONS = range(7)
REFUSED = (-1, -1)


@pytest.fixture(autouse=True)
def topic(store: LocalLogStore) -> None:
    store.create_topic(TopicSpec("t", 2))


@pytest.mark.parametrize("version", VERSIONS)
def test_ids_are_never_given_twice(wire: Wire, version: int) -> None:
    first, second = init(wire, None, version=version), init(wire, None, version=version)
    assert first.producer_id != second.producer_id
    assert first.producer_epoch == second.producer_epoch == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_producer_of_the_id_fences_the_old_one(wire: Wire, version: int) -> None:
    old = init(wire, version=version)
    assert add(wire, old, {"t": [0]}) == {("t", 0): 0}
    new = init(wire, version=version)  # aborts what is open, in the same answer
    assert new.producer_id == old.producer_id
    assert new.producer_epoch > old.producer_epoch
    assert end(wire, old).error_code == ErrorCode.PRODUCER_FENCED


@pytest.mark.parametrize("version", range(3, 7))
def test_a_producer_goes_on_unless_it_was_replaced(wire: Wire, version: int) -> None:
    first = init(wire)
    second = init(wire, version=version, **first._asdict())
    assert init(wire, version=version, **first._asdict()) == second  # the answer was lost
    init(wire)
    answer = wire.ask(
        "init_producer_id",
        version,
        transactional_id="x",
        transaction_timeout=1000,
        **second._asdict(),
    )
    fenced = ErrorCode.PRODUCER_FENCED if version >= 4 else ErrorCode.INVALID_PRODUCER_EPOCH
    assert (answer.error_code, (answer.producer_id, answer.producer_epoch)) == (fenced, REFUSED)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"transactional_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"producer_id": 5}, ErrorCode.INVALID_REQUEST),
        ({"producer_epoch": 5}, ErrorCode.INVALID_REQUEST),
        ({"transaction_timeout": 0}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ({"transaction_timeout": -1}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ({"transaction_timeout": (1 << 31) - 1}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ({"enable2_pc": True}, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        ({"keep_prepared_txn": True}, ErrorCode.UNSUPPORTED_VERSION),
    ],
)
def test_what_is_refused(wire: Wire, fields: dict[str, object], code: ErrorCode) -> None:
    asked = {"transactional_id": "x", "transaction_timeout": 1000} | fields
    answer = wire.ask("init_producer_id", 6, **asked)
    assert (answer.error_code, (answer.producer_id, answer.producer_epoch)) == (code, REFUSED)
