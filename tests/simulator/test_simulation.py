from __future__ import annotations

from tests.simulator.history import PartitionMade
from tests.simulator.run import check_seed
from tests.simulator.simulation import CRASHES_MIN, OPERATIONS_MIN, simulate


def test_one_seed_is_one_history() -> None:
    for seed in range(5):
        first, again = simulate(seed).history, simulate(seed).history
        assert first.events == again.events
        assert first.text() == again.text()
    assert simulate(1).history.events != simulate(2).history.events


def test_a_history_is_long_enough_and_ends_in_crashes() -> None:
    for seed in range(10, 20):
        world = simulate(seed)
        assert world.history.operations >= OPERATIONS_MIN
        assert world.history.crashes >= CRASHES_MIN
        assert world.partitions_most >= 3


def test_a_history_is_printed_event_by_event() -> None:
    history = simulate(3).history
    text = history.text()
    assert text.startswith("seed 3\n")
    assert text.count("\n") == len(history.events)
    place = next(each.place for each in history.events if isinstance(each, PartitionMade))
    part = history.text([place])
    assert str(place) in part
    assert len(part) < len(text)


def test_figures_of_one_seed() -> None:
    figures, violations = check_seed(4)
    assert violations == []
    assert (figures.histories, figures.failures, figures.too_small) == (1, [], [])
    assert figures.counted["power_loss"] > 0
