"""Six kills of a server under producers, a group and transactions, then every claim checked.

The short form of `python -m tests.torture kills`, with a fixed seed, of both sorts of clients.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.checker import describe
from tests.torture.client_kinds import GRPC, KAFKA_CLASSIC, KAFKA_CONSUMER, ClientKind
from tests.torture.kills import KillRun

KILLS = 6


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [GRPC, KAFKA_CLASSIC, KAFKA_CONSUMER], ids=lambda kind: kind.name)
def test_nothing_acknowledged_is_lost_over_six_kills(tmp_path: Path, kind: ClientKind) -> None:
    outcome = KillRun(tmp_path, seed=1, say=print, kind=kind).run(kills=KILLS, seconds=0)
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("kills") == KILLS
    assert outcome.count("records acknowledged") > 1000
    assert outcome.count("records read by the group") >= outcome.count("records acknowledged")
    assert outcome.count("commits") > 0
    assert outcome.count("transactions") > 20
    assert outcome.count("transactions aborted") > 0
    if kind.is_kafka:
        read = outcome.count("records read over both")
        assert read == 2 * outcome.count("records acknowledged")
