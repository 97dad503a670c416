"""Transactions: one outcome for writes to many partitions and the offsets of a group. README.md."""

from logstore.txn.coordination import Coordination
from logstore.txn.coordinator import TransactionCoordinator

__all__ = ["Coordination", "TransactionCoordinator"]
