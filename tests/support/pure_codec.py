"""pytest -p tests.support.pure_codec: run on the plain Python sources of the compiled modules.

A plugin named on the command line is loaded before any conftest can import the engine.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

RECORD = Path(__file__).parents[2] / "logstore" / "record"
SOURCES = {f"logstore.record.{name}": RECORD / f"{name}.py" for name in ("_codec", "_encoder")}


class SourceFirst:
    """Finds these sources before the import system finds the extension modules beside them."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, SOURCES[name]) if name in SOURCES else None


assert not SOURCES.keys() & sys.modules.keys(), "the codec is loaded already"
sys.meta_path.insert(0, SourceFirst)


def pytest_configure() -> None:
    from logstore.record import is_compiled

    assert not is_compiled()
