"""MemoryFileSystem beside the real one, and what its crashes and failures leave of a tree."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.fs import File, FileSystem, Lock, RealFileSystem, replace_file
from logstore.testing import MemoryFileSystem

PATHS = st.sampled_from(["a", "b", "d", "d/a", "d/e", "d/e/a", "x/y"])
SIZES = st.integers(0, 10_000)
PICKS = st.integers(0, 2**16)


def result_of(call: Callable[[Any], Any], argument: object) -> Any:
    """What it returns, or the number of its error."""
    try:
        return call(argument)
    except OSError as error:
        return f"errno {error.errno}"


def look(fs: FileSystem, path: str) -> Any:
    return fs.exists(path), fs.is_directory(path), result_of(fs.list_directory, path)


class BothFileSystems(RuleBasedStateMachine):
    """The same calls to both, compared after each."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.real: FileSystem = RealFileSystem()
        self.memory: FileSystem = MemoryFileSystem(1)
        self.memory.make_directory(self.directory.name)
        self.files: list[tuple[File, File]] = []
        self.views: list[tuple[memoryview, memoryview]] = []
        self.locks: list[tuple[Lock, Lock]] = []

    def path(self, path: str) -> str:
        return f"{self.directory.name}/{path}"

    def both(self, call: Callable[[FileSystem], Any]) -> tuple[Any, Any]:
        return result_of(call, self.real), result_of(call, self.memory)

    def agree(self, call: Callable[[FileSystem], Any]) -> None:
        real, memory = self.both(call)
        assert real == memory

    @rule(path=PATHS, write=st.booleans(), create=st.booleans())
    def open(self, path: str, write: bool, create: bool) -> None:
        where = self.path(path)
        if self.real.is_directory(where):
            write = True  # the real one would open a directory for reading
        real, memory = self.both(lambda fs: fs.open(where, write=write, create=create))
        if isinstance(real, str) or isinstance(memory, str):
            assert real == memory
        else:
            self.files.append((real, memory))

    @rule(path=PATHS)
    def make_directory(self, path: str) -> None:
        self.agree(lambda fs: fs.make_directory(self.path(path)))

    @rule(old=PATHS, new=PATHS)
    def rename(self, old: str, new: str) -> None:
        self.agree(lambda fs: fs.rename(self.path(old), self.path(new)))

    @rule(path=PATHS)
    def unlink(self, path: str) -> None:
        self.agree(lambda fs: fs.unlink(self.path(path)))

    @rule(path=PATHS)
    def remove_tree(self, path: str) -> None:
        self.agree(lambda fs: fs.remove_tree(self.path(path)))

    @rule(path=PATHS)
    def sync_directory(self, path: str) -> None:
        self.agree(lambda fs: fs.sync_directory(self.path(path)))

    @rule(path=PATHS)
    def lock(self, path: str) -> None:
        real, memory = self.both(lambda fs: fs.lock(self.path(path)))
        if real is None or isinstance(real, str):
            assert real == memory
        else:
            self.locks.append((real, memory))

    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        if self.locks:
            for lock in self.locks.pop(pick % len(self.locks)):
                lock.release()

    # --- open files -------------------------------------------------------------------------

    def on_file(self, pick: int, call: Callable[[File], Any]) -> None:
        if self.files:
            real, memory = self.files[pick % len(self.files)]
            assert result_of(call, real) == result_of(call, memory)

    @rule(pick=PICKS, position=SIZES, parts=st.lists(st.integers(0, 3_000), max_size=3))
    def write(self, pick: int, position: int, parts: list[int]) -> None:
        buffers = [bytes([1 + (pick + size) % 255]) * size for size in parts]
        self.on_file(pick, lambda file: file.write(buffers, position))

    @rule(pick=PICKS, count=SIZES, position=SIZES)
    def read(self, pick: int, count: int, position: int) -> None:
        self.on_file(pick, lambda file: file.read(count, position))

    @rule(pick=PICKS, size=SIZES)
    def allocate(self, pick: int, size: int) -> None:
        self.on_file(pick, lambda file: file.allocate(size))

    @rule(pick=PICKS, size=SIZES)
    def truncate(self, pick: int, size: int) -> None:
        self.views.clear()  # reading a real map past the end of its file is a SIGBUS
        self.on_file(pick, lambda file: file.truncate(size))

    @rule(pick=PICKS)
    def sync(self, pick: int) -> None:
        self.on_file(pick, lambda file: file.sync())

    @rule(pick=PICKS, share=st.floats(0, 1))
    def map(self, pick: int, share: float) -> None:
        if self.files:
            real, memory = self.files[pick % len(self.files)]
            length = int(real.size() * share)
            self.views.append((real.map(length), memory.map(length)))

    @rule(pick=PICKS)
    def close(self, pick: int) -> None:
        if self.files:
            pair = self.files.pop(pick % len(self.files))
            for file in pair:
                file.close()
                file.close()
                assert result_of(lambda closed: closed.size(), file) == f"errno {errno.EBADF}"

    @invariant()
    def all_is_the_same(self) -> None:
        if not hasattr(self, "files"):
            return
        for path in ("", "a", "b", "d", "d/a", "d/e", "d/e/a", "x", "x/y"):
            self.agree(partial(look, path=self.path(path)))
        for real_file, memory_file in self.files:
            size = real_file.size()
            assert memory_file.size() == size
            assert real_file.read(size, 0) == memory_file.read(size, 0)
        for real_view, memory_view in self.views:
            assert real_view == memory_view

    def teardown(self) -> None:
        if hasattr(self, "files"):
            for real_lock, _ in self.locks:
                real_lock.release()
            for real_file, _ in self.files:
                real_file.close()
            self.directory.cleanup()


