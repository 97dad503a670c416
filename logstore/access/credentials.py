"""From a password to what is stored of it, and back to a yes or no (RFC 5802, section 3)."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata

from logstore.api.access import ScramCredential, ScramMechanism
from logstore.errors import InvalidCredentialError

# Kafka's bounds; a login costs the client and, with PLAIN, the server this many hashes.
ITERATIONS_MIN, ITERATIONS_MAX = 4096, 16384
ITERATIONS_DEFAULT = 8192
SALT_BYTES_MIN, SALT_BYTES = 12, 24
SALT_BYTES_MAX = 1024
USER_NAME_BYTES_MAX = 256
PASSWORD_BYTES_MAX = 1024


def check_user_name(name: str) -> None:
    """Raises InvalidCredentialError."""
    is_short = len(name.encode("utf-8", "replace")) <= USER_NAME_BYTES_MAX
    if not name or not is_short or not name.isprintable():
        raise InvalidCredentialError(
            f"user name {name[:64]!r} is not valid: it takes 1 to {USER_NAME_BYTES_MAX} bytes "
            "that can be printed",
            user=name[:64],
        )


def make_credential(
    mechanism: ScramMechanism,
    password: str,
    *,
    salt: bytes,
    iterations: int = ITERATIONS_DEFAULT,
) -> ScramCredential:
    """Raises InvalidCredentialError. Takes some milliseconds, on purpose."""
    secret = _prepared(password)
    if not 0 < len(secret) <= PASSWORD_BYTES_MAX:
        raise InvalidCredentialError(
            f"a password takes 1 to {PASSWORD_BYTES_MAX} bytes", bytes=len(secret)
        )
    _check_cost(salt, iterations)
    salted = hashlib.pbkdf2_hmac(mechanism.hash_name, secret, salt, iterations)
    return credential_of_salted(mechanism, salted, salt=salt, iterations=iterations)


def credential_of_salted(
    mechanism: ScramMechanism, salted_password: bytes, *, salt: bytes, iterations: int
) -> ScramCredential:
    """From SaltedPassword, which a client may compute itself. Raises InvalidCredentialError."""
    _check_cost(salt, iterations)
    name = mechanism.hash_name
    if len(salted_password) != hashlib.new(name).digest_size:
        raise InvalidCredentialError(
            f"a salted password of {mechanism.sasl_name} has {hashlib.new(name).digest_size} "
            f"bytes, not {len(salted_password)}"
        )
    client_key = hmac.digest(salted_password, b"Client Key", name)
    return ScramCredential(
        salt=salt,
        iterations=iterations,
        stored_key=hashlib.new(name, client_key).digest(),
        server_key=hmac.digest(salted_password, b"Server Key", name),
    )


def verify_password(mechanism: ScramMechanism, credential: ScramCredential, password: str) -> bool:
    """Takes as long as making it."""
    name = mechanism.hash_name
    secret = _prepared(password)[:PASSWORD_BYTES_MAX]
    salted = hashlib.pbkdf2_hmac(name, secret, credential.salt, credential.iterations)
    client_key = hmac.digest(salted, b"Client Key", name)
    return hmac.compare_digest(hashlib.new(name, client_key).digest(), credential.stored_key)


def _prepared(password: str) -> bytes:
    """Of SASLprep (RFC 4013) what clients do alike: normal form KC."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")


def _check_cost(salt: bytes, iterations: int) -> None:
    if not ITERATIONS_MIN <= iterations <= ITERATIONS_MAX:
        raise InvalidCredentialError(
            f"{iterations} iterations is not valid: it takes {ITERATIONS_MIN} to {ITERATIONS_MAX}",
            iterations=iterations,
        )
    if not 1 <= len(salt) <= SALT_BYTES_MAX:
        raise InvalidCredentialError(f"a salt takes 1 to {SALT_BYTES_MAX} bytes")
