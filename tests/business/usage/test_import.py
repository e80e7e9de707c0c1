"""Importing usage files: mapping, routing, defects with their places, repetition."""

import gzip
import json
from datetime import datetime
from decimal import Decimal

import pytest

from counterfoil.business.usage.commands import import_file
from counterfoil.core.problems import Refused

ONE_PM = "2026-07-10 13:00:00"
"""Nine o'clock in New York, in UTC."""

JSON_CALLS = """
id: second
name: Second platform
format: jsonl
time_zone: America/New_York
fields:
  event_id: {template: "{leg.call}-{leg.number}"}
  time: start
  identifier: /customer/account
  meter: {constant: toll}
  quantity: {seconds_between: [start, end]}
"""


def test_accepted_calls_are_routed_with_exact_quantity_and_utc_time(bridge):
    summary = bridge.load(bridge.file(bridge.call(1), bridge.call(2, seconds="0.123456789012345")))
    assert (summary.records_read, summary.accepted, summary.rejected) == (2, 2, 0)
    assert bridge.events(
        "event_id", "time::VARCHAR", "subscription_id", "quantity", "attributes"
    ) == [
        ("C1", ONE_PM, 1, Decimal(90), '{"host":"ann"}'),
        ("C2", ONE_PM, 1, Decimal("0.123456789012345"), '{"host":"ann"}'),
    ]


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"started": "yesterday"}, "unparsable_time", "'yesterday'"),
        ({"started": "2026-02-30 09:00:00"}, "unparsable_time", "America/New_York"),
        ({"started": "infinity"}, "unparsable_time", "'infinity'"),
        ({"started": "1899-01-01 00:00:00"}, "unparsable_time", "1899"),
        ({"seconds": "ninety"}, "unparsable_quantity", "'ninety'"),
        ({"seconds": "nan"}, "unparsable_quantity", "'nan'"),
        ({"seconds": "1_000"}, "unparsable_quantity", "'1_000'"),
        ({"seconds": "1e99"}, "unparsable_quantity", "'1e99'"),
        ({"seconds": "-1"}, "negative_quantity", "'-1'"),
        ({"seconds": "86400.1"}, "absurd_quantity", "86400"),
        ({"bridge_account": "9999"}, "unknown_subscriber", "'9999'"),
        ({"service": "deluxe"}, "unknown_service", "'deluxe/dial_out'"),
        ({"bridge_account": "0815"}, "unknown_service", "'dial_out'"),
        ({"started": "2026-06-30 23:59:59"}, "outside_subscription", "starts 2026-07-01"),
        (
            {"bridge_account": "0815", "access": "toll", "started": "2026-07-15 00:00:00"},
            "outside_subscription",
            "ended 2026-07-15 (America/New_York)",
        ),
        ({"call_id": ""}, "missing_field", "event_id (call_id)"),
        ({"bridge_account": " "}, "missing_field", "identifier (bridge_account)"),
        ({"seconds": ""}, "missing_field", "quantity (seconds)"),
    ],
)
def test_defective_call_is_kept_with_reason_line_and_record(bridge, changes, reason, words):
    summary = bridge.load(bridge.file(bridge.call(1), bridge.call(2, **changes)))
    assert (summary.accepted, summary.rejected_by_reason) == (1, {reason: 1})
    (record,) = bridge.rejected()
    assert (record["line"], record["reason"]) == (3, reason)
    assert words in record["message"]
    assert record["record"]["host"] == "ann"


def test_local_midnight_bounds_the_service(bridge):
    rows = [
        bridge.call(1, started="2026-07-01 00:00:00"),
        bridge.call(2, bridge_account="0815", access="toll", started="2026-07-14 23:59:59"),
    ]
    assert bridge.load(bridge.file(*rows)).accepted == 2


def test_service_shared_by_two_subscriptions_is_not_guessed(bridge):
    with bridge.database.transaction(now=bridge.now) as uow:
        values = {"identifier": "0815", "subscription_id": 1}
        uow.create("usage_identifier", values)
    rows = [
        bridge.call(1, bridge_account="0815", access="toll"),
        bridge.call(2, bridge_account="0815", access="toll", started="2026-07-20 09:00:00"),
    ]
    summary = bridge.load(bridge.file(*rows))
    assert (summary.accepted, summary.rejected_by_reason) == (1, {"ambiguous_subscription": 1})


