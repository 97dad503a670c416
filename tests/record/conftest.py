"""Every test that takes `record` runs on the installed package (compiled, if it was built) and on
the same source as plain Python."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import logstore
import logstore.record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

with warnings.catch_warnings():
    # kafka-python reads its schemas by a deprecated call when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401

_COMPILED = ("logstore.record._codec", "logstore.record._encoder")


class _SourceFinder:
    """Finds the source of what may be compiled; an extension module beside it would win."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _COMPILED:
            return None
        source = Path(logstore.record.__file__).with_name(name.rpartition(".")[2] + ".py")
        return importlib.util.spec_from_file_location(name, source)


def _load_pure() -> ModuleType:
    """A second copy of the package; the first stays what `import` and other tests see."""
    installed = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name == "logstore.record" or name.startswith("logstore.record.")
    }
    finder = _SourceFinder()
    sys.meta_path.insert(0, finder)
    try:
        pure = importlib.import_module("logstore.record")
        for name in ("batch", "compression", "format"):  # reached as attributes by tests
            importlib.import_module(f"logstore.record.{name}")
    finally:
        sys.meta_path.remove(finder)
        for name in list(sys.modules):
            if name == "logstore.record" or name.startswith("logstore.record."):
                del sys.modules[name]
        sys.modules.update(installed)
        logstore.record = installed["logstore.record"]
    assert not pure.is_compiled()
    return pure


PURE = _load_pure()


@pytest.fixture(params=["installed", "pure"], scope="session")
def record(request: pytest.FixtureRequest) -> ModuleType:
    return PURE if request.param == "pure" else logstore.record
