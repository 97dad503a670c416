"""`--pure-codec`: run on the plain Python sources of the compiled modules."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import pytest

RECORD = Path(__file__).parents[1] / "logstore" / "record"
COMPILED = {f"logstore.record.{name}": RECORD / f"{name}.py" for name in ("_codec", "_encoder")}


class SourceFirst:
    """Finds the compiled modules' sources before the import system finds their binaries."""

    @staticmethod
    def find_spec(
        name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = COMPILED.get(name)
        return source and importlib.util.spec_from_file_location(name, source)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pure-codec", action="store_true", help="run without the compiled codec")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--pure-codec"):
        assert not COMPILED.keys() & sys.modules.keys(), "the compiled codec is loaded already"
        sys.meta_path.insert(0, SourceFirst)


def pytest_report_header(config: pytest.Config) -> str:
    from logstore.record import is_compiled

    assert not (config.getoption("--pure-codec") and is_compiled())
    return f"record codec: {'compiled' if is_compiled() else 'plain Python'}"
