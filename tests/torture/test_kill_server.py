"""Six kills of a server under producers, a group and transactions, then every claim checked.

The short form of `python -m tests.torture kills`, with a fixed seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.checker import describe
from tests.torture.kills import KillRun

KILLS = 6


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_over_six_kills(tmp_path: Path) -> None:
    outcome = KillRun(tmp_path, seed=1, say=print).run(kills=KILLS, seconds=0)
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("kills") == KILLS
    assert outcome.count("records acknowledged") > 1000
    assert outcome.count("records read by the group") >= outcome.count("records acknowledged")
    assert outcome.count("commits") > 0
    assert outcome.count("transactions") > 20
    assert outcome.count("transactions aborted") > 0
