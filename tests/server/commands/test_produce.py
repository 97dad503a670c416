import json
from pathlib import Path

import pytest

from tests.server.commands.conftest import Run


def printed(run: Run, *options: str) -> list[str]:
    return run("consume", "orders", "-e", *options).stdout.splitlines()


@pytest.fixture(autouse=True)
def topic(run: Run) -> None:
    run("topic", "create", "orders", "-p", "3")


def test_lines_of_standard_input(run: Run) -> None:
    assert run("produce", "orders", input="a\nb\n").stderr == "2 records to orders\n"
    assert sorted(printed(run)) == ["a", "b"]
    assert run("produce", "orders", "-q", input="c\n").output == ""


def test_keys_before_a_separator(run: Run) -> None:
    run("produce", "orders", "-K", ":", input="k1:a\nk2:b\nk1:c:d\n")
    lines = printed(run, "-f", r"{key}={value}\n")
    assert [line for line in lines if line.startswith("k1")] == ["k1=a", "k1=c:d"]
    assert "k2=b" in lines


def test_a_key_and_headers_for_all(run: Run) -> None:
    run("produce", "orders", "-k", "k", "-H", "a=1", "-H", "b=", input="v\n")
    item = json.loads(printed(run, "-f", "json")[0])
    assert (item["key"], item["value"], item["headers"]) == ("k", "v", {"a": "1", "b": ""})


def test_json_goes_round(run: Run, tmp_path: Path) -> None:
    run("produce", "orders", "-f", "json", input=(
        '{"key":"k","value":"v","headers":{"h":"1"},"timestamp":"2013-07-01","partition":2}\n'
        '{"value":null,"partition":0}\n{"value_base64":"/w==","partition":0}\n'
    ))  # fmt: skip
    before = printed(run, "-f", "json")
    file = tmp_path / "records.jsonl"
    file.write_text("\n".join(before) + "\n")
    run("topic", "delete", "orders", "-y")
    run("topic", "create", "orders", "-p", "3")
    run("produce", "orders", "-f", "json", str(file))
    assert printed(run, "-f", "json") == before


def test_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo")
    (tmp_path / "b").write_bytes(b"three")
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    run("produce", "orders", "-p", "0", *files)
    assert printed(run) == ["one", "two", "three"]
    run("produce", "orders", "-p", "1", "-f", "file", *files)
    assert printed(run, "-p", "1", "-f", "{offset}:{value};") == ["0:one", "two;1:three;"]


@pytest.mark.parametrize("acks", ["all", "leader", "none"])
@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_acks_and_compression(run: Run, acks: str, compression: str) -> None:
    run("produce", "orders", "--acks", acks, "-z", compression, input="a\nb\n")
    assert sorted(printed(run)) == ["a", "b"]


def test_a_bad_line_stops_there_and_keeps_what_was_before(run: Run) -> None:
    failed = run("produce", "orders", "-K", ":", input="k:a\nk:b\nnone\nk:c\n", exit_code=1)
    assert failed.stderr == (
        "Error: standard input, line 3 has no key: ':' does not occur in it; "
        "2 records before it were stored\n"
    )
    assert printed(run) == ["a", "b"]


def test_what_the_topic_refuses(run: Run) -> None:
    assert "no partition 7" in run("produce", "orders", "-p", "7", input="a\n", exit_code=1).stderr
    run("topic", "alter", "orders", "-c", "max_message_bytes=1000")
    large = run("produce", "orders", input="a\n" + "x" * 2000 + "\n", exit_code=1)
    assert "max_message_bytes" in large.stderr
    assert "1 record before it was stored" in large.stderr


def test_an_unknown_topic_is_told_before_input_is_read(run: Run) -> None:
    failed = run("produce", "nope", input="a\n", exit_code=1)
    assert "there is no topic 'nope'" in failed.stderr
    assert "topic create nope'" in failed.stderr


def test_options_that_do_not_go_together(run: Run) -> None:
    run("produce", "orders", "-K", "", input="", exit_code=2)
    run("produce", "orders", "-K", ":", "-f", "json", input="", exit_code=2)
