"""A connection's login: which steps may come, what they prove, how long it is good for.

    choose(mechanism) -> step, step, ... -> principal set;  again before `lifetime_ms` is over

Pure but for the clock and the store's users. Owned by the event loop; `step` runs in a worker
thread while the connection starts nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from logstore.api.access import AccessStore, ScramMechanism
from logstore_server.auth import (
    SASL_BYTES_MAX,
    USER_PREFIX,
    LoginFailedError,
    ScramExchange,
    check_password,
    parse_plain,
)

PLAIN = "PLAIN"
# What a client may ask before it has logged in: SaslHandshake, ApiVersions, SaslAuthenticate.
LOGIN_KEYS = frozenset({17, 18, 36})
LOGIN_FRAME_BYTES_MAX = 64 * 1024
LOGIN_S_MAX = 30.0  # from the connection on; Kafka's connections without a login idle longer
SCRAM = {mechanism.sasl_name: mechanism for mechanism in ScramMechanism}
MECHANISMS = (PLAIN, *SCRAM)


class LoginOrderError(Exception):
    """A step that does not follow from the ones before."""


class Login:
    """`mechanisms`: those that are configured. `lifetime_ms` 0: a login does not end."""

    def __init__(
        self,
        access: AccessStore,
        mechanisms: tuple[str, ...],
        *,
        lifetime_ms: int,
        monotonic: Callable[[], float],
    ) -> None:
        self.mechanisms = mechanisms
        self.lifetime_ms = lifetime_ms
        self.principal = ""  # "User:name" once it is proved
        self._access = access
        self._monotonic = monotonic
        self._mechanism = ""  # chosen and not finished
        self._proved_by = ""
        self._exchange: ScramExchange | None = None
        self._ends_at = float("inf")
        self._has_failed = False

    def is_valid(self) -> bool:
        """Whether anything but the login itself may be asked."""
        return bool(self.principal) and not self._has_failed and self._monotonic() < self._ends_at

    @property
    def has_failed(self) -> bool:
        """Nothing more can come of this connection."""
        return self._has_failed

    def choose(self, mechanism: str) -> bool:
        """False, and the connection is of no more use, for one that is not configured."""
        if mechanism not in self.mechanisms or self._proved_by not in ("", mechanism):
            self._has_failed = True
            return False
        self._mechanism = mechanism
        self._exchange = None
        return True

    def step(self, message: bytes) -> bytes:
        """The answer to one message of the client. Raises LoginFailedError, LoginOrderError: then
        the connection must end."""
        try:
            return self._step(message)
        except (LoginFailedError, LoginOrderError):
            self._has_failed = True
            raise

    def _step(self, message: bytes) -> bytes:
        if self._has_failed or not self._mechanism:
            raise LoginOrderError("a SaslHandshake must come first")
        if len(message) > SASL_BYTES_MAX:
            raise LoginFailedError(f"a login's message has at most {SASL_BYTES_MAX} bytes")
        if self._mechanism == PLAIN:
            user, password = parse_plain(message)
            check_password(self._access, user, password)
            self._prove(user)
            return b""
        if self._exchange is None:
            self._exchange = ScramExchange(self._access, SCRAM[self._mechanism])
        answer = self._exchange.answer(message)
        if self._exchange.user is not None:
            self._prove(self._exchange.user)
        return answer

    def _prove(self, user: str) -> None:
        principal = USER_PREFIX + user
        if self.principal not in ("", principal):
            raise LoginFailedError("a login is renewed by the same user")
        self.principal = principal
        self._proved_by, self._mechanism, self._exchange = self._mechanism, "", None
        if self.lifetime_ms:
            self._ends_at = self._monotonic() + self.lifetime_ms / 1000
