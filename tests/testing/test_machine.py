from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from logstore.testing import OPERATIONS, STATISTICS, MachineStoppedError, MemoryFileSystem

CALLS: dict[str, Callable[[MemoryFileSystem], Any]] = {
    "open": lambda fs: fs.open("d/f"),
    "write": lambda fs: fs.open("d/f").write([b"a"], 0),
    "read": lambda fs: fs.open("d/f").read(1, 0),
    "allocate": lambda fs: fs.open("d/f").allocate(1),
    "truncate": lambda fs: fs.open("d/f").truncate(1),
    "sync": lambda fs: fs.open("d/f").sync(),
    "write_back": lambda fs: fs.open("d/f").sync(),
    "map": lambda fs: fs.open("d/f").map(1),
    "list_directory": lambda fs: fs.list_directory("d"),
    "make_directory": lambda fs: fs.make_directory("d/e"),
    "rename": lambda fs: fs.rename("d/f", "d/f"),
    "unlink": lambda fs: fs.unlink("d/g"),
    "remove_tree": lambda fs: fs.remove_tree("d/t"),
    "sync_directory": lambda fs: fs.sync_directory("d"),
    "sync_file_system": lambda fs: fs.sync_file_system("d"),
    "lock": lambda fs: fs.lock("d/lock"),
}


def prepared() -> MemoryFileSystem:
    fs = MemoryFileSystem()
    fs.make_directory("d/t")
    fs.open("d/g", create=True)
    fs.open("d/f", create=True).write([b"a"], 0)
    return fs


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_every_operation_fails_when_it_is_told_to(operation: str, error: int) -> None:
    fs = prepared()
    fs.inject(operation, error, path_contains="d")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what counts
        CALLS[operation](fs)
    assert caught.value.errno == error
    assert fs.statistics[f"{operation} {errno.errorcode[error]}"] == 1
    CALLS[operation](fs)


def outcomes(fs: MemoryFileSystem, path: str, count: int) -> str:
    result = ""
    for _ in range(count):
        try:
            fs.open(path).sync()
            result += "."
        except OSError:
            result += "x"
    return result


def test_after_and_times_count_the_calls_of_the_path() -> None:
    fs = prepared()
    fs.inject("sync", path_contains="f", after=2, times=3)
    assert outcomes(fs, "d/g", 3) == "..."
    assert outcomes(fs, "d/f", 7) == "..xxx.."
    fs.inject("sync", times=None)
    assert outcomes(fs, "d/f", 4) == "xxxx"
    fs.heal()
    assert outcomes(fs, "d/f", 2) == ".."
    fs.inject("sync", times=None)
    fs.kill()
    assert outcomes(fs, "d/f", 2) == ".."
    with pytest.raises(ValueError, match="none of open, write"):
        fs.inject("fsync")


def test_a_long_run_counts_everything_it_promises() -> None:
    fs = MemoryFileSystem(seed=3, capacity_bytes=1 << 20)
    for step in range(150):
        file = fs.open("a", create=True)
        file.write([b"1" * 700], 100 * step)
        file.write([b"2" * 700], 100 * step)
        file.write([b"3" * 5000], 9_000 + step)
        fs.inject("sync", path_contains="b")
        fs.inject("write", path_contains="b")
        fs.capacity_bytes = fs.used_bytes + 100
        other = fs.open("b", create=True)
        other.truncate(10 + step)
        with pytest.raises(OSError, match="Input/output"):
            other.write([b"x" * 50], 0)
        with pytest.raises(OSError, match="Input/output"):
            other.sync()
        with pytest.raises(OSError, match="No space"):
            other.allocate(1 << 21)
        fs.capacity_bytes = 1 << 20
        if step % 10 == 0:
            fs.sync_file_system("")
        fs.rename("a", "c")
        fs.unlink("b")
        fs.rename("c", "a")
        if step % 3 == 0:
            fs.open("a").write([b"lost"], 0)
            first, second = fs.open("a"), fs.open("a")
            fs.inject("write_back", path_contains="a")
            for file in (first, second):
                with pytest.raises(OSError, match="Input/output"):
                    file.sync()
            fs.stop_after(0)
            with pytest.raises(MachineStoppedError):
                fs.open("a")
        if step % 2:
            fs.power_loss()
        else:
            fs.kill()
    assert [name for name in STATISTICS if not fs.statistics[name]] == []


def test_a_stopped_machine_does_nothing_more_until_it_is_started_again() -> None:
    found = set()
    for seed in range(60):
        fs = prepared()
        fs._machine.chance.seed(seed)
        file = fs.open("d/f")
        file.write([b"before"], 0)
        fs.stop_after(2)
        file.write([b"B"], 0)
        file.read(1, 0)
        with pytest.raises(MachineStoppedError, match="in write of d/f"):
            file.write([b"after!"], 0)
        for call in CALLS.values():
            with pytest.raises(MachineStoppedError):
                call(fs)
        fs.heal()
        with pytest.raises(MachineStoppedError):
            fs.open("d/f")
        fs.kill()
        found.add(fs.open("d/f").read(10, 0))
        assert fs.statistics["stop"] == 1
    assert found == {(b"after!"[:n] + b"Before"[n:]) for n in range(6)}
