from __future__ import annotations

import pytest

from logstore.verify.findings import Progress
from logstore_server.commands.bar import Bar


def test_the_bar_shows_the_file_that_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(enabled=True) as bar:
        bar.show(Progress("orders-0/x.log", 5, 10))
        bar.show(Progress("orders-0/y.log", 6, 10))  # within the interval: not shown
    assert bar.position == (5, 10)
    assert capsys.readouterr().out == ""
