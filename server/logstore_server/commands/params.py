"""Option types that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from logstore_server.commands.values import parse_place, parse_time, parse_topic_partition

T = TypeVar("T")

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # takes no arguments before click 8.3


class Parsed(_ParamType, Generic[T]):
    """A function from text to a value; its ValueError is the usage error."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parse_assignment(text: str) -> tuple[str, str]:
    """ "name=value"; the value may be empty and may hold further equal signs."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name.strip(), value


PLACE = Parsed("place", parse_place)
TIME = Parsed("time", parse_time)
TOPIC_PARTITION = Parsed("topic:partition", parse_topic_partition)
ASSIGNMENT = Parsed("name=value", parse_assignment)
