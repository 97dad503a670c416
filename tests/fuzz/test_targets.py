"""The twin of each fuzz target for `make test`: hypothesis chooses what `make fuzz` mutates."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

EXAMPLES = 60
EXAMPLE_BYTES_MAX = 8 << 20  # allocated at once for an input of some hundred bytes
FOLDER = Path(__file__).parent / "targets"


@st.composite
def changed_inputs(draw: st.DrawFn, target: Target) -> bytes:
    """Any bytes; or a valid input with some of its bytes replaced, its checksums right or not."""
    seeds = list(target.seeds())
    data = bytearray(draw(st.sampled_from(seeds) | st.binary(max_size=80)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 9)))
        data[start:stop] = draw(st.binary(max_size=9))
    if target.repair is not None and draw(st.booleans()):
        target.repair(data)
    return bytes(data[: target.bytes_max])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_any_bytes_are_refused_or_keep_the_invariant(target: Target) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changed_inputs(target))
    def attack(data: bytes) -> None:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        with suppress(*target.documented):
            target.check(data)
        _, peak = tracemalloc.get_traced_memory()
        assert peak - before <= EXAMPLE_BYTES_MAX

    tracemalloc.start(1)
    try:
        attack()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_seeds_are_taken(target: Target) -> None:
    """Many of them: a target whose seeds are all refused attacks nothing."""
    taken = 0
    for seed in target.seeds():
        assert len(seed) <= target.bytes_max
        try:
            target.check(seed)
            taken += 1
        except target.documented:
            pass
    assert taken * 3 >= len(target.seeds())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_target_states_its_invariant_first(path: Path) -> None:
    assert path.read_text().startswith('"""Invariant: ')
    assert path.stem in {target.name for target in TARGETS}
