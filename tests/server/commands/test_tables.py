import pytest

from logstore_server.commands.tables import print_facts, print_json, print_table


def test_a_table_in_a_file_is_plain_and_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "count", "note"), [("a" * 100, 1, ""), ("b", 20_000, None)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "COUNT", "NOTE"]
    assert lines[1] == f"{'a' * 100}       1  -"
    assert lines[2] == f"b{' ' * 99}  20,000  -"


def test_brackets_and_colons_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [("[bold]x[/bold] :smile:",)])
    assert "[bold]x[/bold] :smile:" in capsys.readouterr().out


def test_a_number_that_is_missing_leaves_the_column_right(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("offset",), [(None,), (12,)])
    assert capsys.readouterr().out.splitlines()[1:] == ["     -", "    12"]


def test_facts_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("topic", "orders"), ("internal", False), ("records", 1000)])
    assert capsys.readouterr().out.splitlines() == [
        "topic     orders", "internal  no", "records   1,000"
    ]  # fmt: skip
    print_json({"town": "Köln"})
    assert capsys.readouterr().out == '{\n  "town": "Köln"\n}\n'
