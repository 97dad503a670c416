"""DescribeUserScramCredentials (key 50), versions 0 to 0: the users and how they log in.

Mechanisms and iterations only; keys and salts are never shown.
"""

from __future__ import annotations

from typing import Any

from logstore.api.access import Credentials
from logstore_server.kafka.admin import RefusedError, outcome, repeated
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


def handle(request: Request) -> Values:
    known = request.store.access.users()
    asked = request.body.users
    names = [user.name for user in asked] if asked else sorted(known)  # null or none: all
    twice = repeated(names)
    results = [_result(name, known.get(name), name in twice) for name in dict.fromkeys(names)]
    return {"throttle_time": 0, "results": results, **outcome()}


def _result(name: str, credentials: Credentials | None, is_twice: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"user": name, "credential_infos": []}
    if is_twice:
        code = ErrorCode.DUPLICATE_RESOURCE
        return result | outcome(RefusedError(code, f"user {name!r} is named twice"))
    if credentials is None:
        code = ErrorCode.RESOURCE_NOT_FOUND
        return result | outcome(RefusedError(code, f"there is no user {name!r}"))
    result["credential_infos"] = [
        {"mechanism": mechanism, "iterations": credential.iterations}
        for mechanism, credential in sorted(credentials.items())
    ]
    return result | outcome()
