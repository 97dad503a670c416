"""The gRPC listener's life: options, services, start and the orderly end."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from logstore_server.bridge import StoreBridge
from logstore_server.config import RpcConfig, join_address
from logstore_server.rpc.calls import Service, Serving, service_handler
from logstore_server.rpc.consume_service import ConsumeService
from logstore_server.rpc.group_service import GroupService
from logstore_server.rpc.produce_service import ProduceService
from logstore_server.rpc.store_service import StoreService
from logstore_server.rpc.topic_service import TopicService
from logstore_server.rpc.transaction_service import TransactionService

SERVICES: tuple[type[Service], ...] = (
    StoreService,
    TopicService,
    ProduceService,
    ConsumeService,
    GroupService,
    TransactionService,
)


class RpcListener:
    """listener.Listener for gRPC."""

    name = "grpc"

    def __init__(self, bridge: StoreBridge, config: RpcConfig, *, host: str) -> None:
        self._config = config
        self._host = host
        self._serving = Serving(bridge, config)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server: grpc.aio.Server | None = None

    async def start(self) -> str:
        server = grpc.aio.server(
            options=server_options(self._config), maximum_concurrent_rpcs=self._config.calls_max
        )
        services = [service(self._serving) for service in SERVICES]
        server.add_generic_rpc_handlers(
            [service_handler(service, self._serving) for service in services]
        )
        names = [service.descriptor.full_name for service in services]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
        )
        address = join_address(self._host, self._config.port)
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(
                f"cannot listen on {address}: is another server running there? ({error})"
            ) from None
        await server.start()
        for name in ("", *names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._server = server
        return join_address(self._host, port)

    async def stop_accepting(self) -> None:
        await self._health.enter_graceful_shutdown()
        self._serving.start_draining()

    async def drain(self, grace_s: float) -> None:
        """gRPC tells its clients to go (GOAWAY), waits for their calls, then cancels them."""
        if self._server is not None:
            await self._server.stop(grace_s)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)


def server_options(config: RpcConfig) -> list[tuple[str, int]]:
    return [
        # Two servers on one port would each get some of the connections, and say nothing.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", config.message_bytes_max),
        ("grpc.max_send_message_length", config.message_bytes_max),
        ("grpc.max_concurrent_streams", config.streams_per_connection_max),
        ("grpc.keepalive_time_ms", config.keepalive_time_ms),
        ("grpc.keepalive_timeout_ms", config.keepalive_timeout_ms),
        # By itself the former ends nothing (seen with gRPC 1.85): a minute would pass.
        ("grpc.http2.ping_timeout_ms", config.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", config.client_ping_interval_ms_min),
        ("grpc.http2.max_pings_without_data", 0),
    ]
