"""From what gRPC tells of a failed call back to the classes of logstore.errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from logstore import errors
from logstore.errors import LogStoreError
from logstore.v1 import common_pb2

DOMAIN = "logstore"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
DRAINING = "draining"  # in the details of the error that ends the streams of a stopping server

# For failures that do not come from our server's code: the transport, a proxy, gRPC itself.
CLASSES_BY_CODE: dict[grpc.StatusCode, type[LogStoreError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.RequestTimeoutError,
    grpc.StatusCode.CANCELLED: errors.UnavailableError,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.TooManyRequestsError,
}


def error_from_call(failure: grpc.RpcError, endpoint: str) -> LogStoreError:
    """The error that the server raised, or one that says what became of the call."""
    told = _told_by_server(failure)
    if told is not None:
        return told
    code, text = failure.code(), failure.details() or ""
    cls = CLASSES_BY_CODE.get(code, LogStoreError)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:
        cls = errors.RequestTooLargeError
    if cls is errors.UnavailableError:
        text = f"{endpoint} cannot be reached or closed the connection: {text}"
    elif cls is errors.RequestTimeoutError:
        text = f"no answer from {endpoint} in time"
    elif cls is LogStoreError:
        text = f"{endpoint} answered {code.name}: {text}"
    return _make(cls, text, {"endpoint": endpoint, "grpc_code": code.name})


def is_from_server(error: LogStoreError) -> bool:
    """Whether the server's code raised it, not gRPC on the way."""
    return "grpc_code" not in error.details


def error_from_message(message: common_pb2.Error) -> LogStoreError:
    """The error of a part of a request."""
    return _known(message.reason, message.message, message.metadata)


def _told_by_server(failure: grpc.RpcError) -> LogStoreError | None:
    metadata: Any = failure.trailing_metadata()  # (key, value) tuples, or None
    for key, value in metadata or ():
        if key == STATUS_DETAILS_KEY:
            # Imported at the first error, as a client that meets none need not hold them.
            from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info) and info.domain == DOMAIN:
                    details = {k: v for k, v in info.metadata.items() if k != "retriable"}
                    return _known(info.reason, failure.details() or "", details)
    return None


def _known(reason: str, text: str, details: Mapping[str, str]) -> LogStoreError:
    cls = errors.error_for_reason(reason)
    if cls is LogStoreError and reason != LogStoreError.reason:  # of a newer server
        return _make(cls, f"{text} ({reason})", details)
    return _make(cls, text, details)


def _make(cls: type[LogStoreError], text: str, details: Mapping[str, str]) -> LogStoreError:
    error = cls(text)
    error.details.update(details)
    return error