def test_wrong_number_of_fields_and_blank_lines_keep_the_line_numbers_right(bridge):
    rows = [bridge.call(1), "\n", "C2,half\n", bridge.call(3), bridge.call(4, seconds="x")]
    summary = bridge.load(bridge.file(*rows))
    assert (summary.records_read, summary.accepted) == (4, 2)
    found = [(r["line"], r["reason"]) for r in bridge.rejected()]
    assert found == [(4, "malformed_record"), (6, "unparsable_quantity")]
    assert bridge.rejected()[0]["record"] == {"text": "C2,half"}
    assert bridge.events("event_id", "line") == [("C1", 2), ("C3", 5)]


def test_quoted_delimiters_and_line_breaks_belong_to_the_field(bridge):
    rows = [bridge.call(1, host='"Ann, ""the host""\nLtd."'), bridge.call(2)]
    assert bridge.load(bridge.file(*rows)).accepted == 2
    attributes = bridge.events("attributes")[0][0]
    assert json.loads(str(attributes)) == {"host": 'Ann, "the host"\nLtd.'}


def test_same_file_again_changes_nothing_and_says_so(bridge):
    path = bridge.file(bridge.call(1), bridge.call(2, seconds="x"))
    first = bridge.load(path)
    second = bridge.load(path.rename(path.with_name("copy.csv")))
    assert second.already_imported and not first.already_imported
    assert (second.accepted, second.rejected, second.batch_id) == (1, 1, first.batch_id)
    assert len(bridge.events()) == 1
    assert len(bridge.rejected()) == 1


def test_overlapping_files_and_repetitions_within_one_count_as_duplicates(bridge):
    bridge.load(bridge.file(*[bridge.call(n) for n in range(10)]))
    rows = [bridge.call(n, seconds="60") for n in range(5, 15)]
    summary = bridge.load(bridge.file(*rows, bridge.call(14, seconds="1"), name="next.csv"))
    assert (summary.records_read, summary.accepted, summary.duplicate) == (11, 5, 6)
    quantities = dict(bridge.events("event_id", "quantity"))
    assert len(quantities) == 15
    assert (quantities["C5"], quantities["C14"]) == (90, 60)


def test_repetition_with_another_time_is_no_event_of_that_time(bridge):
    bridge.load(bridge.file(bridge.call(1)))
    later = bridge.call(1, started="2026-08-01 09:00:00")
    assert bridge.load(bridge.file(later, name="next.csv")).duplicate == 1
    august = datetime.fromisoformat("2026-08-01T00:00:00+00:00")
    assert bridge.events(from_time=august) == []


def test_wrong_encoding_is_refused_with_its_line_and_nothing_is_saved(bridge):
    path = bridge.file(bridge.call(1))
    text = bridge.header + bridge.call(1) + bridge.call(2, host="Jürgen")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Refused) as refused:
        bridge.load(path)
    (problem,) = refused.value.problems
    assert (problem.code, problem.line, problem.file) == ("wrong_encoding", 3, str(path))
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(Refused, match="utf-16"):
        bridge.load(path)
    assert bridge.events() == []
    with bridge.database.transaction(now=bridge.now) as uow:
        assert uow.list("usage_batch").records == []
    assert list((bridge.store.folder / "incoming").iterdir()) == []


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig", "cp1252"])
def test_declared_encoding_is_read(bridge, encoding):
    bridge.collector(
        f"{{id: other, format: csv, time_zone: America/New_York, encoding: {encoding}, fields: "
        "{event_id: call_id, time: started, identifier: bridge_account, "
        "meter: {constant: toll}, quantity: seconds}}"
    )
    path = bridge.file()
    path.write_bytes((bridge.header + bridge.call(1, host="Jürgen")).encode(encoding))
    assert bridge.load(path, "other").accepted == 1
    assert "Jürgen" in str(bridge.events("attributes")[0][0])


def test_gzip_file(bridge):
    path = bridge.folder / "calls.csv.gz"
    path.write_bytes(gzip.compress((bridge.header + bridge.call(1)).encode()))
    assert bridge.load(path).accepted == 1


def test_file_without_records(bridge):
    assert bridge.load(bridge.file()).records_read == 0
    with pytest.raises(Refused, match="no header"):
        bridge.load(bridge.file(header=""))


def test_missing_column_is_refused_naming_those_there_are(bridge):
    path = bridge.file("C1,x\n", header="call_id,started\n")
    with pytest.raises(Refused) as refused:
        bridge.load(path)
    missing = {p.message for p in refused.value.problems}
    assert "the file has no column 'bridge_account'" in missing
    assert refused.value.problems[0].allowed == ("call_id", "started")


