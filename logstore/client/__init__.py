"""The classes people use, the same on an embedded and on a remote store. See README.md."""

from logstore.client.consumer import (
    Consumer,
    GroupOffsets,
    PartitionColumns,
    PartitionRecords,
)
from logstore.client.delivery import Deliveries, Delivery, RecordMetadata, StoredRun
from logstore.client.facade import Store, connect, open  # noqa: A004
from logstore.client.producer import Producer
from logstore.client.transactional_producer import TransactionalProducer

__all__ = [
    "Consumer",
    "Deliveries",
    "Delivery",
    "GroupOffsets",
    "PartitionColumns",
    "PartitionRecords",
    "Producer",
    "RecordMetadata",
    "Store",
    "StoredRun",
    "TransactionalProducer",
    "connect",
    "open",
]
