"""A group that gets on is waited for, however long it takes; one that stands still is told of."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.torture.asking import wait_for_commits
from tests.torture.traffic import Client


def commits(*found: list[int]) -> Iterator[tuple[list[int], list[int]]]:
    """What is committed, time after time, the last of it for ever; all is [2, 2]."""
    for offsets in found:
        yield offsets, [2, 2]
    while True:
        yield found[-1], [2, 2]


def test_a_group_that_gets_on_is_waited_for() -> None:
    answers = commits([0, 0], [1, 0], [1, 1], [2, 1], [2, 2])
    wait_for_commits(lambda: next(answers), lambda: "never asked", standstill_seconds=0.0)


def test_a_group_that_stands_still_is_told_of() -> None:
    answers = commits([0, 0], [2, 1])
    with pytest.raises(
        AssertionError, match=r"at \[2, 1\] of \[2, 2\] for 0.0 s: its clients sleep"
    ):
        wait_for_commits(lambda: next(answers), lambda: "its clients sleep", standstill_seconds=0.0)


class Waiting(Client):
    """Meets an error and waits."""

    def __init__(self) -> None:
        super().__init__("waiting-1", "")
        self.waits = threading.Event()

    def work(self) -> None:
        self.met(ValueError("of before"))
        self.waits.set()
        self.wait_here()

    def wait_here(self) -> None:
        self.stopping.wait()


def test_a_client_says_what_it_does_and_what_it_met() -> None:
    client = Waiting()
    client.start()
    client.waits.wait()
    state = client.state()
    client.stopping.set()
    client.join()
    assert state.startswith("waiting-1: runs\n  0.")
    assert "met ValueError('of before')\n" in state
    assert "test_asking.py" in state
    assert "work" in state
    assert client.state().startswith("waiting-1: has ended")