def test_unknown_collector_and_file(bridge):
    with pytest.raises(Refused) as refused:
        bridge.load(bridge.file(bridge.call(1)), "bridges")
    assert refused.value.problems[0].allowed == ("bridge", "cloudevents", "focus")
    with pytest.raises(Refused, match="nowhere"):
        bridge.load(bridge.folder / "nowhere.csv")


def test_unclosed_quote_is_refused_with_its_place(bridge):
    path = bridge.file(bridge.call(1), 'C2,"' + "x" * 20_000_000)
    with pytest.raises(Refused, match="quotation mark never closed"):
        bridge.load(path)


def test_unclosed_quote_does_not_swallow_the_records_behind_it(bridge):
    path = bridge.file(bridge.call(1), bridge.call(2, host='"ann'), bridge.call(3))
    with pytest.raises(Refused, match="quotation mark is opened and never closed") as refused:
        bridge.load(path)
    assert refused.value.problems[0].line == 3
    assert bridge.rejected() == []


def test_json_lines(bridge):
    bridge.collector(JSON_CALLS)
    call = {
        "leg": {"call": "A", "number": 1},
        "start": "2026-07-10T09:00:00",
        "end": "2026-07-10T13:01:30.25Z",
        "customer": {"account": 4711},
    }
    lines = [
        json.dumps(call),
        json.dumps(call)[:60],
        "",
        json.dumps({**call, "leg": {"call": "A"}}),
        json.dumps({**call, "leg": {"call": "B", "number": 2}, "end": "2026-07-10 08:00"}),
        "[1]",
        '{"a": "\x1f"}',
        json.dumps({**call, "leg": {"call": "C", "number": 3}, "end": "soon"}),
    ]
    path = bridge.folder / "calls.jsonl"
    path.write_text("\n".join(lines))
    summary = bridge.load(path, "second")
    assert (summary.records_read, summary.accepted) == (7, 1)
    assert [(r["line"], r["reason"]) for r in bridge.rejected()] == [
        (2, "malformed_record"),
        (4, "missing_field"),
        (5, "negative_quantity"),
        (6, "malformed_record"),
        (7, "malformed_record"),
        (8, "unparsable_time"),
    ]
    assert bridge.events("event_id", "time::VARCHAR", "quantity") == [
        ("A-1", ONE_PM, Decimal("90.25"))
    ]


def test_other_notations_of_numbers_times_and_delimiters(bridge):
    bridge.collector("""
id: german
format: csv
header: false
columns: [kind, id, when, who, seconds]
delimiter: ";"
decimal_mark: ","
null_values: ["-"]
time_zone: Europe/Berlin
time_formats: ["%d.%m.%Y %H:%M:%S", epoch_seconds]
source: vermittlung
skip: [{column: kind, in: [END]}]
value_maps: {who: {ACME: "4711"}}
fields: {event_id: id, time: when, identifier: who, meter: {constant: toll}, quantity: seconds}
""")
    rows = [
        "CALL;1;10.07.2026 15:00:00;ACME;1,5\n",
        "CALL;2;1783688400;4711;2\n",
        "CALL;3;10.07.2026 15:00:00;-;2\n",
        "END;2;;;\n",
    ]
    summary = bridge.load(bridge.file(*rows, header=""), "german")
    assert (summary.accepted, summary.skipped) == (2, 1)
    assert summary.rejected_by_reason == {"missing_field": 1}
    assert bridge.events("source", "event_id", "time::VARCHAR", "quantity", "line") == [
        ("vermittlung", "1", ONE_PM, Decimal("1.5"), 1),
        ("vermittlung", "2", ONE_PM, Decimal(2), 2),
    ]


def test_rows_without_own_id_are_told_apart_by_content_and_occurrence(bridge):
    bridge.collector(
        "{id: nameless, format: csv, time_zone: America/New_York, fields: {event_id: "
        "{content_hash: true}, time: started, identifier: bridge_account, "
        "meter: {constant: toll}, quantity: seconds}}"
    )
    first = bridge.file(bridge.call(1), bridge.call(1), bridge.call(2))
    assert bridge.load(first, "nameless").accepted == 3
    more = bridge.file(bridge.call(1), bridge.call(1), bridge.call(1), name="more.csv")
    summary = bridge.load(more, "nameless")
    assert (summary.accepted, summary.duplicate) == (1, 2)


def test_progress_tells_the_bytes_read(bridge):
    path = bridge.file(bridge.call(1))
    seen = []
    import_file(
        bridge.database,
        bridge.store,
        "bridge",
        path,
        now=bridge.now,
        progress=lambda done, whole: seen.append((done, whole)),
    )
    size = path.stat().st_size
    assert seen[-1] == (size, size)
