"""Five power losses below LazyFS, where LAZYFS names its binary; see README.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.checker import describe
from tests.torture.power_loss import PowerLossRun

LOSSES = 5


@pytest.mark.timeout(240)
def test_nothing_synced_is_lost_with_the_power(tmp_path: Path) -> None:
    outcome = PowerLossRun(tmp_path, seed=1, say=print).run(LOSSES)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("power losses") == LOSSES
    assert outcome.count("records acknowledged") > 100 * LOSSES
