from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from kio.index import load_request_schema, load_response_schema

from logstore_server.kafka.registry import APIS, BY_KEY, Api

each_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)


@each_api
def test_a_row_has_a_module_that_says_what_it_does(api: Api) -> None:
    module = importlib.import_module(api.module)
    assert callable(module.handle)
    assert module.__doc__ is not None
    assert f"(key {api.key}), versions {api.version_min} to {api.version_max}" in module.__doc__


@each_api
def test_a_row_has_schemas_of_all_its_versions(api: Api) -> None:
    for version in range(api.version_min, api.version_max + 1):
        load_request_schema(api.key, version)
        load_response_schema(api.key, version)


@each_api
def test_a_row_is_called_as_the_schemas_call_it(api: Api) -> None:
    assert f".{api.name}." in load_request_schema(api.key, api.version_max).__module__


def test_keys_are_there_once_and_in_order_within_their_part() -> None:
    assert len(BY_KEY) == len(APIS)


def test_the_listener_loads_no_schema_and_no_handler() -> None:
    program = (
        "import sys, logstore_server.app; "
        "late = ('kio', 'logstore_server.kafka.apis.'); "
        "print([name for name in sys.modules if name.startswith(late)])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout == "[]\n"
