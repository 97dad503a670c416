"""Who a client is and what it may do, for listeners: passwords, SCRAM exchanges, access rules.

The rules and users are the store's (`store.access`); this adds what a server's config says of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from logstore.access import TokenBucket, verify_password
from logstore.access.acls import OPERATIONS
from logstore.access.credentials import credential_of_salted as scram_credential
from logstore.api.access import (
    AccessStore,
    Operation,
    ResourceType,
    ScramMechanism,
)

__all__ = [
    "Authorizer",
    "LoginFailedError",
    "ScramExchange",
    "TokenBucket",
    "check_password",
    "operations_of",
    "parse_plain",
    "scram_credential",
]

USER_PREFIX = "User:"
# A message of a client while it logs in; Kafka's bound is 512 KiB, honest ones have 300 bytes.
SASL_BYTES_MAX = 16 * 1024


class LoginFailedError(Exception):
    """Not who it says it is. Its text never tells whether there is such a user."""


class Authorizer:
    """The store's rules with a server's exceptions to them. Look-ups only; thread-safe.

    `super_users` ("User:ann") may do everything. `allow_without_rules`: what no rule is about is
    open to all, otherwise to super users only (Kafka's allow.everyone.if.no.acl.found).
    """

    def __init__(
        self, access: AccessStore, *, super_users: Iterable[str], allow_without_rules: bool
    ) -> None:
        self._access = access
        self._super_users = frozenset(super_users)
        self._allow_without_rules = allow_without_rules

    def is_super(self, principal: str) -> bool:
        return principal in self._super_users

    def allows(
        self, principal: str, host: str, operation: Operation, resource: ResourceType, name: str
    ) -> bool:
        if principal in self._super_users:
            return True
        decided = self._access.decider.decide(principal, host, operation, resource, name)
        return self._allow_without_rules if decided is None else decided

    def allows_some(
        self, principal: str, host: str, operation: Operation, resource: ResourceType
    ) -> bool:
        """Whether there is any name of that type for which it is allowed."""
        return (
            principal in self._super_users
            or self._allow_without_rules
            or self._access.decider.allows_some(principal, host, operation, resource)
        )


def operations_of(resource: ResourceType) -> Iterable[Operation]:
    """What can be done to resources of that type, ALL not counted."""
    return OPERATIONS[resource] - {Operation.ALL}


def check_password(access: AccessStore, user: str, password: str) -> None:
    """Takes some milliseconds, on purpose, for an unknown user too: call it in a thread. Raises
    LoginFailedError."""
    credentials = access.users().get(user, {})
    for mechanism, credential in credentials.items():
        if verify_password(mechanism, credential, password):
            return
    if not credentials:
        hashlib.pbkdf2_hmac("sha256", password.encode("utf-8", "replace")[:1024], b"none", 8192)
    raise LoginFailedError("the user name or the password is wrong")


class ScramExchange:
    """The server's side of one SCRAM login (RFC 5802), without channel binding.

        client first -> answer -> server first;  client final -> answer -> server final

    `user` is set when it has succeeded.
    """

    def __init__(
        self,
        access: AccessStore,
        mechanism: ScramMechanism,
        *,
        make_nonce: Callable[[], str] | None = None,
    ) -> None:
        from scramp import ScramMechanism as Mechanism  # only servers with logins load it

        self._access = access
        self._mechanism = mechanism
        self._name = ""
        nonce = None if make_nonce is None else make_nonce()
        self._server = Mechanism(mechanism.sasl_name).make_server(self._look_up, s_nonce=nonce)
        self._is_first = True
        self.user: str | None = None

    def _look_up(self, user: str) -> tuple[bytes, bytes, bytes, int]:
        credential = self._access.users().get(user, {}).get(self._mechanism)
        if credential is None:
            raise LoginFailedError
        self._name = user
        return (
            credential.salt,
            credential.stored_key,
            credential.server_key,
            credential.iterations,
        )

    def answer(self, message: bytes) -> bytes:
        """Raises LoginFailedError; the exchange is over then."""
        from scramp import ScramException

        try:
            text = message.decode("utf-8")
            if self._is_first:
                self._is_first = False
                self._server.set_client_first(text)
                return str(self._server.get_server_first()).encode()
            self._server.set_client_final(text)
            final = str(self._server.get_server_final()).encode()
        except (ScramException, LoginFailedError, UnicodeError, ValueError, KeyError):
            raise LoginFailedError("the user name or the password is wrong") from None
        self.user = self._name
        return final


def parse_plain(message: bytes) -> tuple[str, str]:
    """(user, password) of a PLAIN message (RFC 4616): [authorization] NUL user NUL password. Raises
    LoginFailedError."""
    try:
        authorization, user, password = message.decode("utf-8").split("\0")
    except ValueError:
        raise LoginFailedError("the PLAIN message is not of the form user, password") from None
    if not user or not password:
        raise LoginFailedError("the user name or the password is empty")
    if authorization not in ("", user):
        raise LoginFailedError("one user cannot act as another")
    return user, password
