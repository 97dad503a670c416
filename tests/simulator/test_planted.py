"""Show 2: bugs put in on purpose are found, by the checker that finds nothing without them.

Here each by the first seed that is known to find it; `slow` searches from seed 0 on.
"""

from __future__ import annotations

import pytest

from tests.simulator.planted import BUGS, planted
from tests.simulator.run import check_seed

HISTORIES_MAX = 2_000
# The first seeds that find them; a change of the simulation moves them: run the slow test.
FOUND_BY = {
    "fsync_before_the_write": 0,
    "no_directory_fsync_after_a_roll": 4,
    "high_watermark_ahead_of_the_flush": 0,
    "index_trusted_after_a_crash": 5,
    "sequence_table_not_snapshotted": 0,
    "retry_of_a_failed_fsync": 2,
    "checkpoint_ahead_of_data": 3,
    "torn_tail_kept": 3,
    "high_watermark_raised_by_recovery_without_a_sync": 27,
    "reopen_after_a_failed_fsync_trusts_the_page_cache": 2,
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    seed = FOUND_BY[bug]
    with planted(bug):
        assert check_seed(seed)[1] != []
    assert check_seed(seed)[1] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_by_search(bug: str) -> None:
    with planted(bug):
        found = next(seed for seed in range(HISTORIES_MAX) if check_seed(seed)[1])
    print(f"{bug}: {found}")
    assert check_seed(found)[1] == []
