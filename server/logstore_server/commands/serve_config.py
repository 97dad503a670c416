"""From flags, environment and a TOML file to a ServerConfig. Pure.

Every field of ServerConfig and of the parts inside it is a setting. Its name is the path of field
names: `host`, `rpc.streams_max`, `store.group.members_max`. In the environment that is
LOGSTORE_HOST, LOGSTORE_RPC_STREAMS_MAX, LOGSTORE_STORE_GROUP_MEMBERS_MAX; in the file

    host = "0.0.0.0"
    [rpc]
    streams_max = 1000

Flags win over the environment, that over the file, that over the defaults.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from logstore.errors import InvalidConfigError
from logstore_server.config import ServerConfig

Setting = str | int | float | bool


def setting_types(cls: type[Any] = ServerConfig, prefix: str = "") -> dict[str, type[Any]]:
    """Every setting and the type of its value."""
    hints = get_type_hints(cls)
    found: dict[str, type[Any]] = {}
    for field in fields(cls):
        kind = hints[field.name]
        if isinstance(kind, type) and is_dataclass(kind):
            found.update(setting_types(kind, f"{prefix}{field.name}."))
        else:
            found[prefix + field.name] = kind
    return found


def environment_name(setting: str) -> str:
    return "LOGSTORE_" + setting.replace(".", "_").upper()


def server_config(
    *,
    flags: Mapping[str, str],
    environment: Mapping[str, str],
    toml: str = "",
    default_data_dir: str = "",
) -> ServerConfig:
    """`flags`: settings by name, as text. Raises InvalidConfigError."""
    types = setting_types()
    given = {name: _checked(types, name, value) for name, value in _from_toml(toml)}
    for name, kind in types.items():
        text = environment.get(environment_name(name))
        if text is not None:
            given[name] = _parse(kind, environment_name(name), text)
    for name, text in flags.items():
        if name not in types:
            raise _unknown(types, name)
        given[name] = _parse(types[name], name, text)
    if default_data_dir:
        given.setdefault("data_dir", default_data_dir)
    if "data_dir" not in given:
        raise InvalidConfigError(
            "no data directory is named; 'logstore serve DIR' names it", config="data_dir"
        )
    config = _build(ServerConfig, "", given)
    assert isinstance(config, ServerConfig)
    return config


def _build(cls: type[Any], prefix: str, given: Mapping[str, Setting]) -> object:
    """An instance from the settings below `prefix`; the class itself checks ranges."""
    values: dict[str, object] = {}
    hints = get_type_hints(cls)
    for field in fields(cls):
        name = prefix + field.name
        if is_dataclass(hints[field.name]):
            values[field.name] = _build(hints[field.name], f"{name}.", given)
        elif name in given:
            values[field.name] = given[name]
    return cls(**values)


def _from_toml(text: str) -> Iterator[tuple[str, Setting]]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfigError(f"the config file is not TOML: {error}") from None
    yield from _flatten(document, "")


def _flatten(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Setting]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _checked(types: Mapping[str, type[Any]], name: str, value: Setting) -> Setting:
    """A value from TOML, which has types of its own."""
    if name not in types:
        raise _unknown(types, name)
    kind = types[name]
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InvalidConfigError(
            f"{name} in the config file must be {_TYPE_NAMES[kind]}, not {value!r}", config=name
        )
    return value


_TYPE_NAMES: dict[type[Any], str] = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    str: "a string in quotes",
}


def _parse(kind: type[Any], name: str, text: str) -> Setting:
    """A value from a flag or the environment, which are all text."""
    if kind is str:
        return text
    if kind is bool and text.lower() in ("true", "1", "false", "0"):
        return text.lower() in ("true", "1")
    if kind in (int, float):
        try:
            number: int | float = kind(text)
        except ValueError:
            pass
        else:
            return number
    raise InvalidConfigError(f"{name}={text!r} must be {_TYPE_NAMES[kind]}", config=name)


def _unknown(types: Mapping[str, type[Any]], name: str) -> InvalidConfigError:
    import difflib

    near = difflib.get_close_matches(name, types, n=3, cutoff=0.5)
    hint = f"; is it {' or '.join(near)}?" if near else ""
    return InvalidConfigError(f"there is no setting {name!r}{hint}", config=name)


def as_toml(config: object) -> str:
    """The config as a file that means the same."""
    lines: list[str] = []
    _write_table(config, "", lines)
    return "\n".join(lines) + "\n"


def _write_table(config: Any, prefix: str, lines: list[str]) -> None:
    tables = []
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            tables.append((field.name, value))
        else:
            lines.append(f"{field.name} = {_toml_value(value)}")
    for name, value in tables:
        lines.extend(["", f"[{prefix}{name}]"])
        _write_table(value, f"{prefix}{name}.", lines)


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import json

        return json.dumps(value)  # a TOML basic string has the same escapes
    return str(value)
