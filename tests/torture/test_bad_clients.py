"""One round each of clients that freeze and that are cut, and streams nobody reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.bad_clients import SLOW_STREAMS, BadClientRun
from tests.torture.checker import describe


@pytest.mark.timeout(240)
def test_ordinary_clients_do_not_notice_clients_that_vanish(tmp_path: Path) -> None:
    outcome = BadClientRun(tmp_path, seed=1, say=print).run(2)
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("connections to freeze") >= 5
    assert outcome.count("connections to cut") >= 5
    assert outcome.count("streams not read") == SLOW_STREAMS
