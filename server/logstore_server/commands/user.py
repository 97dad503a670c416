"""`logstore user`: add, list, remove."""

from __future__ import annotations

import secrets
import sys

import click

from logstore_server.commands.access import open_access
from logstore_server.commands.tables import json_option, print_json, print_table
from logstore_server.commands.target import Target, pass_target

MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@click.group(short_help="Add, list and remove users who log in.")
def command() -> None:
    """Add, list and remove users, who log in to the Kafka listener with a password.

    Logins are asked for by 'logstore serve' with kafka.security.sasl_mechanisms set.
    """


@command.command()
@click.argument("name")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from a line of standard input."
)
@click.option(
    "--mechanism", "mechanisms", type=click.Choice(MECHANISMS), multiple=True,
    help="Only for this kind of login (PLAIN works with either).  [default: both]",
)  # fmt: skip
@click.option("--iterations", type=int, default=8192, show_default=True, help="What a guess costs.")
@pass_target
def add(
    target: Target, name: str, password_stdin: bool, mechanisms: tuple[str, ...], iterations: int
) -> None:
    """Add the user NAME, or give it a new password.

    The password is asked for; it is not stored, only what RFC 5802 derives from it.
    """
    from logstore.access import make_credential
    from logstore.access.credentials import SALT_BYTES
    from logstore.api.access import CredentialChange, ScramMechanism

    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    changes = [
        CredentialChange(
            name,
            mechanism,
            make_credential(
                mechanism, password, salt=secrets.token_bytes(SALT_BYTES), iterations=iterations
            ),
        )
        for mechanism in ScramMechanism
        if mechanism.sasl_name in (mechanisms or MECHANISMS)
    ]
    with open_access(target) as access:
        is_new = name not in access.users()
        access.change_credentials(changes)
    click.echo(f"added user {name}" if is_new else f"user {name} has a new password")


@command.command("list")
@json_option
@pass_target
def list_users(target: Target, as_json: bool) -> None:
    """List the users and how they can log in."""
    with open_access(target) as access:
        users = {
            name: [mechanism.sasl_name for mechanism in sorted(credentials)]
            for name, credentials in sorted(access.users().items())
        }
    if as_json:
        print_json([{"user": name, "mechanisms": found} for name, found in users.items()])
    elif not users:
        click.echo(f"no users; 'logstore {target.flags}user add NAME' adds one", err=True)
    else:
        rows = [(name, ", ".join(found)) for name, found in users.items()]
        print_table(("user", "logs in by"), rows)


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@pass_target
def remove(target: Target, names: tuple[str, ...]) -> None:
    """Remove users. Access rules about them stay."""
    from logstore.api.access import CredentialChange
    from logstore.errors import UnknownUserError

    with open_access(target) as access:
        users = access.users()
        for name in names:
            if name not in users:
                raise UnknownUserError(f"there is no user {name!r}", user=name)
        access.change_credentials(
            [
                CredentialChange(name, mechanism, None)
                for name in dict.fromkeys(names)
                for mechanism in users[name]
            ]
        )
    click.echo(f"removed {', '.join(dict.fromkeys(names))}")