TestBothFileSystems = BothFileSystems.TestCase
TestBothFileSystems.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_boot_id_changes_with_the_machine_only() -> None:
    fs = MemoryFileSystem()
    first = fs.boot_id()
    fs.kill()
    assert fs.boot_id() == first
    fs.power_loss()
    assert fs.boot_id() != first


def tree(fs: MemoryFileSystem, path: str = "") -> list[tuple[str, bytes]]:
    found = []
    for name in fs.list_directory(path):
        below = f"{path}/{name}"
        if fs.is_directory(below):
            found += [(below, b"directory"), *tree(fs, below)]
        else:
            file = fs.open(below)
            found.append((below, file.read(file.size(), 0)))
    return found


def history(seed: int) -> list[list[tuple[str, bytes]]]:
    fs = MemoryFileSystem(seed)
    trees = []
    for step in range(10):
        fs.make_directory(f"d{step}")
        for name in "ab":
            fs.open(f"d{step}/{name}", create=True).write([b"x" * 900], step)
        fs.power_loss()
        trees.append(tree(fs))
    return trees


def test_one_seed_one_history() -> None:
    assert history(7) == history(7)
    assert len({str(history(seed)) for seed in range(5)}) == 5


def test_a_file_needs_its_content_and_its_name_synced() -> None:
    def found(*, sync_file: bool, sync_directory: bool) -> set[bytes | None]:
        result: set[bytes | None] = set()
        for seed in range(100):
            fs = MemoryFileSystem(seed)
            fs.make_directory("d")
            fs.sync_directory("")
            file = fs.open("d/f", create=True)
            file.write([b"abc"], 0)
            if sync_file:
                file.sync()
            if sync_directory:
                fs.sync_directory("d")
            fs.power_loss()
            result.add(fs.open("d/f").read(9, 0) if fs.exists("d/f") else None)
        return result

    assert found(sync_file=True, sync_directory=True) == {b"abc"}
    assert found(sync_file=True, sync_directory=False) == {b"abc", None}
    assert {b"", b"abc", bytes(3)} <= found(sync_file=False, sync_directory=True)


def test_syncfs_covers_everything() -> None:
    for seed in range(50):
        fs = MemoryFileSystem(seed)
        for path in ("d/e/f", "d/g", "h"):
            fs.make_directory(os.path.dirname(path))
            fs.open(path, create=True).write([path.encode()], 0)
        before = tree(fs)
        fs.sync_file_system("d")
        fs.power_loss()
        assert tree(fs) == before


def test_a_failed_syncfs_is_not_made_good_by_the_next() -> None:
    fs = MemoryFileSystem()
    fs.open("f", create=True).write([b"abc"], 0)
    fs.inject("sync_file_system", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        fs.sync_file_system("")
    fs.sync_file_system("")
    assert fs.open("f").read(3, 0) == b"abc"
    fs.power_loss()
    assert fs.open("f").read(3, 0) == bytes(3)
    assert fs.statistics["sync_forgot"] == 1


def test_a_replaced_file_is_the_old_or_the_new_one_whole() -> None:
    found = set()
    for seed in range(100):
        fs = MemoryFileSystem(seed)
        replace_file(fs, "", "f", b"old" * 1_000)
        fs.inject("sync_directory", errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            replace_file(fs, "", "f", b"new" * 1_000)
        fs.power_loss()
        file = fs.open("f")
        found.add(file.read(10_000, 0))
    assert found == {b"old" * 1_000, b"new" * 1_000}


def test_a_removal_may_stop_in_the_middle() -> None:
    fs = MemoryFileSystem()
    fs.make_directory("d")
    for name in "abc":
        fs.open(f"d/{name}", create=True)
    fs.inject("unlink", path_contains="d/b")
    with pytest.raises(OSError, match="Input/output"):
        fs.remove_tree("d")
    assert fs.list_directory("d") == ["b", "c"]


def test_space_is_counted_again_after_a_power_loss() -> None:
    for seed in range(30):
        fs = MemoryFileSystem(seed, capacity_bytes=10_000)
        fs.open("f", create=True).allocate(6_000)
        fs.sync_file_system("")
        fs.unlink("f")
        assert fs.used_bytes == 0
        fs.power_loss()
        assert fs.used_bytes == (6_000 if fs.exists("f") else 0)
