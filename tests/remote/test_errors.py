from __future__ import annotations

from typing import Any

import grpc
import pytest

from logstore import errors
from logstore.remote.errors import (
    DRAINING,
    error_from_call,
    error_from_message,
    is_from_server,
)
from logstore.v1 import common_pb2
from logstore_server.rpc.calls import draining_error
from logstore_server.rpc.errors import error_message, status_code, status_details

CLASSES = [cls for cls in errors.error_classes() if cls.__module__ == "logstore.errors"]


class Failure(grpc.RpcError):
    """As grpc raises it."""

    def __init__(
        self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._metadata


def sent(error: errors.LogStoreError) -> Failure:
    metadata = (("other", b"x"), ("grpc-status-details-bin", status_details(error)))
    return Failure(status_code(error), error.message, metadata)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_comes_back_as_itself(cls: type[errors.LogStoreError]) -> None:
    error = cls("what was wrong", topic="t", offset=5)
    for back in (error_from_call(sent(error), "a:1"), error_from_message(error_message(error))):
        assert type(back) is cls
        assert back.message == "what was wrong"
        assert back.details == {"topic": "t", "offset": "5"}
        assert back.retriable == cls.retriable
        assert is_from_server(back)


def test_details_may_have_any_name() -> None:
    message = common_pb2.Error(reason="INTERNAL", metadata={"message": "m", "self": "s", "a-b": ""})
    assert error_from_message(message).details == {"message": "m", "self": "s", "a-b": ""}


def test_a_reason_of_a_newer_server_is_shown() -> None:
    error = error_from_message(common_pb2.Error(reason="FROM_TOMORROW", message="no"))
    assert type(error) is errors.LogStoreError
    assert error.message == "no (FROM_TOMORROW)"


@pytest.mark.parametrize(
    ("code", "text", "cls"),
    [
        (grpc.StatusCode.UNAVAILABLE, "refused", errors.UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", errors.RequestTimeoutError),
        (grpc.StatusCode.CANCELLED, "", errors.UnavailableError),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "Received message larger than max (9 vs. 4)",
            errors.RequestTooLargeError,
        ),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "Concurrent RPC limit exceeded!",
            errors.TooManyRequestsError,
        ),
        (grpc.StatusCode.UNIMPLEMENTED, "no such method", errors.LogStoreError),
    ],
)
def test_what_grpc_itself_tells(
    code: grpc.StatusCode, text: str, cls: type[errors.LogStoreError]
) -> None:
    error = error_from_call(Failure(code, text), "host:7070")
    assert type(error) is cls
    assert error.details["endpoint"] == "host:7070"
    assert not is_from_server(error)


def test_details_of_somebody_else_are_not_ours() -> None:
    from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

    status = status_pb2.Status(code=14)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="DISK_FULL", domain="proxy"))
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    error = error_from_call(Failure(grpc.StatusCode.UNAVAILABLE, "x", metadata), "a:1")
    assert type(error) is errors.UnavailableError


def test_the_end_of_a_stopping_servers_streams_is_recognised() -> None:
    error = error_from_call(sent(draining_error()), "a:1")
    assert is_from_server(error)
    assert DRAINING in error.details
