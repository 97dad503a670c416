from __future__ import annotations

import logging
from pathlib import Path

import grpc
import pytest

from logstore.errors import InvalidRequestError
from logstore.v1 import common_pb2
from logstore.v1 import store_service_pb2 as store
from logstore_server.rpc.calls import parse, snake_case
from logstore_server.rpc.listener import SERVICES
from tests.server.memory_store import MemoryStore
from tests.server.rpc.stubs import Stubs, refused

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("service", SERVICES)
def test_every_rpc_of_the_contract_has_a_handler(service: type) -> None:
    for method in service.descriptor.methods:  # type: ignore[attr-defined]
        assert callable(getattr(service, snake_case(method.name)))


def test_every_service_of_the_contract_is_served() -> None:
    files = (ROOT / "proto/logstore/v1").glob("*_service.proto")
    names = {path.name.removesuffix("_service.proto") for path in files}
    assert names == {
        service.descriptor.name.removesuffix("Service").lower() for service in SERVICES
    }


def test_names() -> None:
    assert [snake_case(name) for name in ("Fetch", "DescribeStore")] == ["fetch", "describe_store"]


def test_parse_says_what_was_expected() -> None:
    with pytest.raises(InvalidRequestError, match=r"not a logstore\.v1\.Record"):
        parse(common_pb2.Record, b"\xff")


def test_a_bug_is_logged_and_told_as_internal(
    memory: MemoryStore, memory_stubs: Stubs, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("secret")

    memory.describe_store = broken  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        answer = refused(memory_stubs.store.DescribeStore, store.DescribeStoreRequest())
    assert answer == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" in caplog.text
