"""A sync of the server fails with EIO, twice; the short form of the torture part."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.checker import describe
from tests.torture.client_kinds import GRPC, KAFKA_CONSUMER, ClientKind
from tests.torture.failing_sync import FailingSyncRun

FAILURES = 2


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [GRPC, KAFKA_CONSUMER], ids=lambda kind: kind.name)
def test_a_failed_sync_ends_writing_until_a_restart(tmp_path: Path, kind: ClientKind) -> None:
    outcome = FailingSyncRun(tmp_path, seed=2, say=print, kind=kind).run(FAILURES)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("failed syncs") == FAILURES
    assert outcome.count("starts refused") < FAILURES
    assert outcome.count("records acknowledged") > 1000
