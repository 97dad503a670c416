"""Compare a wheel with the tree: every module, stub and marker, and the compiled modules."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILED = ("logstore/record/_codec.", "logstore/record/_encoder.")


def in_tree() -> set[str]:
    found = set()
    for top, package in ((ROOT, "logstore"), (ROOT / "server", "logstore_server")):
        for path in (top / package).rglob("*"):
            if path.suffix in (".py", ".pyi") or path.name == "py.typed":
                found.add(str(path.relative_to(top)))
    return found


def main(wheel: str) -> int:
    names = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in names if ".dist-info/" not in name and not name.endswith(".so")}
    missing = sorted(in_tree() - packed)
    strange = sorted(packed - in_tree())
    for prefix in COMPILED:
        if not any(name.startswith(prefix) and name.endswith(".so") for name in names):
            missing.append(f"{prefix}*.so")
    for name in missing:
        print(f"missing in the wheel: {name}")
    for name in strange:
        print(f"in the wheel only: {name}")
    return 1 if missing or strange else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
