"""Tests of what is read from librdkafka's list of tests and from its reports."""

from __future__ import annotations

from tests.conformance.suites.librdkafka_suite import ListedTest, parse_list, read_report

SOURCE = """\
_TEST_DECL(0001_multiobj);
#define _TEST(NAME, FLAGS, ...)
struct test tests[] = {
    {.name = "<MAIN>", .flags = TEST_F_LOCAL},
    _TEST(0001_multiobj, 0),
    _TEST(0004_conf, TEST_F_LOCAL),
#if WITH_SOCKEM
    _TEST(0049_consume_conn_close, TEST_F_SOCKEM, TEST_BRKVER(0, 9, 0, 0)),
#endif
    _TEST(0107_topic_recreate,
          0,
          TEST_BRKVER_TOPIC_ADMINAPI,
          .scenario = "noautocreate"),
    _TEST(8000_idle, TEST_F_MANUAL),

    {NULL}};
"""


def test_the_list_tells_what_needs_a_broker_and_how_it_is_set_up() -> None:
    assert parse_list(SOURCE) == [
        ListedTest("0001_multiobj", False, "default"),
        ListedTest("0004_conf", True, "default"),
        ListedTest("0049_consume_conn_close", False, "default"),
        ListedTest("0107_topic_recreate", False, "noautocreate"),
        ListedTest("8000_idle", True, "default"),
    ]


def test_a_report_that_was_not_written_says_nothing(tmp_path) -> None:
    assert read_report(tmp_path / "none.json") == {}
    (tmp_path / "cut.json").write_text('{"tests": {"0001')
    assert read_report(tmp_path / "cut.json") == {}
    (tmp_path / "whole.json").write_text(
        '{"tests": {"0001_multiobj": {"state": "PASSED", "duration": 1.25}}}'
    )
    assert read_report(tmp_path / "whole.json") == {"0001_multiobj": ("PASSED", 1.25)}
