"""SaslAuthenticate (key 36), versions 0 to 2: one step of a login.

What each version added
    1  how long the login is good for (KIP-368)        2  flexible

The same call renews a login; it must be by the same user, with the same mechanism. A password is
checked in a worker thread: it takes some milliseconds, on purpose.
"""

from __future__ import annotations

from typing import Any

from logstore_server.auth import LoginFailedError
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode
from logstore_server.kafka.login import LoginOrderError


async def handle(request: Request) -> Values:
    client = request.client
    if client.login is None:
        return _answer(ErrorCode.ILLEGAL_SASL_STATE, "this listener asks for no login")
    try:
        answer = await request.bridge.call(client.login.step, bytes(request.body.auth_bytes))
    except LoginFailedError as error:
        return _answer(ErrorCode.SASL_AUTHENTICATION_FAILED, str(error))
    except LoginOrderError as error:
        return _answer(ErrorCode.ILLEGAL_SASL_STATE, str(error))
    if client.login.principal:
        client.principal = client.login.principal
    return _answer(ErrorCode.NONE, None) | {
        "auth_bytes": answer,
        "session_lifetime": client.login.lifetime_ms,
    }


def _answer(code: ErrorCode, message: str | None) -> dict[str, Any]:
    return {"error_code": code, "error_message": message, "auth_bytes": b""}
