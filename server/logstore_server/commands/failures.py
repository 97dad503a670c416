"""Errors as people see them: one sentence on stderr that says what was wrong and what to do.

The engine's messages say what was wrong. What to type next only the command line knows: that is
the table below. Anything that is neither a LogStoreError nor an OSError is a bug and stays a
traceback.
"""

from __future__ import annotations

import click

from logstore import errors
from logstore_server.commands.target import Target

# What to do about an error, by class (a subclass of one that is here has its own or none).
# {server} and {flags} are those of the command.
ADVICE: dict[type[errors.LogStoreError], str] = {
    errors.UnavailableError: (
        "start one with 'logstore serve DIR', name another with --server HOST:PORT, "
        "or work on a directory with --store DIR"
    ),
    errors.UnknownTopicError: (
        "'logstore {flags}topic list' shows what there is, "
        "'logstore {flags}topic create NAME' adds one"
    ),
    errors.UnknownPartitionError: "'logstore {flags}topic describe NAME' shows its partitions",
    errors.TopicExistsError: "'logstore {flags}topic alter NAME' changes it",
    errors.GroupNotFoundError: "'logstore {flags}group list' shows what there is",
    errors.GroupNotEmptyError: "stop its consumers first, or wait until their sessions end",
    errors.StoreLockedError: (
        "if that is a server, use --server HOST:PORT instead of --store; "
        "otherwise wait until it is done"
    ),
}


def as_failure(error: Exception, target: Target | None) -> click.ClickException | None:
    """What to show for `error`, exit code 1; None: it is a bug."""
    if isinstance(error, errors.LogStoreError):
        sentence = error.message or error.reason
        advice = ADVICE.get(type(error))
        if advice is not None:
            target = target or Target(None)
            sentence += "; " + advice.format(flags=target.flags, server=target.server)
        return click.ClickException(sentence)
    if isinstance(error, OSError):
        return click.ClickException(os_error_text(error))
    return None


def os_error_text(error: OSError) -> str:
    """The system's words with the file they are about."""
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename else text
