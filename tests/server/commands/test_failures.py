from pathlib import Path

import pytest

from logstore import errors
from logstore_server.commands.failures import ADVICE, as_failure
from logstore_server.commands.target import Target


def text_of(error: Exception, target: Target | None = None) -> str:
    failure = as_failure(error, target)
    assert failure is not None
    assert failure.exit_code == 1
    return failure.message


@pytest.mark.parametrize("cls", list(errors.error_classes()))
def test_every_error_is_a_sentence(cls: type[errors.LogStoreError]) -> None:
    assert text_of(cls("what was wrong")).startswith("what was wrong")
    assert text_of(cls("")).startswith(cls.reason)


def test_advice_is_made_for_the_command_and_the_error() -> None:
    error = errors.UnknownTopicError("there is no topic 'orders'", topic="orders")
    assert text_of(error, Target(Path("data"))) == (
        "there is no topic 'orders': 'logstore --store data topic create orders', "
        "or see 'logstore --store data topic list'"
    )
    assert "'logstore topic create NAME'" in text_of(errors.UnknownTopicError("there is none"))


def test_advice_is_complete_without_details() -> None:
    for cls in ADVICE:
        assert "{" not in text_of(cls("x"))


def test_what_grpc_says_is_cut_to_its_end() -> None:
    error = errors.UnavailableError(
        "localhost:1 cannot be reached: failed to connect to all addresses; last error: UNKNOWN: "
        "ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused"
    )
    assert text_of(error).startswith("localhost:1 cannot be reached (Connection refused); start")


def test_the_system_names_the_file() -> None:
    assert text_of(PermissionError(13, "Permission denied", "data")) == "data: Permission denied"
    assert text_of(OSError("cannot listen on 127.0.0.1:7070")) == "cannot listen on 127.0.0.1:7070"


def test_anything_else_is_a_bug() -> None:
    assert as_failure(KeyError("x"), None) is None
