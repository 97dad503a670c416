"""When an ordinary client notices: later than nobody would mind, and than beside it."""

from __future__ import annotations

import pytest

from tests.torture.canary import Watched


@pytest.mark.parametrize(
    ("most", "slowest", "is_unnoticed"),
    [
        (0.2, 1.9, True),  # nobody minds
        (0.3, 1.9, False),
        (0.2, 2.5, False),
    ],
)
def test_on_an_idle_machine(most: float, slowest: float, is_unnoticed: bool) -> None:
    usual = Watched(delays(0.01, 0.2), delays(0.01, 0.2))
    assert Watched(delays(most, slowest), usual.beside).is_unnoticed(usual) is is_unnoticed


@pytest.mark.parametrize(("before", "beside"), [(0.1, 0.01), (0.01, 0.1)])
@pytest.mark.parametrize(
    ("most", "slowest", "is_unnoticed"), [(0.4, 3.6, True), (0.5, 3.6, False), (0.4, 4.4, False)]
)
def test_on_a_busy_machine(
    before: float, beside: float, most: float, slowest: float, is_unnoticed: bool
) -> None:
    usual = Watched(delays(before, 10 * before), delays(0.01, 0.01))
    watched = Watched(delays(most, slowest), delays(beside, 10 * beside))
    assert watched.is_unnoticed(usual) is is_unnoticed


def delays(most: float, slowest: float) -> list[float]:
    return [most] * 99 + [slowest]
