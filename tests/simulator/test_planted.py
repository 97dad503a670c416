"""Show 2: bugs put in on purpose are found, by the checker that finds nothing without them.

Here each by a seed that was known to find it, or one of the first; `slow` searches from seed 0 on.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.simulator.planted import BUGS, planted
from tests.simulator.run import check_seed

HISTORIES_MAX = 2_000
HISTORIES_IN_TEST = 60
# Where the search begins. A change of the engine may move them; then it takes longer.
FOUND_BY = {
    "fsync_before_the_write": 0,
    "no_directory_fsync_after_a_roll": 10,
    "high_watermark_ahead_of_the_flush": 0,
    "index_trusted_after_a_crash": 16,
    "sequence_table_not_snapshotted": 0,
    "marker_lost": 9,
    "tombstone_too_early": 41,
    "retry_of_a_failed_fsync": 36,
    "checkpoint_ahead_of_data": 57,
    "torn_tail_kept": 2,
    "high_watermark_raised_by_recovery_without_a_sync": 39,
    "reopen_after_a_failed_fsync_trusts_the_page_cache": 34,
}


def first_that_finds(bug: str, seeds: Iterable[int]) -> int | None:
    with planted(bug):
        return next((seed for seed in seeds if check_seed(seed)[1]), None)


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    found = first_that_finds(bug, [FOUND_BY[bug], *range(HISTORIES_IN_TEST)])
    assert found is not None
    assert check_seed(found)[1] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_by_search(bug: str) -> None:
    found = first_that_finds(bug, range(HISTORIES_MAX))
    assert found is not None
    print(f"{bug}: {found}")
    assert check_seed(found)[1] == []


def test_there_are_twelve() -> None:
    assert len(BUGS) == 12
    assert set(FOUND_BY) == set(BUGS)
