from pathlib import Path

import click
import pytest

from logstore_server.commands.target import Target


def test_a_directory_without_a_store_is_not_made_into_one(tmp_path: Path) -> None:
    target = Target(tmp_path / "store")
    with pytest.raises(click.ClickException, match=r"there is no store in .*topic create NAME"):
        target.open()
    with target.open(create=True) as store:
        store.create_topic("orders")
    with target.open() as store:
        assert [topic.name for topic in store.describe_topics()] == ["orders"]


def test_flags_of_examples() -> None:
    assert Target(Path("data")).flags == "--store data "
    assert Target(None).flags == ""
