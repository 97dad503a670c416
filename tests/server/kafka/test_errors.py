from __future__ import annotations

import pytest
from kio.schema.errors import ErrorCode as KioErrorCode

from logstore import errors
from logstore_server.kafka.errors import ERROR_CODES, ErrorCode, error_code, error_message

CLASSES = sorted(set(errors.error_classes()), key=lambda cls: cls.__name__)
OURS = [cls for cls in CLASSES if cls.__module__ == "logstore.errors"]


@pytest.mark.parametrize("cls", OURS)
def test_every_error_has_a_row(cls: type[errors.LogStoreError]) -> None:
    assert cls in ERROR_CODES


@pytest.mark.parametrize("cls", OURS)
def test_no_error_is_told_as_success(cls: type[errors.LogStoreError]) -> None:
    assert ERROR_CODES[cls] is not ErrorCode.NONE


def test_codes_are_those_of_the_schemas() -> None:
    theirs = {code.name.upper(): int(code) for code in KioErrorCode}
    assert {code.name: int(code) for code in ErrorCode} == theirs


def test_a_class_without_a_row_has_its_parents() -> None:
    class Odd(errors.BatchLengthError):
        pass

    assert error_code(Odd("odd")) is ErrorCode.CORRUPT_MESSAGE


def test_long_and_odd_texts_are_cut() -> None:
    text = error_message(errors.InvalidRequestError("m" * 100_000 + "\ud800"))
    assert len(text.encode()) <= 1_000
