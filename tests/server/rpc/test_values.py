from __future__ import annotations

import pytest

from logstore.api import Acks
from logstore.errors import InvalidRequestError
from logstore.record import CODEC_NAMES
from logstore.v1 import common_pb2 as common
from logstore_server.rpc import values


def test_every_number_of_the_contract_has_a_meaning() -> None:
    assert {values.acks(number) for number in common.Acks.values()} == set(Acks)
    assert set(values.COMPRESSION_NAMES) == set(common.Compression.values())
    assert set(values.COMPRESSION_NAMES.values()) == set(CODEC_NAMES)
    assert [values.is_read_committed(number) for number in common.Isolation.values()] == [0, 0, 1]
    assert [values.wants_records(number) for number in common.RecordFormat.values()] == [0, 0, 1]


@pytest.mark.parametrize("function", [values.acks, values.is_read_committed, values.wants_records])
def test_a_number_beyond_the_contract_is_refused(function: object) -> None:
    with pytest.raises(InvalidRequestError, match="there is no"):
        function(99)  # type: ignore[operator]
