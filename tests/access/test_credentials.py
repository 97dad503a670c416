from __future__ import annotations

import pytest

from logstore.access import check_user_name, make_credential, verify_password
from logstore.access.credentials import credential_of_salted
from logstore.api.access import ScramMechanism
from logstore.errors import InvalidCredentialError

SHA_256, SHA_512 = ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512


def test_the_example_of_rfc_7677() -> None:
    """Section 3: user "user", password "pencil"; the keys follow from its proof and signature."""
    import base64
    import hashlib
    import hmac

    credential = make_credential(
        SHA_256, "pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations=4096
    )
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        f"c=biws,r={nonce}"
    ).encode()
    signature = hmac.digest(credential.server_key, message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    mask = hmac.digest(credential.stored_key, message, "sha256")
    client_key = bytes(one ^ other for one, other in zip(proof, mask, strict=True))
    assert hashlib.sha256(client_key).digest() == credential.stored_key


@pytest.mark.parametrize("mechanism", list(ScramMechanism))
def test_a_password_is_known_again(mechanism: ScramMechanism) -> None:
    credential = make_credential(mechanism, "sesame", salt=b"0" * 12)
    assert verify_password(mechanism, credential, "sesame")
    assert not verify_password(mechanism, credential, "Sesame")
    assert not verify_password(mechanism, credential, "")
    assert not verify_password(mechanism, credential, "x" * 100_000)


def test_nothing_of_it_is_shown() -> None:
    shown = repr(make_credential(SHA_256, "sesame", salt=b"0" * 12))
    assert shown == "ScramCredential(iterations=8192)"


def test_a_client_may_salt_itself() -> None:
    import hashlib

    salt = b"salt of mine"
    salted = hashlib.pbkdf2_hmac("sha512", b"sesame", salt, 4096)
    made = credential_of_salted(SHA_512, salted, salt=salt, iterations=4096)
    assert made == make_credential(SHA_512, "sesame", salt=salt, iterations=4096)
    with pytest.raises(InvalidCredentialError, match="32 bytes, not 64"):
        credential_of_salted(SHA_256, salted, salt=salt, iterations=4096)


@pytest.mark.parametrize("iterations", [0, 4095, 16385])
def test_the_cost_has_bounds(iterations: int) -> None:
    with pytest.raises(InvalidCredentialError, match="4096 to 16384"):
        make_credential(SHA_256, "sesame", salt=b"0" * 12, iterations=iterations)


@pytest.mark.parametrize(("password", "salt"), [("", b"0"), ("x" * 1025, b"0"), ("sesame", b"")])
def test_passwords_and_salts_have_bounds(password: str, salt: bytes) -> None:
    with pytest.raises(InvalidCredentialError):
        make_credential(SHA_256, password, salt=salt)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 257, "\ud800"])
def test_user_names_have_bounds(name: str) -> None:
    with pytest.raises(InvalidCredentialError):
        check_user_name(name)
