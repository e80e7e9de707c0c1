"""Whatever stands in a record, it is rejected or accepted; it never stops the others."""

import json

import pytest

from counterfoil.business.usage.commands import rerun_rejected
from counterfoil.business.usage.gathering import accept_cloud_events
from counterfoil.core.problems import Refused

STRANGE = (
    "\u0000",
    "a\u0000b",
    "'; DROP TABLE account; --",
    '"quoted"',
    "\\",
    "\\u0000",
    "\U0001f600",
    "\u202e\u2028",
    "infinity",
    "-infinity",
    "epoch",
    "now",
    "0001-01-01 00:00:00",
    "294247-01-10 04:00:54",
    "294247-01-10 04:00:54+14",
    "9" * 40,
    "9" * 2000,
    "1e308",
    "-0",
    "0x10",
    "\u0663",
    "x" * 5000,
)
TIMES = """
id: {id}
format: {format}
time_zone: America/New_York
time_formats: [epoch_seconds, epoch_milliseconds, "%Y-%m-%d %H:%M:%S", "%Y %z"]
fields:
  event_id: call_id
  time: started
  identifier: bridge_account
  meter: {{constant: toll}}
  quantity: {{seconds_between: [started, ended]}}
"""


def strange_records():
    good = {
        "call_id": "C",
        "started": "1783688400",
        "ended": "1783688500",
        "bridge_account": "4711",
        "service": "premier",
        "access": "toll",
        "seconds": "90",
    }
    records = [
        {**good, "call_id": f"{name}{number}", name: text}
        for name in ("started", "ended", "bridge_account", "service", "seconds")
        for number, text in enumerate(STRANGE)
    ]
    return [*records, *({**good, "call_id": text} for text in STRANGE), {**good, "call_id": "ok"}]


@pytest.mark.parametrize("collector", ["bridge", "times"])
def test_strange_csv_values(bridge, collector):
    bridge.collector(TIMES.format(id="times", format="csv"))
    records = strange_records()
    lines = []
    for record in records:
        quoted = ('"' + value.replace('"', '""') + '"' for value in record.values())
        lines.append(",".join(quoted) + "\n")
    header = ",".join(records[0]) + "\n"
    path = bridge.folder / "strange.csv"
    path.write_text((header + "".join(lines)).replace("\0", "\x01"), encoding="utf-8")
    summary = bridge.load(path, collector)
    assert summary.records_read == len(records)
    assert summary.accepted + summary.duplicate + summary.rejected == len(records)
    again = rerun_rejected(bridge.database, bridge.store, now=bridge.now)
    assert again.rejected == summary.rejected


def test_strange_json_values(bridge):
    bridge.collector(TIMES.format(id="times", format="jsonl"))
    lines = [json.dumps(record) for record in strange_records()]
    lines += [
        '{"call_id": ' + "9" * 200_000 + "}",
        '{"call_id": 1e999999}',
        '{"call_id": "\\ud800"}',
        "[" * 100_000,
        '{"a": ' + "[" * 5_000 + "1.12345678901234567890" + "]" * 5_000 + "}",
        "nul",
        "null",
        '{"call_id": {"call_id": 1}, "started": [], "call_id": 2}',
    ]
    path = bridge.folder / "strange.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    summary = bridge.load(path, "times")
    assert summary.records_read == len(lines)
    assert ("ok",) in bridge.events()
    assert rerun_rejected(bridge.database, bridge.store, now=bridge.now).accepted == 0


def test_strange_events(bridge):
    events = [
        {"specversion": "1.0", "id": text, "source": text, "subject": text, "type": text,
         "time": text, "data": {"quantity": text, "deep": [[text]]}}
        for text in STRANGE
    ]  # fmt: skip
    body = json.dumps(events).encode()
    receipt = accept_cloud_events(bridge.database, bridge.store, body, now=bridge.now)
    assert len(receipt.rejected) == len(STRANGE)


def test_header_with_names_that_differ_in_case_only_and_empty_ones(bridge):
    header = bridge.header.strip() + ",HOST,,\n"
    path = bridge.file(bridge.call(1).strip() + ",bob,,\n", "C2,,,,,,,,,\n", header=header)
    assert bridge.load(path).accepted == 1
    attributes = json.loads(str(bridge.events("attributes")[0][0]))
    assert (attributes["host"], attributes["HOST"]) == ("ann", "bob")


def test_header_naming_a_column_twice_is_refused(bridge):
    with pytest.raises(Refused, match="the header names twice: host"):
        bridge.load(bridge.file(header=bridge.header.strip() + ",host\n"))
