from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from logstore.errors import DiskFullError, RequestTimeoutError
from logstore.pending import Pending


def test_a_waiter_in_another_thread_gets_the_value() -> None:
    pending: Pending[int] = Pending()
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(pending.result(10)))
    waiter.start()
    pending.set_result(5)
    waiter.join()
    assert got == [5]
    assert pending.done


def test_an_error_is_raised_to_every_waiter() -> None:
    error = DiskFullError("full")
    pending: Pending[int] = Pending.failed(error)
    for _ in range(2):
        with pytest.raises(DiskFullError):
            pending.result(0)
    assert pending.error is error


def test_callbacks_run_once_whether_added_before_or_after() -> None:
    pending: Pending[str] = Pending()
    seen: list[str] = []
    pending.add_done_callback(lambda done: seen.append("before " + done.result()))
    pending.set_result("x")
    pending.add_done_callback(lambda done: seen.append("after " + done.result()))
    assert seen == ["before x", "after x"]


def test_a_timeout_says_how_long() -> None:
    with pytest.raises(RequestTimeoutError, match=r"0\.01 s"):
        Pending[int]().result(0.01)


def test_finishing_twice_is_a_bug() -> None:
    pending = Pending.completed(1)
    with pytest.raises(AssertionError):
        pending.set_result(2)


def test_a_waiter_does_the_work_itself_when_it_can() -> None:
    threads: list[str] = []

    def help_with(done: Callable[[], bool], timeout: float | None) -> None:
        threads.append(threading.current_thread().name)
        assert not done()
        pending.set_result(9)

    pending: Pending[int] = Pending(help_with)
    assert pending.result(1) == 9
    assert threads == [threading.current_thread().name]


def test_what_follows_ends_after_the_value_was_taken() -> None:
    pending: Pending[int] = Pending()
    taken: list[int] = []
    following = pending.then(taken.append)
    following.add_done_callback(lambda done: taken.append(done.result() * 10))
    pending.set_result(1)
    assert taken == [1, 10]
    failed: Pending[int] = Pending()
    after_failure = failed.then(taken.append)
    failed.set_error(DiskFullError("full"))
    assert isinstance(after_failure.error, DiskFullError)
    assert taken == [1, 10]
