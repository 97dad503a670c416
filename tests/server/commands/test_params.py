import click
import pytest

from logstore_server.commands.params import ASSIGNMENT, PLACE, Parsed
from logstore_server.commands.values import Place, PlaceKind


def test_a_value_error_is_a_usage_error() -> None:
    with pytest.raises(click.BadParameter, match="'noon' is none of"):
        PLACE.convert("noon", None, None)
    assert PLACE.convert("7", None, None) == Place(PlaceKind.OFFSET, 7)


def test_a_value_is_not_parsed_twice() -> None:
    assert Parsed("number", int).convert(7, None, None) == 7


@pytest.mark.parametrize(
    ("text", "pair"), [("a=b", ("a", "b")), ("a=", ("a", "")), ("a=b=c", ("a", "b=c"))]
)
def test_assignments(text: str, pair: tuple[str, str]) -> None:
    assert ASSIGNMENT.convert(text, None, None) == pair


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(click.BadParameter, match="NAME=VALUE"):
        ASSIGNMENT.convert(text, None, None)
