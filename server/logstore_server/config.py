"""What a server process is told, as frozen values checked when they are made.

Units are in the names. Nothing here reads the environment: the command line does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from logstore.config import KIB, MIB, StoreConfig
from logstore.errors import InvalidConfigError

GRPC_PORT = 7070
KAFKA_PORT = 9092
# Room in a gRPC message for all that is not batches; also what one error may take.
MESSAGE_OVERHEAD_BYTES = 64 * KIB


def _check_range(owner: object, name: str, minimum: float, maximum: float) -> None:
    value = getattr(owner, name)
    if not minimum <= value <= maximum:
        raise InvalidConfigError(
            f"{name}={value} is not valid: it takes a number from {minimum} to {maximum}",
            config=name,
            value=value,
        )


@dataclass(frozen=True, slots=True)
class RpcConfig:
    """The gRPC listener.

    A connection that is silent for `keepalive_time_ms` is pinged and closed if no answer comes
    within `keepalive_timeout_ms`; clients that ping more often than `client_ping_interval_ms_min`
    are closed (ENHANCE_YOUR_CALM).
    """

    port: int = GRPC_PORT  # 0: any free one
    message_bytes_max: int = 64 * MIB  # one gRPC message, either way
    streams_max: int = 4_096  # open Produce and Consume streams; each costs about 30 KiB
    calls_max: int = 20_000  # calls at work at one time, streams and long polls included
    streams_per_connection_max: int = 1_000
    wait_ms_max: int = 60_000  # the longest long poll
    stream_batches_in_flight_max: int = 1_024  # unanswered in one ProduceStream
    stream_bytes_in_flight_max: int = 64 * MIB
    stream_positions_max: int = 20_000  # partitions of one ConsumeStream
    consume_message_bytes: int = MIB  # what an answer is filled to if the client does not say
    keepalive_time_ms: int = 60_000
    keepalive_timeout_ms: int = 20_000
    client_ping_interval_ms_min: int = 5_000

    def __post_init__(self) -> None:
        _check_range(self, "port", 0, 65_535)
        _check_range(self, "message_bytes_max", 2 * MESSAGE_OVERHEAD_BYTES, (1 << 31) - 1)
        _check_range(self, "streams_max", 1, 1_000_000)
        _check_range(self, "calls_max", 1, 10_000_000)
        _check_range(self, "streams_per_connection_max", 1, 1_000_000)
        _check_range(self, "wait_ms_max", 0, 3_600_000)
        _check_range(self, "stream_batches_in_flight_max", 1, 1_000_000)
        _check_range(self, "stream_bytes_in_flight_max", 1, 1 << 40)
        _check_range(self, "stream_positions_max", 1, 1_000_000)
        _check_range(self, "consume_message_bytes", 1, self.batch_bytes_max)
        _check_range(self, "keepalive_time_ms", 1_000, 86_400_000)
        _check_range(self, "keepalive_timeout_ms", 1_000, 86_400_000)
        _check_range(self, "client_ping_interval_ms_min", 0, 86_400_000)

    @property
    def batch_bytes_max(self) -> int:
        """The largest batch that fits into a message with what must stand around it."""
        return self.message_bytes_max - MESSAGE_OVERHEAD_BYTES


SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
TLS_CLIENT_AUTH = ("none", "requested", "required")


@dataclass(frozen=True, slots=True)
class KafkaSecurityConfig:
    """Who may connect to the Kafka listener, and whether the store's access rules are in force.

    With `tls_certificate` and `tls_key` (PEM files) clients connect by TLS only; `tls_client_ca`
    holds whom client certificates must be signed by. With `sasl_mechanisms` (PLAIN, SCRAM-SHA-256,
    SCRAM-SHA-512, between commas) they must log in as a user of the store; a login is good for
    `sasl_session_lifetime_ms` (0: as long as the connection). PLAIN without TLS sends passwords as
    they are.

    `authorization`: what no access rule allows is refused, but to `super_users` ("User:ann",
    between semicolons, as Kafka has it); with `allow_everyone_if_no_acl_found` only where there is
    a rule about the resource.
    """

    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    tls_client_auth: str = "none"
    sasl_mechanisms: str = ""
    sasl_session_lifetime_ms: int = 0
    authorization: bool = False
    super_users: str = ""
    allow_everyone_if_no_acl_found: bool = False

    def __post_init__(self) -> None:
        _check_range(self, "sasl_session_lifetime_ms", 0, 7 * 86_400_000)
        if bool(self.tls_certificate) is not bool(self.tls_key):
            raise _invalid("tls_certificate", self.tls_certificate, "it goes with tls_key")
        if self.tls_client_auth not in TLS_CLIENT_AUTH:
            allowed = f"it takes one of {', '.join(TLS_CLIENT_AUTH)}"
            raise _invalid("tls_client_auth", self.tls_client_auth, allowed)
        if self.tls_client_auth != "none" and not (self.tls_client_ca and self.tls_certificate):
            needed = "it needs tls_client_ca, tls_certificate and tls_key"
            raise _invalid("tls_client_auth", self.tls_client_auth, needed)
        if not set(self.mechanisms) <= set(SASL_MECHANISMS):
            allowed = f"it takes {', '.join(SASL_MECHANISMS)}, between commas"
            raise _invalid("sasl_mechanisms", self.sasl_mechanisms, allowed)
        if not all(user.startswith("User:") and len(user) > 5 for user in self.supers):
            form = "it takes User:name, with semicolons between many"
            raise _invalid("super_users", self.super_users, form)

    @property
    def mechanisms(self) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.sasl_mechanisms.split(",") if word.strip())

    @property
    def supers(self) -> tuple[str, ...]:
        return tuple(word.strip() for word in self.super_users.split(";") if word.strip())

    @property
    def protocol(self) -> str:
        """Kafka's security.protocol, which clients must set."""
        if self.mechanisms:
            return "SASL_SSL" if self.tls_certificate else "SASL_PLAINTEXT"
        return "SSL" if self.tls_certificate else "PLAINTEXT"


