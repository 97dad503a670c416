import pytest

from logstore_server.commands import progress
from logstore_server.commands.progress import Progress


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER_S", 0.0)


def test_a_person_sees_records_share_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(enabled=True, total_bytes=1024, done_bytes=lambda: 512) as shown:
        for _ in range(256):
            shown.add()
    written = capsys.readouterr().err
    assert "256 records, 50%, " in written
    assert "records/s" in written
    assert written.endswith("\r\033[K")


def test_nobody_sees_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as counted:  # stderr is no terminal here
        for _ in range(1000):
            counted.add()
    assert counted.records == 1000
    assert capsys.readouterr().err == ""
