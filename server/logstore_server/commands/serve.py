"""`logstore serve`: a server process on a data directory, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
from pathlib import Path

import click

from logstore_server.commands.params import ASSIGNMENT
from logstore_server.commands.target import silence_grpc


@click.command(
    short_help="Serve a store to clients over the network.",
    epilog="Every setting is also read from the environment (host as LOGSTORE_HOST, "
    "rpc.streams_max as LOGSTORE_RPC_STREAMS_MAX) and from --config. Flags win over the "
    "environment, that over the file.",
)
@click.argument("data_dir", metavar="[DIR]", required=False)
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", metavar="PORT", help="Port of the gRPC API; 0 takes a free one.  [default: 7070]"
)
@click.option(
    "--kafka-host", metavar="ADDRESS", help="Address for Kafka's clients.  [default: --host]"
)
@click.option(
    "--kafka-port",
    metavar="PORT",
    help="Port for Kafka's clients; 0 takes a free one.  [default: 9092]",
)
@click.option("--no-kafka", is_flag=True, help="Do not serve Kafka's clients.")
@click.option(
    "--advertise", metavar="HOST:PORT", help="What clients are told to connect to, if not that."
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    type=ASSIGNMENT,
    multiple=True,
    help="Any other setting, such as rpc.streams_max=1000. May be repeated.",
)
@click.option(
    "--config",
    metavar="FILE",
    envvar="LOGSTORE_CONFIG",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file of settings.",
)
@click.option(
    "--print-config", is_flag=True, help="Print all settings, as such a file, and do not serve."
)
@click.option("--verbose", "-v", is_flag=True, help="Log more than warnings, to stderr.")
def command(
    data_dir: str | None,
    host: str | None,
    port: str | None,
    kafka_host: str | None,
    kafka_port: str | None,
    no_kafka: bool,
    advertise: str | None,
    settings: tuple[tuple[str, str], ...],
    config: Path | None,
    print_config: bool,
    verbose: bool,
) -> None:
    """Serve the store in DIR, made if missing, to clients over the network.

    Prints one line with the addresses once it listens. SIGTERM or Ctrl-C: finishes what is in
    flight, flushes, marks the store clean, exits with 0.
    """
    from logstore_server.commands.serve_config import as_toml, server_config

    flags = {
        "data_dir": data_dir, "host": host, "rpc.port": port, "advertised_endpoint": advertise,
        "kafka.host": kafka_host, "kafka.port": kafka_port,
        "kafka.enabled": "false" if no_kafka else None,
    }  # fmt: skip
    server = server_config(
        flags={
            **dict(settings),
            **{name: text for name, text in flags.items() if text is not None},
        },
        environment=os.environ,
        toml=config.read_text() if config else "",
        default_data_dir="data" if print_config else "",
    )
    if print_config:
        click.echo(as_toml(server), nl=False)
        return
    import logging

    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    silence_grpc()
    from logstore_server.app import run

    raise click.exceptions.Exit(run(server))
