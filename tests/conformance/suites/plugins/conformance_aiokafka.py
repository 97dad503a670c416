"""Plugin for aiokafka's tests: the given server takes the place of their container's.

Their conftest starts one by Docker. The fixtures that do so are answered here, by name, before
they run; all others are theirs.
"""

import os
import types

import pytest


class KafkaServer:
    """The plain listener; there are no others."""

    container = None
    ssl_port = sasl_plain_port = sasl_ssl_port = 0

    def __init__(self, bootstrap):
        self.host, _, port = bootstrap.rpartition(":")
        self.port = int(port)

    @property
    def hosts(self):
        return [f"{self.host}:{self.port}"]


def _answers(request):
    """What each replaced fixture gives."""
    return {
        "docker": types.SimpleNamespace(),
        "kafka_image": request.config.getoption("--docker-image"),
        "ssl_folder": types.SimpleNamespace(),
        "kafka_server": KafkaServer(os.environ["CONFORMANCE_BOOTSTRAP"]),
        "acl_manager": types.SimpleNamespace(),
        "kafka_config": types.SimpleNamespace(),
        "kerberos_utils": types.SimpleNamespace(),
    }


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    answers = _answers(request)
    if fixturedef.argname not in answers:
        return None
    value = answers[fixturedef.argname]
    fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
    return value
