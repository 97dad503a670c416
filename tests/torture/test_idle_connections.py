"""A thousand idle connections, twice; the torture run has ten thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.checker import describe
from tests.torture.idle_connections import IdleRun


@pytest.mark.timeout(120)
def test_ordinary_clients_do_not_notice_idle_connections(tmp_path: Path) -> None:
    outcome = IdleRun(tmp_path, 1_000, print).run(waves=2, watch_seconds=1.0)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("idle connections") >= 2_000
