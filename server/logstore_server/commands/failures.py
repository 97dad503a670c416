"""Errors as people see them: one sentence on stderr that says what was wrong and what to do.

The engine's messages say what was wrong. What to type next only the command line knows: that is
the table below. Anything that is neither a LogStoreError nor an OSError is a bug and stays a
traceback.
"""

from __future__ import annotations

import re

import click

from logstore import errors
from logstore_server.commands.target import Target

# What to do about an error, by class (a subclass of one that is here has its own or none), added
# to its message. {flags} are the global ones of the command; the other names are the error's
# details, NAME where it has none.
ADVICE: dict[type[errors.LogStoreError], str] = {
    errors.UnavailableError: (
        "; start a server with 'logstore serve DIR', name another with --server HOST:PORT, "
        "or work on a directory with --store DIR"
    ),
    errors.UnknownTopicError: (
        ": 'logstore {flags}topic create {topic}', or see 'logstore {flags}topic list'"
    ),
    errors.UnknownPartitionError: "; see 'logstore {flags}topic describe {topic}'",
    errors.TopicExistsError: "; 'logstore {flags}topic alter {topic}' changes it",
    errors.GroupNotFoundError: "; 'logstore {flags}group list' shows what there is",
    errors.GroupNotEmptyError: "; stop its consumers first, or wait until their sessions end",
    errors.StoreLockedError: (
        "; use --server HOST:PORT instead of --store if that is a server, or wait until it is done"
    ),
}
# What is for programmers in messages, and what is put instead.
_FOR_PROGRAMMERS = (
    (re.compile(r": failed to connect to all addresses; last error: .*: ([^:]+)$"), r" (\1)"),
    (re.compile(r" \(Failed to bind to address .*\)$"), ""),
    (re.compile(r"; connect to that one, or open it with read_only=True"), ""),
)


class _Facts(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "NAME"


def as_failure(error: Exception, target: Target | None) -> click.ClickException | None:
    """What to show for `error`, exit code 1; None: it is a bug."""
    if isinstance(error, errors.LogStoreError):
        sentence = _for_people(error.message or error.reason)
        facts = _Facts(error.details, flags=target.flags if target else "")
        return click.ClickException(sentence + ADVICE.get(type(error), "").format_map(facts))
    if isinstance(error, OSError):
        return click.ClickException(os_error_text(error))
    return None


def os_error_text(error: OSError) -> str:
    """The system's words with the file they are about."""
    text = error.strerror or _for_people(str(error))
    return f"{error.filename}: {text}" if error.filename else text


def _for_people(text: str) -> str:
    for pattern, instead in _FOR_PROGRAMMERS:
        text = pattern.sub(instead, text)
    return text
