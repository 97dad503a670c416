"""One partition's log on disk, and what the partitions of a store share. See README.md."""

from logstore.log.append_values import Flush
from logstore.log.cleaner import Cleaner
from logstore.log.flush import Flusher
from logstore.log.follower import FollowerLog
from logstore.log.lease import Lease
from logstore.log.partition_log import PartitionLog, PartitionParts
from logstore.log.segment_cache import SegmentCache
from logstore.log.state_file import StateFile, StateReader
from logstore.log.transactions import AbortedTransaction, between
from logstore.log.unopened_log import UnopenedLog

__all__ = [
    "AbortedTransaction",
    "Cleaner",
    "Flush",
    "Flusher",
    "FollowerLog",
    "Lease",
    "PartitionLog",
    "PartitionParts",
    "SegmentCache",
    "StateFile",
    "StateReader",
    "UnopenedLog",
    "between",
]
