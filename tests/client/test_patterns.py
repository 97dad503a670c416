from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import logstore
from logstore import Store
from tests.client import patterns


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with logstore.open(tmp_path / "data") as opened:
        yield opened


@pytest.mark.parametrize(
    "pattern", [patterns.point_to_point, patterns.publish_subscribe, patterns.work_queue]
)
def test_pattern(store: Store, pattern: Callable[[Store], None]) -> None:
    pattern(store)
