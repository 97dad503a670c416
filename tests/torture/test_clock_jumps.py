"""Two jumps of a server's wall clock; the short form of the torture part."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.checker import describe
from tests.torture.clock_jumps import ClockJumpRun

JUMPS = 2


@pytest.mark.timeout(240)
def test_everybody_goes_on_when_the_clock_jumps(tmp_path: Path) -> None:
    outcome = ClockJumpRun(tmp_path, seed=1, say=print).run(JUMPS)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("jumps") == JUMPS
    assert outcome.count("records acknowledged") >= 200 * JUMPS
