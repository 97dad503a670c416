from __future__ import annotations

import re

from logstore.errors import DiskFullError, LogStoreError, error_classes, error_for_reason


def test_reasons_are_unique_stable_names() -> None:
    reasons = [cls.reason for cls in error_classes()]
    assert len(reasons) == len(set(reasons))
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]{1,62}", reason) for reason in reasons)


def test_a_reason_leads_back_to_its_class() -> None:
    for cls in error_classes():
        assert error_for_reason(cls.reason) is cls
    assert error_for_reason("FROM_THE_FUTURE") is LogStoreError


def test_facts_travel_as_text() -> None:
    error = DiskFullError("no space left on /data", free_bytes=0)
    assert error.details == {"free_bytes": "0"}
    assert error.message == str(error) == "no space left on /data"
    assert error.retriable