def _invalid(name: str, value: object, why: str) -> InvalidConfigError:
    return InvalidConfigError(f"{name}={value!r} is not valid: {why}", config=name, value=value)


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """The listener for Kafka's clients.

    `advertised_host` and `advertised_port` are what clients are told to connect to; "" and 0 mean
    what is listened on.
    """

    enabled: bool = True
    host: str = ""  # "": the server's
    port: int = KAFKA_PORT  # 0: any free one
    advertised_host: str = ""
    advertised_port: int = 0
    auto_create_topics: bool = True  # Kafka's auto.create.topics.enable
    num_partitions: int = 1  # of topics made so; Kafka's num.partitions
    request_bytes_max: int = 100 * MIB  # one frame; Kafka's socket.request.max.bytes
    requests_in_flight_max: int = 64  # taken and not answered, of one connection
    connections_max: int = 12_000
    connections_idle_ms: int = 600_000  # then it is closed; Kafka's connections.max.idle.ms
    fetch_sessions_max: int = 1_000  # Kafka's max.incremental.fetch.session.cache.slots
    fetch_bytes_max: int = 55 * MIB  # one answer; Kafka's fetch.max.bytes
    security: KafkaSecurityConfig = field(default_factory=KafkaSecurityConfig)

    def __post_init__(self) -> None:
        _check_range(self, "port", 0, 65_535)
        _check_range(self, "advertised_port", 0, 65_535)
        _check_range(self, "num_partitions", 1, 10_000)
        _check_range(self, "request_bytes_max", 64 * KIB, (1 << 31) - 1)
        _check_range(self, "requests_in_flight_max", 1, 10_000)
        _check_range(self, "connections_max", 1, 1_000_000)
        _check_range(self, "connections_idle_ms", 1_000, (1 << 31) - 1)
        _check_range(self, "fetch_sessions_max", 0, 1_000_000)
        _check_range(self, "fetch_bytes_max", 1, 1 << 30)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """A whole server process: one store, its listeners and its threads.

    `advertised_endpoint` ("host:port") is what clients are told to connect to; "" means the host
    and port listened on, or, where those cannot name this server (port 0, host 0.0.0.0), that
    clients stay with the endpoint they have asked.
    """

    data_dir: str
    host: str = "127.0.0.1"
    advertised_endpoint: str = ""
    worker_threads: int = 8  # blocking calls of the store: admin, look-ups by time, cold reads
    shutdown_grace_ms: int = 10_000  # for what is in flight when the server is told to stop
    store: StoreConfig = field(default_factory=StoreConfig)
    rpc: RpcConfig = field(default_factory=RpcConfig)
    kafka: KafkaConfig = field(default_factory=KafkaConfig)

    def __post_init__(self) -> None:
        if not self.data_dir:
            raise InvalidConfigError("data_dir must name a directory", config="data_dir")
        if not self.host:
            raise InvalidConfigError("host must name an address to listen on", config="host")
        if self.advertised_endpoint and not is_endpoint(self.advertised_endpoint):
            raise InvalidConfigError(
                f"advertised_endpoint={self.advertised_endpoint!r} is not valid: "
                "it takes host:port",
                config="advertised_endpoint",
                value=self.advertised_endpoint,
            )
        _check_range(self, "worker_threads", 1, 1_000)
        _check_range(self, "shutdown_grace_ms", 0, 3_600_000)

    @property
    def endpoint(self) -> str:
        """What metadata says; "" for "where you asked"."""
        if self.advertised_endpoint:
            return self.advertised_endpoint
        if self.rpc.port == 0 or self.host in ("0.0.0.0", "::", "[::]"):
            return ""
        return join_address(self.host, self.rpc.port)


def join_address(host: str, port: int) -> str:
    """ "host:port", an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def is_endpoint(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) <= 65_535
