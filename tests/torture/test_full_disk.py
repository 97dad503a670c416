"""A real small disk fills up three times: a file goes, records are deleted, the server is killed.

The short form of `python -m tests.torture full-disk`; needs the right to mount.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.checker import describe
from tests.torture.client_kinds import GRPC, KAFKA_CLASSIC, ClientKind
from tests.torture.full_disk import WAYS, FullDiskRun
from tests.torture.report import Outcome
from tests.torture.small_disk import CannotMount


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", [GRPC, KAFKA_CLASSIC], ids=lambda kind: kind.name)
def test_writing_resumes_by_itself_and_nothing_is_torn(tmp_path: Path, kind: ClientKind) -> None:
    outcome = Outcome("full-disk")
    try:
        FullDiskRun(tmp_path, "tmpfs", 1, outcome, print, kind).run(len(WAYS))
    except CannotMount as error:
        pytest.skip(str(error))
    assert not outcome.violations, describe(outcome.violations)
    assert outcome.count("full-disk cycles") == len(WAYS)
    assert outcome.count("records acknowledged") > 1000
    assert outcome.count("transactions") > 10
