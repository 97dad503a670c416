"""In a process of its own, as the setting is the whole process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from logstore_server.buffers import keep_large_buffers

PROGRAM = """
import resource, sys
from logstore_server.buffers import keep_large_buffers
if sys.argv[1] == "keep":
    assert keep_large_buffers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
held = []
for _ in range(300):
    held = [*held[-8:], bytes(bytearray(1 << 20))]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_buffers_of_a_megabyte_are_used_again() -> None:
    if subprocess.run(["getconf", "GNU_LIBC_VERSION"], capture_output=True).returncode != 0:
        pytest.skip("not glibc")
    assert page_faults("keep") < 300 * 256 / 4


def test_elsewhere_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert not keep_large_buffers()
