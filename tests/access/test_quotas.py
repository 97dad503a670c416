from __future__ import annotations

import pytest

from logstore.access import QuotaIndex, TokenBucket, check_quota
from logstore.access.quotas import THROTTLE_S_MAX
from logstore.api.access import QuotaEntity
from logstore.errors import InvalidQuotaError

RATE = "producer_byte_rate"
# From the nearest to the farthest.
ENTITIES: list[QuotaEntity] = [
    (("client-id", "loader"), ("user", "ann")),
    (("client-id", None), ("user", "ann")),
    (("user", "ann"),),
    (("client-id", "loader"), ("user", None)),
    (("client-id", None), ("user", None)),
    (("user", None),),
    (("client-id", "loader"),),
    (("client-id", None),),
]
BOTH: QuotaEntity = (("client-id", "loader"), ("user", "ann"))
SHARING: list[QuotaEntity] = [
    BOTH, BOTH, (("user", "ann"),), BOTH, BOTH, (("user", "ann"),),
    (("client-id", "loader"),), (("client-id", "loader"),),
]  # fmt: skip


@pytest.mark.parametrize("nearest", range(len(ENTITIES)))
def test_the_nearest_quota_counts(nearest: int) -> None:
    index = QuotaIndex(
        {entity: {RATE: float(i)} for i, entity in enumerate(ENTITIES) if i >= nearest}
    )
    assert index.find("ann", "loader", RATE) == (SHARING[nearest], float(nearest))


def test_a_nearer_quota_of_something_else_hides_none() -> None:
    index = QuotaIndex({ENTITIES[0]: {"consumer_byte_rate": 5.0}, ENTITIES[7]: {RATE: 7.0}})
    assert index.find("ann", "loader", RATE) == ((("client-id", "loader"),), 7.0)


def test_others_have_none() -> None:
    index = QuotaIndex({ENTITIES[0]: {RATE: 1.0}, ENTITIES[2]: {RATE: 2.0}})
    assert index.find("bob", "loader", RATE) is None
    assert QuotaIndex({}).find("ann", "loader", RATE) is None


@pytest.mark.parametrize("entity", ENTITIES)
def test_what_may_have_a_quota(entity: QuotaEntity) -> None:
    check_quota(entity, {RATE: 1.5, "consumer_byte_rate": None})


@pytest.mark.parametrize(
    ("entity", "limits", "problem"),
    [
        ((), {}, "not of nothing"),
        ((("ip", "10.0.0.1"),), {}, "not of ip"),
        ((("user", "a"), ("user", "b")), {}, "not of user and user"),
        ((("user", ""),), {}, "1 to 1024 bytes"),
        ((("user", "a"),), {RATE: 0.0}, "above 0"),
        ((("user", "a"),), {RATE: float("nan")}, "above 0"),
        ((("user", "a"),), {RATE: float("inf")}, "above 0"),
        ((("user", "a"),), {"bytes": 1.0}, "the known ones are consumer_byte_rate and producer"),
        ((("user", "a"),), {"request_percentage": 1.0}, "is not measured"),
    ],
)
def test_quotas_that_there_are_not(
    entity: QuotaEntity, limits: dict[str, float], problem: str
) -> None:
    with pytest.raises(InvalidQuotaError, match=problem):
        check_quota(entity, limits)


def test_a_bucket_keeps_its_rate() -> None:
    bucket, now, sent = TokenBucket(1000.0, 50.0), 50.0, 0
    for _ in range(100):
        sent += 300
        now += bucket.take(300, now)
    assert sent / (now - 50.0) == pytest.approx(1000, rel=0.05)


def test_one_that_was_quiet_may_send_a_seconds_worth() -> None:
    bucket = TokenBucket(1000.0, 0.0)
    assert bucket.take(1000, 100.0) == 0.0
    assert bucket.take(1, 100.0) == pytest.approx(0.001)


def test_a_long_debt_is_paid_in_parts() -> None:
    bucket = TokenBucket(10.0, 0.0)
    assert bucket.take(10_010, 0.0) == THROTTLE_S_MAX
    assert bucket.take(0, 30.0) == THROTTLE_S_MAX
    assert bucket.take(0, 990.0) == pytest.approx(10.0)
