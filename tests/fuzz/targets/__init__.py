"""All targets, one module each; the first line of each states what must hold."""

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    batch_columns,
    batch_records,
    batch_stream,
    batch_validate,
    block_checksums,
    catalog,
    compression,
    consumer_protocol,
    identity,
    kafka_connection,
    kafka_requests,
    leader_epochs,
    log_start,
    meta,
    offset_index,
    offset_keys,
    offset_values,
    producer_snapshot,
    recovery,
    rpc_calls,
    rpc_streams,
    state_file,
    time_index,
    transaction_records,
)

TARGETS: tuple[Target, ...] = tuple(
    module.TARGET
    for module in (
        batch_validate,
        batch_records,
        batch_columns,
        batch_stream,
        compression,
        offset_index,
        time_index,
        block_checksums,
        recovery,
        producer_snapshot,
        leader_epochs,
        log_start,
        identity,
        state_file,
        meta,
        catalog,
        offset_keys,
        offset_values,
        transaction_records,
        consumer_protocol,
        rpc_calls,
        rpc_streams,
        kafka_connection,
        kafka_requests,
    )
)
