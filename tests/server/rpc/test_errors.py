from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from logstore import errors
from logstore_server.rpc.errors import STATUS_CODES, error_message, status_code, status_details

CLASSES = sorted(set(errors.error_classes()), key=lambda cls: cls.__name__)
OURS = [cls for cls in CLASSES if cls.__module__ == "logstore.errors"]


@pytest.mark.parametrize("cls", OURS)
def test_every_error_has_a_row(cls: type[errors.LogStoreError]) -> None:
    assert cls in STATUS_CODES


@pytest.mark.parametrize("cls", OURS)
def test_no_error_is_told_as_success_or_as_unknown(cls: type[errors.LogStoreError]) -> None:
    assert STATUS_CODES[cls] not in (grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN)


def test_a_class_without_a_row_has_its_parents() -> None:
    class Odd(errors.BatchLengthError):
        pass

    assert status_code(Odd("odd")) is grpc.StatusCode.INVALID_ARGUMENT


def test_details_carry_reason_facts_and_whether_to_try_again() -> None:
    error = errors.DiskFullError("the disk is full", path="x", free_bytes=0)
    status = status_pb2.Status.FromString(status_details(error))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (8, "the disk is full")
    assert (info.reason, info.domain) == ("DISK_FULL", "logstore")
    assert dict(info.metadata) == {"path": "x", "free_bytes": "0", "retriable": "true"}


def test_long_and_odd_texts_fit_into_trailing_metadata() -> None:
    error = errors.InvalidRequestError(
        "m" * 100_000 + "\ud800", **{f"detail{number}": "\udfff" * 100_000 for number in range(50)}
    )
    assert len(status_details(error)) < 8 * 1024 - 1500  # the message is sent beside it
    assert len(error_message(error).SerializeToString()) < 8 * 1024


def test_an_error_of_a_part_carries_the_same_facts() -> None:
    message = error_message(errors.WrongEndpointError("elsewhere", endpoint="b:2"))
    assert (message.code, message.reason, message.retriable) == (9, "WRONG_ENDPOINT", True)
    assert message.metadata["endpoint"] == "b:2"
