import json

from logstore.config import TOPIC_CONFIGS
from tests.server.commands.conftest import Run, rows


def test_create_and_list(run: Run) -> None:
    assert run("topic", "create", "orders", "-p", "3").stdout == (
        "created topic orders with 3 partitions\n"
    )
    run("topic", "create", "audit")
    run("produce", "orders", input="a\nb\n")
    table = rows(run("topic", "list"))
    assert table[0] == ["TOPIC", "PARTITIONS", "RECORDS", "SIZE"]
    assert [row[:3] for row in table[1:]] == [["audit", "1", "0"], ["orders", "3", "2"]]


def test_an_empty_list_says_what_to_do(run: Run) -> None:
    run("topic", "create", "orders")
    run("topic", "delete", "orders", "--yes")
    assert "topic create NAME' adds one" in run("topic", "list").stderr


def test_create_twice(run: Run) -> None:
    run("topic", "create", "orders")
    assert "'orders' exists already" in run("topic", "create", "orders", exit_code=1).stderr
    assert "is there already" in run("topic", "create", "orders", "--if-not-exists").stdout


def test_internal_topics_are_shown_when_asked_for(run: Run) -> None:
    run("topic", "create", "orders")
    run("produce", "orders", input="a\n")
    run("consume", "orders", "-g", "billing", "-e")
    assert "__consumer_offsets" not in run("topic", "list").stdout
    assert "__consumer_offsets" in run("topic", "list", "--internal").stdout


def test_describe(run: Run) -> None:
    run("topic", "create", "orders", "-p", "2", "-c", "retention.ms=1000")
    run("produce", "orders", "-p", "1", input="a\nb\n")
    table = rows(run("topic", "describe", "orders"))
    assert ["topic", "orders"] in table
    assert ["records", "2"] in table
    assert table[table.index([]) + 3][:4] == ["1", "0", "2", "2"]
    assert ["retention_ms", "1000", "here"] in table
    assert ["partitioner", "murmur3", "default"] in table


def test_json_for_programs(run: Run) -> None:
    run("topic", "create", "orders", "-p", "2")
    (listed,) = json.loads(run("topic", "list", "--json").stdout)
    described = json.loads(run("topic", "describe", "orders", "--json").stdout)
    assert listed == described
    assert [part["partition"] for part in described["partitions"]] == [0, 1]
    configs = json.loads(run("topic", "configs", "--json").stdout)
    assert {config["name"] for config in configs} == set(described["configs"])


def test_alter_sets_and_resets_configs(run: Run) -> None:
    run("topic", "create", "orders", "-c", "segment_bytes=1000000")
    changed = run("topic", "alter", "orders", "-c", "retention_ms=5", "-r", "segment_bytes")
    assert changed.stdout == "altered topic orders; set on it: retention_ms=5\n"
    assert "nothing to change" in run("topic", "alter", "orders", exit_code=2).stderr


def test_a_bad_config_is_named_with_what_it_takes(run: Run) -> None:
    refused = run("topic", "create", "orders", "-c", "retention_ms=never", exit_code=1)
    assert "retention_ms='never' is not valid: it takes" in refused.stderr
    assert (
        "'retention_ms' is not NAME=VALUE"
        in run("topic", "create", "orders", "-c", "retention_ms", exit_code=2).stderr
    )


def test_add_partitions(run: Run) -> None:
    run("topic", "create", "orders")
    assert "has 4 partitions" in run("topic", "add-partitions", "orders", "--total", "4").stdout
    run("topic", "add-partitions", "orders", "--total", "4", exit_code=1)


def test_delete_asks_first(run: Run) -> None:
    run("topic", "create", "orders")
    run("produce", "orders", input="a\n")
    assert "orders with 1 record?" in run("topic", "delete", "orders", input="n\n").stdout
    assert "orders" in run("topic", "list").stdout
    assert "deleted topic orders" in run("topic", "delete", "orders", "-y").stdout
    assert "no topic 'orders'" in run("topic", "describe", "orders", exit_code=1).stderr


def test_of_several_topics_none_is_deleted_if_one_is_unknown(run: Run) -> None:
    run("topic", "create", "orders")
    run("topic", "delete", "-y", "orders", "nope", exit_code=1)
    assert "orders" in run("topic", "list").stdout


def test_all_configs_are_listed(run: Run) -> None:
    listed = run("topic", "configs").stdout
    assert all(f"{name} (default " in listed for name in TOPIC_CONFIGS)


def test_configs_are_taken_under_kafkas_names(run: Run) -> None:
    given = (
        "retention.ms=1000",
        "flush.ms=50",
        "min.insync.replicas=1",
        "compression.type=zstd",
    )
    run("topic", "create", "orders", *(part for config in given for part in ("--config", config)))
    (topic,) = json.loads(run("topic", "list", "--json").stdout)
    assert topic["overrides"] == {
        "retention_ms": "1000",
        "flush_interval_ms": "50",
        "compression_type": "zstd",
    }
    refused = run("topic", "alter", "orders", "-c", "min.insync.replicas=2", exit_code=1).stderr
    assert "one replica of each partition" in " ".join(refused.split())
