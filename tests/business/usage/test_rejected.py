"""Rejected records are kept, mended, taken in again once, or dismissed."""

from decimal import Decimal

import pytest

from counterfoil.business.usage.commands import dismiss_rejected, rerun_rejected
from counterfoil.core.problems import Refused


def rerun(bridge, **choice):
    return rerun_rejected(bridge.database, bridge.store, now=bridge.now, **choice)


def test_mended_record_is_accepted_with_its_line_and_never_again(bridge):
    bridge.load(bridge.file(bridge.call(1), bridge.call(2, seconds="x")))
    (record,) = bridge.rejected()
    summary = rerun(bridge, mended={record["id"]: {"seconds": "75.5"}})
    assert (summary.records_read, summary.accepted, summary.rejected) == (1, 1, 0)
    assert bridge.events("event_id", "quantity", "line", "attributes")[1] == (
        "C2",
        Decimal("75.5"),
        3,
        '{"host":"ann"}',
    )
    assert bridge.rejected() == []
    (accepted,) = bridge.rejected("accepted")
    assert accepted["record"]["seconds"] == "75.5"
    with pytest.raises(Refused, match="no open rejected record") as refused:
        rerun(bridge, ids=[record["id"]])
    assert refused.value.status == 409
    assert rerun(bridge).records_read == 0
    assert len(bridge.events()) == 2


def test_record_that_is_still_wrong_stays_open_with_the_new_reason(bridge):
    bridge.load(bridge.file(bridge.call(1, seconds="x")))
    (record,) = bridge.rejected()
    summary = rerun(bridge, mended={record["id"]: {"seconds": "-3"}})
    assert (summary.accepted, summary.rejected_by_reason) == (0, {"negative_quantity": 1})
    (after,) = bridge.rejected()
    assert (after["id"], after["reason"]) == (record["id"], "negative_quantity")
    assert after["record"]["seconds"] == "-3"


def test_records_are_accepted_when_the_cause_outside_is_gone(bridge):
    rows = [bridge.call(n, bridge_account="9999") for n in range(3)]
    bridge.load(bridge.file(*rows, bridge.call(9, seconds="x")))
    with bridge.database.transaction(now=bridge.now) as uow:
        uow.create("usage_identifier", {"identifier": "9999", "subscription_id": 1})
    summary = rerun(bridge, reason="unknown_subscriber")
    assert (summary.records_read, summary.accepted) == (3, 3)
    assert [r["reason"] for r in bridge.rejected()] == ["unparsable_quantity"]


def test_mended_record_whose_event_is_stored_already_changes_nothing(bridge):
    bridge.load(bridge.file(bridge.call(1), bridge.call(1, seconds="x")))
    summary = rerun(bridge, mended={bridge.rejected()[0]["id"]: {"seconds": "1"}})
    assert (summary.accepted, summary.duplicate) == (0, 1)
    assert bridge.events("quantity") == [(90,)]


def test_broken_line_is_mended_by_naming_its_fields(bridge):
    bridge.load(bridge.file("C1,half\n"))
    (record,) = bridge.rejected()
    fields = {
        "call_id": "C1",
        "started": "2026-07-10 09:00:00",
        "bridge_account": "4711",
        "service": "premier",
        "access": "toll",
        "seconds": "5",
    }
    assert rerun(bridge, mended={record["id"]: fields}).accepted == 1


def test_json_record_is_mended_too(bridge):
    bridge.collector("{id: events, format: cloudevents}")
    path = bridge.folder / "events.jsonl"
    path.write_text(
        '{"specversion": "1.0", "id": "1", "source": "s", "subject": "4711", "type": "dial",'
        ' "time": "2026-07-10T09:00:00Z", "data": {"quantity": 1.000000000000000001}}\n{"id"'
    )
    assert bridge.load(path, "events").rejected == 2
    by_reason = {r["reason"]: r["id"] for r in bridge.rejected()}
    assert rerun(bridge).rejected == 2
    mended = {by_reason["unknown_service"]: {"type": "dial_out"}}
    assert rerun(bridge, mended=mended).accepted == 1
    assert [r["reason"] for r in bridge.rejected()] == ["malformed_record"]


def test_row_without_own_id_keeps_its_identity_when_mended(bridge):
    bridge.collector(
        "{id: nameless, format: csv, time_zone: America/New_York, fields: {event_id: "
        "{content_hash: true}, time: started, identifier: bridge_account, "
        "meter: {constant: toll}, quantity: seconds}}"
    )
    path = bridge.file(bridge.call(1), bridge.call(1, seconds="x"))
    bridge.load(path, "nameless")
    (record,) = bridge.rejected()
    # Mended to the content of the first row, it is an event of its own all the same.
    summary = rerun(bridge, mended={record["id"]: {"seconds": "90"}})
    assert (summary.accepted, summary.duplicate) == (1, 0)
    assert len(bridge.events()) == 2


def test_dismissed_records_stay_listed_and_are_not_taken_again(bridge):
    bridge.load(bridge.file(bridge.call(1, seconds="x"), bridge.call(2, seconds="-1")))
    first = bridge.rejected()[0]["id"]
    assert dismiss_rejected(bridge.database, now=bridge.now, ids=[first]) == 1
    assert dismiss_rejected(bridge.database, now=bridge.now, reason="negative_quantity") == 1
    assert len(bridge.rejected("dismissed")) == 2
    assert rerun(bridge).records_read == 0
    with pytest.raises(Refused):
        dismiss_rejected(bridge.database, now=bridge.now)
    with pytest.raises(Refused):
        dismiss_rejected(bridge.database, now=bridge.now, ids=[first])
    with pytest.raises(Refused, match="allowed: open, accepted, dismissed"):
        bridge.rejected("gone")
