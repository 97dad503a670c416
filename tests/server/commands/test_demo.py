"""The parts of the demo, small; tests/test_demo.py runs it whole."""

import zipfile
from pathlib import Path

import click
import pytest

from logstore.client import Store
from logstore_server.commands.demo import flights as flights_module
from logstore_server.commands.demo import members as members_module
from logstore_server.commands.demo.flights import Flight, find_archive, read_flights
from logstore_server.commands.demo.members import GroupOfMembers
from logstore_server.commands.demo.report import stage_row
from logstore_server.commands.demo.server_process import DemoServer
from logstore_server.commands.demo.stages import Stage, read_all, replay, run_stages, share

HEADER = b"tailnum,time_hour"
ROWS = [b"N1,2013-07-01T01:00:00Z", b"NA,2013-06-30T23:00:00Z", b"N2,2013-06-30T23:00:00Z"]


def archive(directory: Path) -> Path:
    path = directory / "flights.csv.zip"
    with zipfile.ZipFile(path, "w") as files:
        files.writestr("flights.csv", b"\n".join([HEADER, *ROWS, b""]))
    return path


@pytest.fixture
def flights(tmp_path: Path) -> list[Flight]:
    few = read_flights(archive(tmp_path))
    return [flight for flight in few for _ in range(10)]


def test_flights_come_by_hour_and_within_it_as_in_the_file(tmp_path: Path) -> None:
    assert read_flights(archive(tmp_path)) == [
        Flight(None, ROWS[1], 1372633200000),
        Flight(b"N2", ROWS[2], 1372633200000),
        Flight(b"N1", ROWS[0], 1372640400000),
    ]


def test_the_package_is_found_without_importing_it() -> None:
    assert find_archive().name == "flights.csv.zip"


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights_module, "PACKAGE", "no-such-package")
    with pytest.raises(click.ClickException, match=r"pip install 'logstore\[demo\]'"):
        find_archive()


def test_all_stages_on_a_few_flights(store: Store, flights: list[Flight]) -> None:
    report = run_stages(store, flights)
    assert [(stage.counted, stage.expected) for stage in report.stages] == [
        (30, 30), (30, 30), (30, 30), (10, 10)
    ]  # fmt: skip
    assert report.is_right
    assert report.null_keys == 10
    assert sorted(len(member.partitions) for member in report.members) == [2, 2, 2]


def test_what_is_missing_or_changed_is_told(
    store: Store, flights: list[Flight], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks can fail: the log holds other rows than those that it is compared with."""
    for module in ("stages", "members"):
        monkeypatch.setattr(f"logstore_server.commands.demo.{module}.STALL_TIMEOUT_S", 0.5)
    run_stages(store, flights)
    store.delete_group("archive")
    other = [flight._replace(row=b"other") for flight in flights]
    assert "not those that were sent" in read_all(store, other).complaints[0]
    store.delete_group("dashboard")
    store.delete_group("archive")
    for partition in range(6):
        store.delete_records("flights", partition, before_offset=-1)
    _, shared = share(store, len(flights))
    for stage in (shared, read_all(store, flights), replay(store, flights)):
        assert stage.counted == 0
        assert not stage.is_right


def test_a_member_that_fails_ends_the_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "JOIN_TIMEOUT_S", 1.0)
    store.create_topic("flights", partitions=1)
    group = GroupOfMembers(store, "flights", group="g", members=2, partitions=6, expected=1)
    with pytest.raises(click.ClickException, match="got no partitions"):
        group.run()


def test_rows_of_the_report() -> None:
    right = Stage("s", "send", 1000, 1000, 0.5)
    assert stage_row(right) == ("s", "send", 1000, 1000, "0.50", 2000, "ok")
    wrong = Stage("s", "send", 1000, 998, 0.0, ("2 are older",))
    assert stage_row(wrong) == ("s", "send", 998, 1000, "0.00", 0, "-2; 2 are older")


def test_a_server_that_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("else")
    with pytest.raises(click.ClickException, match="could not start"), DemoServer(tmp_path):
        pass
