"""How many files and connections this process may have open.

Each connection is one, each segment in use up to three. Most systems start processes with a soft
limit of 1,024 for the sake of programs that use select; the hard limit is what was meant.
"""

from __future__ import annotations

import logging
import resource

from logstore_server.config import ServerConfig

FILES_PER_SEGMENT = 3
FILES_ELSE = 256  # the state, lock and catalog, sockets that listen, libraries, what opens briefly

_log = logging.getLogger(__name__)


def open_files_wanted(config: ServerConfig) -> int:
    """Enough for the segments that may be open, and a connection for each stream and client."""
    segments = config.store.open_segments_max * FILES_PER_SEGMENT
    return segments + config.rpc.streams_max + _kafka_connections(config) + FILES_ELSE


def _kafka_connections(config: ServerConfig) -> int:
    return config.kafka.connections_max if config.kafka.enabled else 0


def allow_open_files(config: ServerConfig) -> int:
    """Raise the soft limit to the hard one, for the whole process; the limit there is now.

    Says in the log if that is less than the config may need. -1: no limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # macOS refuses what is over its own maximum
            _log.warning("the limit of open files stays at %d: %s", soft, error)
    wanted = open_files_wanted(config)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _log.warning(
            "this process may open %d files (ulimit -n); store.open_segments_max=%d, "
            "rpc.streams_max=%d and kafka.connections_max=%d may need %d: raise the hard limit or "
            "lower those",
            soft,
            config.store.open_segments_max,
            config.rpc.streams_max,
            _kafka_connections(config),
            wanted,
        )
    return -1 if soft == resource.RLIM_INFINITY else soft
