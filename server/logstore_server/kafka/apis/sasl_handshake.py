"""SaslHandshake (key 17), versions 1 to 1: the client chooses how it will log in.

Version 0, whose login came as bare bytes without Kafka's frame around them, is not served: Kafka's
clients have used version 1 since 2017.
"""

from __future__ import annotations

from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


def handle(request: Request) -> Values:
    login = request.client.login
    mechanisms = [] if login is None else list(login.mechanisms)
    if login is None:
        code = ErrorCode.ILLEGAL_SASL_STATE  # this listener asks for no login
    elif login.choose(request.body.mechanism):
        code = ErrorCode.NONE
    else:
        code = ErrorCode.UNSUPPORTED_SASL_MECHANISM
    return {"error_code": code, "mechanisms": mechanisms}
