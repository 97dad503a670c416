"""What a power loss may leave of one file, over arbitrary changes."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from logstore.testing.file_node import ANONYMOUS_MAP_BYTES_MIN, SECTOR_BYTES, FileNode

SIZE_MAX = 12 * SECTOR_BYTES  # past the smallest buffer
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, SIZE_MAX), st.integers(1, SIZE_MAX)),
        st.tuples(st.just("size"), st.integers(0, SIZE_MAX), st.just(0)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
        st.tuples(st.just("failed sync"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


def survivors(node: FileNode, count: int) -> list[FileNode]:
    return [node.after_power_loss(random.Random(seed), Counter()) for seed in range(count)]


def everything(node: FileNode) -> bytes:
    return node.read(node.size, 0)


@given(CHANGES, st.integers(0, 2**32))
def test_each_byte_after_a_power_loss_was_once_there_since_the_sync(
    changes: list[tuple[str, int, int]], seed: int
) -> None:
    node = FileNode()
    content = b""
    trusted = True  # no sync has failed
    history = [content]
    for number, (kind, position, count) in enumerate(changes, 1):
        if kind == "write":
            data = bytes([number]) * count
            content = content.ljust(position, b"\0")
            content = content[:position] + data + content[position + count :]
            node.write(data, position)
        elif kind == "size":
            content = content[:position].ljust(position, b"\0")
            node.set_size(position)
        elif kind == "sync":
            node.sync()
            if trusted:
                history = []
        else:
            trusted = trusted and not node.forget_unsynced()
        history.append(content)
        assert everything(node) == content
    after = node.after_power_loss(random.Random(seed), Counter())
    sizes = [len(each) for each in history]
    assert min(sizes) <= after.size <= max(sizes)
    for position, byte in enumerate(everything(after)):
        possible = {each[position] for each in history if position < len(each)}
        assert byte in possible | {0}
    if len(history) == 1:
        assert everything(after) == content


@given(CHANGES, st.integers(0, 2**32))
def test_what_was_synced_never_goes(changes: list[tuple[str, int, int]], seed: int) -> None:
    node = FileNode()
    for number, (kind, position, count) in enumerate(changes, 1):
        if kind == "write":
            node.write(bytes([number]) * count, position)
        elif kind == "size":
            node.set_size(position)
    node.sync()
    content = everything(node)
    after = node.after_power_loss(random.Random(seed), Counter())
    assert everything(after) == content
    again = after.after_power_loss(random.Random(seed + 1), Counter())
    assert everything(again) == content


def test_an_unsynced_write_is_kept_dropped_and_torn() -> None:
    node = FileNode()
    node.write(b"o" * 2048, 0)
    node.sync()
    node.write(b"n" * 2048, 0)
    found = {everything(after) for after in survivors(node, 200)}
    assert {b"o" * 2048, b"n" * 2048} <= found
    torn = found - {b"o" * 2048, b"n" * 2048}
    assert any(each.rstrip(b"o") == b"n" * (2048 - each.count(b"o")) for each in torn)
    sectors = [each for each in torn if each.startswith(b"o" * SECTOR_BYTES) and b"n" in each]
    assert sectors
    assert all(each.count(b"n") % SECTOR_BYTES == 0 for each in sectors)


def test_a_later_write_may_survive_an_earlier_one() -> None:
    node = FileNode()
    node.write(bytes(1024), 0)
    node.sync()
    node.write(b"1" * 512, 0)
    node.write(b"2" * 512, 512)
    reordered = bytes(512) + b"2" * 512
    assert reordered in {everything(after) for after in survivors(node, 200)}


def test_a_size_may_survive_without_its_bytes() -> None:
    node = FileNode()
    node.write(b"abc", 0)
    node.sync()
    node.write(b"d" * 100, 3)
    assert b"abc" + bytes(100) in {everything(after) for after in survivors(node, 200)}


def test_the_blocks_of_a_lost_cut_do_not_take_later_writes() -> None:
    node = FileNode()
    node.write(b"a" * 100, 0)
    node.sync()
    node.set_size(10)
    node.write(b"b" * 90, 10)
    for after in survivors(node, 300):
        content = everything(after)
        assert b"b" not in content or b"a" not in content[10:]


def test_what_a_failed_sync_forgot_is_read_but_never_on_disk() -> None:
    node = FileNode()
    node.write(b"old", 0)
    node.sync()
    node.write(b"new and longer", 0)
    assert node.forget_unsynced()
    node.write(b"!", 14)
    node.sync()
    assert everything(node) == b"new and longer!"
    for after in survivors(node, 50):
        assert everything(after) == b"old" + bytes(11) + b"!"
    node.drop_cache()
    assert everything(node) == b"old" + bytes(11) + b"!"


def test_maps_of_every_age_see_later_writes() -> None:
    node = FileNode()
    maps = []
    for size in (100, 5_000, 70_000, 2 * ANONYMOUS_MAP_BYTES_MIN):
        node.set_size(size)
        maps.append(node.map(size))
    node.write(b"xyz", 98)
    node.set_size(99)
    assert [bytes(view[96:100]) for view in maps] == [b"\0\0x\0"] * 4
    node.set_size(200)
    node.write(b"again", 95)
    assert [bytes(view[95:100]) for view in maps] == [b"again"] * 4
    assert all(view.readonly for view in maps)


def test_a_cut_before_the_first_write_leaves_a_whole_buffer() -> None:
    node = FileNode()
    node.set_size(4097)
    node.set_size(4096)
    node.write(b"a", 0)
    assert everything(node) == b"a" + bytes(4095)
    assert bytes(node.map(4096)) == everything(node)


def test_a_size_costs_no_memory() -> None:
    node = FileNode()
    node.set_size(1 << 40)
    node.write(b"a", 0)
    node.sync()
    assert node.read(2, (1 << 40) - 2) == b"\0\0"
    assert survivors(node, 1)[0].size == 1 << 40
