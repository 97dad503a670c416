"""What a power loss may leave of names, over arbitrary changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.testing import MemoryFileSystem

NAMES = st.sampled_from(["d/a", "d/b", "e/a"])
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES, NAMES),
        st.tuples(st.just("rename"), NAMES, NAMES),
        st.tuples(st.just("unlink"), NAMES, NAMES),
        st.tuples(st.just("sync"), st.sampled_from(["d", "e"]), NAMES),
    ),
    max_size=15,
)


class Names:
    """Which file has been under which name since the directory's last sync; by the file's number,
    which is its content."""

    def __init__(self, fs: MemoryFileSystem) -> None:
        self.fs = fs
        self.now: dict[str, int | None] = dict.fromkeys(["d/a", "d/b", "e/a"])
        self.past: dict[str, set[int | None]] = {name: {None} for name in self.now}
        self.always: set[int] = set()  # on disk once, and never since without a name
        for directory in "de":
            fs.make_directory(directory)
        fs.sync_directory("")

    def set(self, name: str, number: int | None) -> None:
        self.now[name] = number
        self.past[name].add(number)

    def create(self, name: str, number: int) -> None:
        if self.now[name] is None:
            file = self.fs.open(name, create=True)
            file.write([str(number).encode()], 0)
            file.sync()
            self.set(name, number)

    def rename(self, source: str, target: str) -> None:
        if self.now[source] is not None and source != target:
            self.fs.rename(source, target)
            self.always.discard(self.now[target] or 0)
            self.set(target, self.now[source])
            self.set(source, None)

    def unlink(self, name: str) -> None:
        if self.now[name] is not None:
            self.fs.unlink(name)
            self.always.discard(self.now[name] or 0)
            self.set(name, None)

    def sync(self, directory: str) -> None:
        self.fs.sync_directory(directory)
        for name, number in self.now.items():
            if name.startswith(directory):
                self.past[name] = {number}
                if number is not None:
                    self.always.add(number)

    def found(self) -> dict[str, int | None]:
        result: dict[str, int | None] = {}
        for name in self.now:
            content = self.fs.open(name).read(10, 0) if self.fs.exists(name) else b""
            result[name] = int(content) if content else None
            assert not self.fs.exists(name) or content
        return result


@pytest.mark.parametrize("strict", [True, False])
@settings(max_examples=400)
@given(CHANGES, st.integers(0, 2**32))
def test_each_name_after_a_power_loss_is_as_it_was_once_since_its_sync(
    strict: bool, changes: list[tuple[str, str, str]], seed: int
) -> None:
    fs = MemoryFileSystem(seed, strict=strict)
    names = Names(fs)
    for number, (kind, first, second) in enumerate(changes, 1):
        if kind == "create":
            names.create(first, number)
        elif kind == "rename":
            names.rename(first, second)
        elif kind == "unlink":
            names.unlink(first)
        else:
            names.sync(first)
        assert names.found() == names.now
    fs.power_loss()
    found = names.found()
    for name, kept in found.items():
        assert kept in names.past[name]
    assert names.always <= set(found.values())


def outcomes(prepare: str, strict: bool) -> set[str]:
    """What is in the directory after a power loss, for many seeds."""
    result = set()
    for seed in range(100):
        fs = MemoryFileSystem(seed, strict=strict)
        fs.make_directory("d")
        fs.sync_directory("")
        for step in prepare.split():
            name, _, target = step.partition(">")
            if name == "sync":
                fs.sync_directory("d")
            elif target:
                fs.rename(f"d/{name}", f"d/{target}")
            else:
                fs.open(f"d/{name}", create=True).sync()
        fs.power_loss()
        result.add(" ".join(fs.list_directory("d")))
    return result


def test_unsynced_names_are_lost_in_any_order_when_strict() -> None:
    assert outcomes("a b", strict=True) == {"", "a", "b", "a b"}
    assert outcomes("a b sync", strict=True) == {"a b"}


def test_any_sync_takes_the_names_along_when_not_strict() -> None:
    assert outcomes("a b", strict=False) == {"a b"}
    assert outcomes("a a>c", strict=False) == {"a", "c"}
    for seed in range(20):
        fs = MemoryFileSystem(seed, strict=False)
        fs.make_directory("d/e")
        fs.open("d/e/f", create=True)
        fs.sync_directory("d")
        fs.power_loss()
        assert fs.exists("d/e/f")


def test_a_rename_is_one_step() -> None:
    assert outcomes("a sync a>b", strict=True) == {"a", "b"}
    assert outcomes("a sync a>b b>c", strict=True) == {"a", "b", "c"}
    assert outcomes("a sync a>b sync", strict=True) == {"b"}


def test_any_part_of_a_removed_tree_may_be_back() -> None:
    found = set()
    for seed in range(200):
        fs = MemoryFileSystem(seed)
        fs.make_directory("t/s")
        for name in ("t/a", "t/s/b"):
            fs.open(name, create=True).sync()
        fs.sync_file_system("")
        fs.remove_tree("t")
        assert not fs.exists("t")
        fs.power_loss()
        found.add(" ".join(name for name in ("t", "t/a", "t/s", "t/s/b") if fs.exists(name)))
    assert found == {"", "t", "t t/a", "t t/s", "t t/s t/s/b", "t t/a t/s", "t t/a t/s t/s/b"}


def test_what_is_gone_for_good_does_not_come_back() -> None:
    assert outcomes("a a>b b>a a>b sync", strict=True) == {"b"}
    for seed in range(20):
        fs = MemoryFileSystem(seed)
        fs.open("a", create=True)
        fs.unlink("a")
        fs.sync_directory("")
        fs.power_loss()
        assert not fs.exists("a")


def renamed_across(seed: int, synced: str) -> MemoryFileSystem:
    fs = MemoryFileSystem(seed)
    for directory in "ab":
        fs.make_directory(directory)
    file = fs.open("a/f", create=True)
    fs.sync_file_system("")
    file.write([b"x" * 2_000], 0)
    fs.rename("a/f", "b/f")
    fs.sync_directory(synced)
    fs.power_loss()
    return fs


def test_a_file_renamed_across_directories_is_never_lost_and_may_have_both_names() -> None:
    found = set()
    for seed in range(50):
        assert renamed_across(seed, "a").exists("b/f")
        assert not renamed_across(seed, "a").exists("a/f")
        fs = renamed_across(seed, "b")
        assert fs.exists("b/f")
        found.add(fs.exists("a/f"))
        if fs.exists("a/f"):
            assert fs.open("a/f").read(2_000, 0) == fs.open("b/f").read(2_000, 0)
            fs.open("b/f").write([b"one file"], 0)
            assert fs.open("a/f").read(8, 0) == b"one file"
    assert found == {True, False}


def test_a_directory_renamed_into_another_has_one_name() -> None:
    found = set()
    for seed in range(50):
        fs = MemoryFileSystem(seed)
        fs.make_directory("a/x")
        fs.make_directory("b")
        fs.sync_file_system("")
        fs.rename("a/x", "b/x")
        fs.power_loss()
        found.add((fs.exists("a/x"), fs.exists("b/x")))
    assert found == {(True, False), (False, True)}


def test_a_name_that_changed_very_often_is_synced() -> None:
    fs = MemoryFileSystem()
    fs.open("a", create=True)
    for _ in range(3_000):
        fs.rename("a", "b")
        fs.rename("b", "a")
    fs.sync_directory("")
    fs.power_loss()
    assert fs.list_directory("") == ["a"]
