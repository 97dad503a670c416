"""TLS for the Kafka listener: the server's context, and who a client's certificate says it is."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import Any

from logstore_server.auth import USER_PREFIX
from logstore_server.config import KafkaSecurityConfig
from logstore_server.kafka.context import Client

TLS_HANDSHAKE_S_MAX = 10.0
_CLIENT_AUTH = {
    "none": ssl.CERT_NONE, "requested": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED,
}  # fmt: skip
# Names of RFC 2253; others are written as OpenSSL calls them.
_SHORT = {
    "commonName": "CN", "localityName": "L", "stateOrProvinceName": "ST", "organizationName": "O",
    "organizationalUnitName": "OU", "countryName": "C", "streetAddress": "STREET",
    "domainComponent": "DC", "userId": "UID",
}  # fmt: skip
_ESCAPED = frozenset(',+"\\<>;')


def server_context(security: KafkaSecurityConfig) -> ssl.SSLContext | None:
    """None: clients connect as they are. Reads the files. Raises OSError that names them."""
    if not security.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(security.tls_certificate, security.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise OSError(
            f"the TLS certificate {security.tls_certificate} or its key {security.tls_key} "
            f"cannot be used: {error}"
        ) from None
    context.verify_mode = _CLIENT_AUTH[security.tls_client_auth]
    if security.tls_client_ca:
        try:
            context.load_verify_locations(security.tls_client_ca)
        except OSError as error:
            raise OSError(f"{security.tls_client_ca} cannot be used: {error}") from None
    return context


def identify(client: Client, certificate: Mapping[str, Any] | None) -> None:
    """Take the client's name from its certificate, if it showed one that was verified."""
    if certificate and certificate.get("subject"):
        client.principal = USER_PREFIX + distinguished_name(certificate["subject"])


def distinguished_name(subject: Iterable[Iterable[tuple[str, str]]]) -> str:
    """As Kafka writes it (RFC 2253): the most special part first, "CN=ann,O=Example"."""
    parts = [
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part)
        for part in subject
    ]
    return ",".join(reversed(parts))


def _escaped(value: str) -> str:
    text = "".join(f"\\{letter}" if letter in _ESCAPED else letter for letter in value)
    if text.startswith(("#", " ")):
        text = "\\" + text
    if text.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text
