"""Show 2 and 4: histories with power loss and the checker clean. `make simulate` runs 20,000."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from tests.simulator import coverage
from tests.simulator.run import report, run_many, run_seeds

HISTORIES = 500
FIRST_SEED = 1_000_000


@pytest.mark.parametrize("part", range(10))  # shared among the processes of one test run
def test_histories(part: int) -> None:
    share = HISTORIES // 10
    total = run_seeds(range(FIRST_SEED + part * share, FIRST_SEED + (part + 1) * share))
    assert total.failures == [], "\n".join(
        f"{failure.history}\n{failure.violations[0]}" for failure in total.failures[:1]
    )
    assert (total.histories, total.too_small) == (share, [])
    # What is rare is met in longer runs, which fail without it.
    never = coverage.missing(total.counted)
    assert len(never) < len(coverage.expected()) / 3, never
    assert total.counted["suffix lost with page_cache"]
    assert total.counted["recovery: torn tail cut"]


def test_what_was_never_met_is_named() -> None:
    counted = Counter(coverage.expected())
    assert coverage.missing(counted) == []
    del counted["power_loss"]
    assert coverage.missing(counted) == ["power_loss"]


def test_a_run_in_several_processes_has_the_same_figures() -> None:
    one, two = run_many(5, 60, jobs=1), run_many(5, 60, jobs=2)
    assert (one.histories, one.operations, one.crashes) == (60, two.operations, two.crashes)
    assert one.counted == two.counted
    assert "60 histories" in report(one, 1)


def test_the_command_tells_what_it_did_and_fails_when_too_little_was_met() -> None:
    command = [sys.executable, "-m", "tests.simulator", "--histories", "3", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "3 histories" in done.stdout
    assert "never met: " in done.stdout
    assert done.returncode == 1
