"""When an ordinary client notices: later than nobody would mind, and than beside it."""

from __future__ import annotations

import pytest

from tests.torture.canary import Watched


@pytest.mark.parametrize(
    ("most", "slowest", "most_beside", "slowest_beside", "is_unnoticed"),
    [
        (0.01, 0.1, 0.01, 0.1, True),
        (0.2, 1.9, 0.001, 0.001, True),  # nobody minds
        (0.3, 1.0, 0.01, 1.0, False),
        (0.1, 2.5, 0.1, 0.2, False),
        (0.7, 2.5, 0.1, 0.4, True),  # the machine is busy
        (0.9, 2.5, 0.1, 0.4, False),
        (0.7, 4.0, 0.1, 0.4, False),
    ],
)
def test_noticed(
    most: float,
    slowest: float,
    most_beside: float,
    slowest_beside: float,
    is_unnoticed: bool,
) -> None:
    watched = Watched([most] * 99 + [slowest], [most_beside] * 99 + [slowest_beside])
    assert watched.is_unnoticed is is_unnoticed
