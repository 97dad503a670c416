"""What `_codec.py` needs of Cython where Cython is not installed: names that do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

compiled = False


def _unchanged(decorated: _T) -> _T:
    return decorated


cclass = cfunc = final = inline = no_gc = _unchanged


def exceptval(*_: object, **__: object) -> Callable[[_T], _T]:
    return _unchanged


def freelist(_: int) -> Callable[[_T], _T]:
    return _unchanged
