"""AlterUserScramCredentials (key 51), versions 0 to 0: users come, change their password, and go.

The client salts and hashes the password itself; what is stored is derived from that. The changes of
one user are made together, each user's by themselves; durable when answered.
"""

from __future__ import annotations

from typing import Any

from logstore.api.access import CredentialChange, ScramMechanism
from logstore.errors import LogStoreError
from logstore_server.auth import scram_credential
from logstore_server.kafka.admin import RefusedError, outcome, repeated
from logstore_server.kafka.context import Request
from logstore_server.kafka.encoding import Values
from logstore_server.kafka.errors import ErrorCode


async def handle(request: Request) -> Values:
    body = request.body
    changes = [*body.deletions, *body.upsertions]
    twice = repeated((one.name, one.mechanism) for one in changes)
    results = []
    for name in dict.fromkeys(one.name for one in changes):
        try:
            made = [_change(one) for one in changes if one.name == name]
            if any((name, one.mechanism) in twice for one in made):
                raise RefusedError(
                    ErrorCode.DUPLICATE_RESOURCE, f"user {name!r} is changed twice alike"
                )
            await request.bridge.call(request.store.access.change_credentials, made)
            results.append({"user": name, **outcome()})
        except (LogStoreError, RefusedError) as error:
            results.append({"user": name, **outcome(error)})
    return {"throttle_time": 0, "results": results}


def _change(given: Any) -> CredentialChange:
    """Of a deletion or an upsertion."""
    try:
        mechanism = ScramMechanism(given.mechanism)
    except ValueError:
        raise RefusedError(
            ErrorCode.UNSUPPORTED_SASL_MECHANISM, f"there is no mechanism {given.mechanism}"
        ) from None
    if not given.name:
        raise RefusedError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "the user name is empty")
    if not hasattr(given, "salted_password"):
        return CredentialChange(given.name, mechanism, None)
    credential = scram_credential(
        mechanism,
        bytes(given.salted_password),
        salt=bytes(given.salt),
        iterations=given.iterations,
    )
    return CredentialChange(given.name, mechanism, credential)
