from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.access import AccessState, is_access_key, make_credential
from logstore.access.records import (
    acl_record,
    acl_removed_record,
    quota_record,
    user_record,
)
from logstore.api.access import (
    Acl,
    Operation,
    PatternType,
    Permission,
    QuotaEntity,
    ResourceType,
    ScramCredential,
    ScramMechanism,
)
from logstore.catalog import CatalogState
from logstore.errors import CorruptDataError

ACL = Acl(
    resource=ResourceType.TOPIC,
    name="orders-ü",
    pattern=PatternType.PREFIXED,
    principal="User:ann",
    host="10.0.0.1",
    operation=Operation.DESCRIBE_CONFIGS,
    permission=Permission.DENY,
)
CREDENTIAL = ScramCredential(b"salt", 4096, b"stored", b"server")
QUOTA: QuotaEntity = (("client-id", "loader"), ("user", None))

# As they are on disk. A change of these is a change of the format: stores must still be read.
GOLDEN = [
    (
        user_record("ann", {ScramMechanism.SCRAM_SHA_256: CREDENTIAL}),
        b"user/ann",
        (
            b'{"v": 1, "scram": {"SCRAM-SHA-256": {"salt": "c2FsdA==", "iterations": 4096, '
            b'"stored_key": "c3RvcmVk", "server_key": "c2VydmVy"}}}'
        ),
    ),
    (user_record("ann", {}), b"user/ann", None),
    (
        acl_record(ACL),
        (
            b'acl/["topic", "prefixed", "orders-\\u00fc", "User:ann", "10.0.0.1", '
            b'"describe_configs", "deny"]'
        ),
        b'{"v": 1}',
    ),
    (
        quota_record(QUOTA, {"producer_byte_rate": 1024.0}),
        b'quota/[["client-id", "loader"], ["user", null]]',
        b'{"v": 1, "limits": {"producer_byte_rate": 1024.0}}',
    ),
    (quota_record(QUOTA, {}), b'quota/[["client-id", "loader"], ["user", null]]', None),
]


@pytest.mark.parametrize(("record", "key", "value"), GOLDEN)
def test_the_format_is_a_promise(
    record: tuple[bytes, bytes | None], key: bytes, value: bytes | None
) -> None:
    assert record == (key, value)
    assert is_access_key(key)


def test_what_is_written_is_read() -> None:
    credentials = {
        mechanism: make_credential(mechanism, "sesame", salt=b"0" * 12)
        for mechanism in ScramMechanism
    }
    state = CatalogState().apply(
        [
            user_record("ann", credentials),
            user_record("b:b/ü", {ScramMechanism.SCRAM_SHA_512: CREDENTIAL}),
            acl_record(ACL),
            acl_record(ACL),
            quota_record(QUOTA, {"producer_byte_rate": 1.5}),
        ]
    )
    assert state.access == AccessState(
        {"ann": credentials, "b:b/ü": {ScramMechanism.SCRAM_SHA_512: CREDENTIAL}},
        frozenset({ACL}),
        {QUOTA: {"producer_byte_rate": 1.5}},
    )
    emptied = state.apply(
        [
            user_record("ann", {}),
            user_record("b:b/ü", {}),
            acl_removed_record(ACL),
            quota_record(QUOTA, {}),
        ]
    )
    assert emptied.access == AccessState()
    assert ACL in state.access.acls  # the old snapshot is as it was


BAD = [
    (b"user/", b'{"v": 1, "scram": {}}'),
    (b"user/\xff", b'{"v": 1, "scram": {}}'),
    (b"user/ann", b'{"v": 2, "scram": {}}'),
    (b"user/ann", b'{"v": 1, "scram": {"SCRAM-SHA-1": {}}}'),
    (b"user/ann", b'{"v": 1, "scram": {"SCRAM-SHA-256": {"iterations": true}}}'),
    (b"acl/", b'{"v": 1}'),
    (b'acl/["topic"]', b'{"v": 1}'),
    (b'acl/["topic","literal","x","User:ann","*","shout","allow"]', b'{"v": 1}'),
    (b'acl/["topic","literal","","User:ann","*","read","allow"]', b'{"v": 1}'),
    (b"quota/[]", b'{"v": 1, "limits": {}}'),
    (b'quota/[["user", "ann"]]', b'{"v": 1, "limits": {"producer_byte_rate": -1}}'),
    (b'quota/[["user", "ann"]]', b'{"v": 1, "limits": []}'),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_what_cannot_be_read_is_corrupt(key: bytes, value: bytes) -> None:
    with pytest.raises(CorruptDataError):
        CatalogState().apply([(key, value)])


@given(
    st.sampled_from([b"user/", b"acl/", b"quota/"]),
    st.binary(max_size=40),
    st.none() | st.binary(max_size=60),
)
def test_no_bytes_raise_anything_else(prefix: bytes, rest: bytes, value: bytes | None) -> None:
    try:
        CatalogState().apply([(prefix + rest, value)])
    except CorruptDataError:
        return


@given(st.sampled_from([(k, v) for (_, k, v) in GOLDEN if v]), st.integers(0, 300), st.binary())
def test_damaged_records_are_corrupt_or_other_records(
    record: tuple[bytes, bytes], at: int, put: bytes
) -> None:
    key, value = record
    for damaged in ((key[: at % len(key)] + put, value), (key, value[: at % len(value)] + put)):
        try:
            CatalogState().apply([damaged])
        except CorruptDataError:
            continue
