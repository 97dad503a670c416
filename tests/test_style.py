"""Style that a machine can check: sizes, a test for each module, effects passed as arguments."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LARGE = {
    "logstore/record/_codec.py": "its loops share one inlined parser, which a split would copy",
}
LONG = {
    "logstore/record/_codec.py": "one inlined parser, in the shape that the C compiler keeps fast",
}
# Modules whose tests have another name than theirs, and where those are.
KAFKA = "server/logstore_server/kafka"
TESTED_BY = {
    "server/logstore_server/commands/access.py": "tests/server/commands/test_user.py, test_acl.py",
    f"{KAFKA}/acl_values.py": "tests/server/kafka/apis/test_create_acls.py",
    f"{KAFKA}/admin.py": "tests/server/kafka/apis/test_create_topics.py",
    f"{KAFKA}/apis/delete_acls.py": "tests/server/kafka/apis/test_create_acls.py",
    f"{KAFKA}/apis/describe_acls.py": "tests/server/kafka/apis/test_create_acls.py",
    f"{KAFKA}/apis/describe_client_quotas.py": "test_alter_client_quotas.py beside it",
    f"{KAFKA}/apis/describe_user_scram_credentials.py": "test_alter_user_scram_credentials.py",
    f"{KAFKA}/apis/sasl_authenticate.py": "tests/server/kafka/test_login.py",
    f"{KAFKA}/apis/sasl_handshake.py": "tests/server/kafka/test_login.py",
    f"{KAFKA}/config_answers.py": "tests/server/kafka/apis/test_describe_configs.py",
    f"{KAFKA}/config_changes.py": "tests/server/kafka/apis/test_alter_configs.py",
    f"{KAFKA}/gate.py": "tests/server/kafka/test_guard_rules.py",
    f"{KAFKA}/guard.py": "tests/server/kafka/test_guard_rules.py",
    "logstore/api/access.py": "values and protocols; tests/access/",
    "logstore/api/classic_groups.py": "values; tests/group/test_classic_group.py",
    "logstore/api/coordination.py": "values and a protocol; tests/group/test_coordination.py",
    "logstore/api/groups.py": "values; every test of a group uses them",
    "logstore/api/topics.py": "values; every test of a store uses them",
    "logstore/api/transactions.py": "values; tests/txn/test_coordination.py",
    "logstore/txn/orphans.py": "tests/txn/test_crashes.py, tests/txn/test_coordination.py",
    "logstore/txn/partitions.py": "a protocol; the topic table of every store is one",
    "logstore/adopt/committed.py": "tests/adopt/test_adoption.py",
    "logstore/adopt/kafka_directory.py": "tests/adopt/test_adoption.py",
    "logstore/adopt/partition_copy.py": "tests/adopt/test_adoption.py",
    "logstore/log/append_values.py": "tests/log/test_log_writer.py",
    "logstore/log/foreign.py": "tests/adopt/test_adoption.py",
    "logstore/fetching.py": "tests/test_store.py",
    "logstore/group/classic_member.py": "tests/group/test_classic_group.py",
    "logstore/group/consumer_member.py": "tests/group/test_consumer_group.py",
    "logstore/group/group_table.py": "tests/group/test_coordinator.py",
    "logstore/topic_table.py": "tests/test_store.py",
    "logstore/log/faults.py": "tests/log/test_partition_log.py: a full disk, a failed write",
    "logstore/log/format.py": "constants; tests/log/test_recovery.py reads what they lay out",
    "logstore/log/lease.py": "tests/log/test_partition_log.py",
    "logstore/log/log_view.py": "tests/log/test_partition_log.py",
    "logstore/log/producer_replay.py": "tests/log/test_recovery.py, tests/log/test_transactions.py",
    "logstore/log/reading.py": "tests/log/test_partition_log.py",
    "logstore/log/segment.py": "tests/log/test_partition_log.py",
    "logstore/log/follower.py": "tests/test_follower.py",
    "logstore/read_only_fs.py": "tests/test_follower.py",
    "logstore/reader.py": "tests/test_store.py",
    "server/logstore_server/kafka/schema.py": "tests/server/kafka/test_encoding.py",
    "server/logstore_server/kafka/context.py": "values; every test in tests/server/kafka/apis",
    "server/logstore_server/kafka/transactions.py": "tests of the txn APIs beside it",
    "logstore/version.py": "a constant, which the package's metadata is made from",
    "logstore/record/_cython.py": "stands in for Cython in the pure run of tests/record",
}
ENGINE_EFFECTS = re.compile(
    r"\btime\.(time|monotonic|sleep|time_ns)\(|(?<![.\w])(?<!def )open\("
    r"|\brandom\.(?!Random\b)\w+\("
)
ENGINE = ("record", "log", "group", "queue", "txn")


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "v1" not in path.parts and "build" not in path.parts]


PRODUCT = sources("logstore", "server")
EVERYTHING = PRODUCT + sources("tests", "benchmarks")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_a_module_has_one_reason_to_change(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= MODULE_LINES_MAX or name_of(path) in LARGE


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_a_function_fits_on_a_page(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            is_excepted = name_of(path) in LONG
            assert lines <= FUNCTION_LINES_MAX or is_excepted, f"{node.name} has {lines} lines"


def mirrors(path: Path) -> list[Path]:
    """Where a module's tests may be: beside its place in the tree, or for its whole package."""
    relative = path.relative_to(ROOT)
    parts = relative.parts[2:] if relative.parts[0] == "server" else relative.parts[1:]
    top = ROOT / "tests" / ("server" if relative.parts[0] == "server" else "")
    folder = top.joinpath(*parts[:-1])
    stem = path.stem.lstrip("_")
    return [folder / f"test_{stem}.py", folder.parent / f"test_{folder.name}.py"]


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_a_module_has_its_tests(path: Path) -> None:
    if path.name in ("__init__.py", "__main__.py") or name_of(path) in TESTED_BY:
        return
    found = [mirror for mirror in mirrors(path) if mirror.exists()]
    assert found, f"none of {[name_of(mirror) for mirror in mirrors(path)]}"


def test_the_exceptions_are_needed() -> None:
    for name in (*LARGE, *LONG, *TESTED_BY):
        assert (ROOT / name).exists(), f"{name} is listed but gone"


@pytest.mark.parametrize("path", sources(*(f"logstore/{part}" for part in ENGINE)), ids=name_of)
def test_the_engine_gets_time_files_and_chance_as_arguments(path: Path) -> None:
    found = ENGINE_EFFECTS.search(path.read_text())
    assert found is None, f"{found} in {name_of(path)}"


@pytest.mark.parametrize("path", EVERYTHING, ids=name_of)
def test_no_path_of_a_machine_is_in_the_tree(path: Path) -> None:
    homes = "|".join(["work", "farm", "root", "home"])
    found = re.search(rf"""["'\s(=]/(?:{homes})/\w""", path.read_text())
    assert found is None, f"{found} in {name_of(path)}"
