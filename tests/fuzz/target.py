"""What a fuzz target is, and the words in which targets say what must hold."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import TracebackType

DEFAULT_BYTES_MAX = 2048
DEFAULT_MEMORY_BYTES_MAX = 128 << 20


@dataclass(frozen=True)
class Target:
    """One decoder under attack.

    `check` is given any bytes. It returns, or raises one of `documented`; whatever else leaves it
    is a finding, and so is a call that does not end or that allocates without bound. What it
    returns tells inputs apart that took different ways: those of new ways are mutated further.
    `repair` makes checksums and lengths right again, so that mutations reach what lies behind.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    check: Callable[[bytes], Hashable]
    documented: tuple[type[Exception], ...] = ()
    repair: Callable[[bytearray], None] | None = None
    bytes_max: int = DEFAULT_BYTES_MAX
    memory_bytes_max: int = DEFAULT_MEMORY_BYTES_MAX  # of address space, over all calls


class BrokenInvariantError(AssertionError):
    """A decoder took bytes and what it promises of them does not hold."""


class Promised:
    """`with promised:` an error of logstore inside is no answer any more: the bytes were taken."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, BrokenInvariantError):
            raise BrokenInvariantError(f"accepted, and then: {error!r}") from error


promised = Promised()


def require(holds: bool, what: str) -> None:
    if not holds:
        raise BrokenInvariantError(what)


def place_of(error: BaseException) -> tuple[str, int]:
    """Where it was raised: the function and line of the innermost frame that is not of here."""
    traceback, place = error.__traceback__, ("", 0)
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename != __file__:
            place = code.co_name, traceback.tb_lineno
        traceback = traceback.tb_next
    return place
