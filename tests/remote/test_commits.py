from __future__ import annotations

import threading

import pytest

from logstore.errors import ClientClosedError, DiskFullError, LogStoreError
from logstore.remote.commits import Commits


def test_commits_of_a_group_keep_their_order_and_groups_do_not_wait() -> None:
    commits = Commits(4)
    seen: list[int] = []
    go = threading.Event()
    first = commits.submit("slow", lambda: (go.wait(5), seen.append(0))[1])  # type: ignore[func-returns-value]
    later = [commits.submit("slow", lambda n=n: seen.append(n)) for n in range(1, 50)]  # type: ignore[misc]
    commits.submit("fast", lambda: None).result(5)
    assert not first.done
    go.set()
    later[-1].result(5)
    assert seen == list(range(50))
    commits.close()


def test_a_commit_that_fails_does_not_hold_up_the_next() -> None:
    commits = Commits(1)

    def full() -> None:
        raise DiskFullError("full")

    failed = commits.submit("g", full)
    broken = commits.submit("g", lambda: 1 // 0)  # type: ignore[arg-type]
    commits.submit("g", lambda: None).result(5)
    with pytest.raises(DiskFullError):
        failed.result(0)
    with pytest.raises(LogStoreError, match="ZeroDivisionError"):
        broken.result(0)
    commits.close()


def test_closing_waits_for_what_was_committed() -> None:
    commits = Commits(1)
    done = [commits.submit("g", lambda: None) for _ in range(20)]
    commits.close()
    assert all(pending.done for pending in done)
    with pytest.raises(ClientClosedError):
        commits.submit("g", lambda: None).result(0)
