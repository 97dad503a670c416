import pytest

from logstore_server.commands.values import (
    Place,
    PlaceKind,
    format_bytes,
    format_time,
    parse_place,
    parse_time,
    parse_topic_partition,
    plural,
)

JULY = 1372636800000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-07-01", JULY),
        ("2013-07-01T00:00Z", JULY),
        ("2013-07-01 00:00:00", JULY),
        ("2013-07-01T02:00:00+02:00", JULY),
        ("2013-07-01T00:00:00.123Z", JULY + 123),
        ("2013-07-01T00:00:00.001Z", JULY + 1),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, expected: int) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "July", "2013-13-01", "12:00", "1372636800000"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="2013-07-01T12:30:00Z"):
        parse_time(text)


@pytest.mark.parametrize(
    ("timestamp_ms", "expected"),
    [
        (JULY, "2013-07-01T00:00:00Z"),
        (JULY + 7, "2013-07-01T00:00:00.007Z"),
        (-1, ""),
        (10**18, "1000000000000000000"),
    ],
)
def test_a_time_as_text(timestamp_ms: int, expected: str) -> None:
    assert format_time(timestamp_ms) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("beginning", Place(PlaceKind.EARLIEST)),
        ("earliest", Place(PlaceKind.EARLIEST)),
        ("end", Place(PlaceKind.LATEST)),
        ("latest", Place(PlaceKind.LATEST)),
        ("0", Place(PlaceKind.OFFSET, 0)),
        ("42", Place(PlaceKind.OFFSET, 42)),
        ("+10", Place(PlaceKind.SHIFT, 10)),
        ("-10", Place(PlaceKind.SHIFT, -10)),
        ("2013-07-01", Place(PlaceKind.TIME, JULY)),
    ],
)
def test_places(text: str, expected: Place) -> None:
    assert parse_place(text) == expected


@pytest.mark.parametrize("text", ["", "start", "4.5", "9" * 19, "2013-99-01", "--1", "²"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2013-07-01"):
        parse_place(text)


def test_topic_and_partition() -> None:
    assert parse_topic_partition("orders:3") == ("orders", 3)
    for text in ("orders", "orders:", ":3", "orders:x", "orders:-1"):
        with pytest.raises(ValueError, match="orders:3"):
            parse_topic_partition(text)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1023 * 1024, "1023 KiB"),
        (32 << 20, "32 MiB"),
        (5 << 30, "5 GiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    assert format_bytes(count) == expected


def test_plural() -> None:
    assert [plural(count, "record") for count in (0, 1, 2000)] == [
        "0 records",
        "1 record",
        "2,000 records",
    ]
