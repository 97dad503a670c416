from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.log.key_map import NOT_SEEN, SLOT_BYTES, SLOTS_MIN, KeyMap

SECRET = b"secret"


@given(st.lists(st.tuples(st.binary(max_size=2), st.integers(0, 1 << 62)), max_size=300))
def test_it_is_a_dict(puts: list[tuple[bytes, int]]) -> None:
    keys = KeyMap(memory_bytes=1 << 20, keys_max=len(puts), secret=SECRET)
    wanted: dict[bytes, int] = {}
    for key, offset in puts:
        assert keys.get(key) == wanted.get(key, NOT_SEEN)
        keys.put(key, offset)
        wanted[key] = offset
    assert keys.used == len(wanted)
    assert {key: keys.get(key) for key in wanted} == wanted
    assert keys.get(b"another") == NOT_SEEN


def test_it_takes_what_it_has_room_for_and_no_more_memory() -> None:
    keys = KeyMap(memory_bytes=100 * SLOT_BYTES, keys_max=1 << 40, secret=SECRET)
    assert keys.capacity == 75
    for number in range(75):
        assert not keys.is_full
        keys.put(b"%d" % number, number)
    assert keys.is_full
    keys.put(b"7", 99)
    with pytest.raises(OverflowError):
        keys.put(b"new", 100)
    assert [keys.get(b"%d" % number) for number in (6, 7, 8)] == [6, 99, 8]
    assert keys.get(b"new") == NOT_SEEN
    assert keys.used == 75


def test_few_keys_take_few_slots() -> None:
    keys = KeyMap(memory_bytes=1 << 40, keys_max=100, secret=SECRET)
    assert 100 <= keys.capacity < 200
    assert KeyMap(memory_bytes=1, keys_max=1, secret=SECRET).capacity == SLOTS_MIN * 3 // 4


def test_the_place_of_a_key_depends_on_the_secret() -> None:
    """So that nobody can choose keys that meet in one place."""

    def places(secret: bytes) -> list[int]:
        keys = KeyMap(memory_bytes=1 << 16, keys_max=1000, secret=secret)
        return [keys._find(b"%d" % number)[0] for number in range(50)]

    assert places(b"one") == places(b"one")
    assert places(b"one") != places(b"two")
