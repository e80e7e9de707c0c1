"""Deleting: only what nothing refers to, with all its details, and back again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def refusal(database: Database, entity: str, ids: list[int], **versions: dict[int, int]) -> Refused:
    with pytest.raises(Refused) as refused, database.transaction(now=LATER) as uow:
        uow.delete_many(entity, ids, **versions)
    return refused.value


def history(database: Database) -> list[dict[str, object]]:
    with database.transaction(now=NOW) as uow:
        return uow.query("SELECT * FROM record_change ORDER BY id")


def test_a_deleted_record_is_gone_and_its_history_has_all_it_was(customers: Database):
    with customers.transaction(now=NOW) as uow:
        values = {"external_id": "ACME", "credit": "12.5", "since": "2026-01-01", "tier": "gold"}
        acme = uow.create("customer", {**values, "notes": {"limit": Decimal("0.10")}})
    with customers.transaction(now=LATER, actor="jan") as uow:
        uow.delete_many("customer", [acme["id"]])

    with customers.transaction(now=LATER) as uow:
        assert uow.list("customer").records == []
    deleted = history(customers)[-1]
    assert (deleted["action"], deleted["actor"], deleted["at"]) == ("delete", "jan", LATER)
    assert (deleted["record_id"], deleted["row_version"]) == (acme["id"], 2)
    assert deleted["changes"] == {
        "created_at": ["2026-01-31T12:00:00Z", None],
        "external_id": ["ACME", None],
        "credit": [Decimal("12.500000000000000"), None],
        "since": ["2026-01-01", None],
        "tier": ["gold", None],
        "notes": [{"limit": Decimal("0.10")}, None],
    }


def test_an_undeleted_record_is_what_it_was_under_its_id(customers: Database):
    with customers.transaction(now=NOW) as uow:
        values = {"external_id": "ACME", "credit": "12.5", "seen_at": "2026-01-01T01:00:00+01:00"}
        acme = uow.create("customer", {**values, "since": "2026-01-01", "active": False})
        other = uow.create("customer", {"external_id": "OTHER"})
    for _ in range(2):
        with customers.transaction(now=LATER) as uow:
            uow.delete_many("customer", [other["id"], acme["id"]])
        with customers.transaction(now=LATER) as uow:
            uow.undelete_many("customer", [other["id"], acme["id"]])

    with customers.transaction(now=LATER) as uow:
        back = uow.get("customer", acme["id"])
    assert back == acme | {"updated_at": LATER, "row_version": 5}
    assert back["since"] == date(2026, 1, 1)
    assert [
        change["action"] for change in history(customers) if change["record_id"] == back["id"]
    ] == [
        "create",
        "delete",
        "undelete",
        "delete",
        "undelete",
    ]


def test_what_is_referred_to_stays_and_the_refusal_names_who_refers(customers: Database):
    with customers.transaction(now=NOW) as uow:
        top, lone = uow.create_many("customer", [{"external_id": "TOP"}, {"external_id": "LONE"}])
        below = [{"external_id": f"SUB-{n}", "parent_id": top} for n in range(1, 5)]
        children = uow.create_many("customer", below)

    refused = refusal(customers, "customer", [lone, top])
    assert refused.status == 409
    assert [(one.code, one.line, one.message) for one in refused.problems] == [
        (
            "still_referenced",
            2,
            (
                "customer TOP is still referred to by 4 customers (SUB-1, SUB-2, SUB-3, …)"
                " in parent_id"
            ),
        )
    ]
    assert len(history(customers)) == 6

    with customers.transaction(now=LATER) as uow:
        uow.delete_many("customer", [top, *children])
        assert [one["external_id"] for one in uow.list("customer").records] == ["LONE"]


def test_unknown_records_and_other_versions_are_refused_by_line(customers: Database):
    with customers.transaction(now=NOW) as uow:
        ids = uow.create_many("customer", [{"external_id": name} for name in "AB"])

    refused = refusal(customers, "customer", [ids[0], 99])
    assert (refused.status, refused.problems[0].line) == (404, 2)
    refused = refusal(customers, "customer", ids, expected_versions={ids[1]: 7})
    assert (refused.status, refused.problems[0].code, refused.problems[0].line) == (
        409,
        "version_conflict",
        2,
    )
    with pytest.raises(Refused) as not_deleted, customers.transaction(now=LATER) as uow:
        uow.undelete_many("customer", ids)
    assert [one.code for one in not_deleted.value.problems] == ["not_deleted", "not_deleted"]
    assert len(history(customers)) == 2


def test_an_undeleted_record_must_still_fit(customers: Database):
    with customers.transaction(now=NOW) as uow:
        top = uow.create("customer", {"external_id": "TOP"})["id"]
        below = uow.create("customer", {"external_id": "BELOW", "parent_id": top})["id"]
        uow.delete_many("customer", [below, top])
    with customers.transaction(now=LATER) as uow:
        uow.create("customer", {"external_id": "TOP"})

    for ids, code in (([below], "unknown_reference"), ([top], "not_unique")):
        with pytest.raises(Refused) as refused, customers.transaction(now=LATER) as uow:
            uow.undelete_many("customer", ids)
        assert refused.value.problems[0].code == code
    with customers.transaction(now=LATER) as uow:
        assert len(uow.list("customer").records) == 1


def test_of_a_deletion_and_a_new_reference_at_the_same_time_one_is_refused(customers: Database):
    with customers.transaction(now=NOW) as uow:
        tops = uow.create_many("customer", [{"external_id": f"TOP-{n}"} for n in range(20)])

    def delete(top: int) -> str:
        try:
            with customers.transaction(now=LATER) as uow:
                uow.delete_many("customer", [top])
        except Refused as refused:
            return refused.problems[0].code
        return "deleted"

    def refer(top: int) -> str:
        try:
            with customers.transaction(now=LATER) as uow:
                uow.create("customer", {"external_id": f"SUB-{top}", "parent_id": top})
        except Refused as refused:
            return refused.problems[0].code
        return "referred"

    with ThreadPoolExecutor(2) as pool:
        deletions, references = pool.map(delete, tops), pool.map(refer, tops)
        outcomes = set(zip(deletions, references, strict=True))
    assert outcomes <= {("deleted", "unknown_reference"), ("still_referenced", "referred")}


def test_details_go_with_their_record_and_come_back_with_it(database: Database):
    with database.transaction(now=NOW) as uow:
        values = {"external_id": "D", "name": "Volume", "kind": "volume"}
        discount = uow.create("discount", values)["id"]
        tiers = [
            {"discount_id": discount, "from_amount": amount, "percent": percent}
            for amount, percent in (("0", "0"), ("100", "2.5"))
        ]
        uow.create_many("discount_tier", tiers)
        before = uow.list("discount_tier").records
    with database.transaction(now=LATER) as uow:
        uow.delete_many("discount", [discount])
        assert uow.list("discount_tier").records == []
    with database.transaction(now=LATER) as uow:
        uow.undelete_many("discount", [discount])
        after = uow.list("discount_tier").records

    assert after == [tier | {"updated_at": LATER, "row_version": 3} for tier in before]
    changes = [(one["entity"], one["action"]) for one in history(database)]
    assert changes[3:] == [
        ("discount_tier", "delete"),
        ("discount_tier", "delete"),
        ("discount", "delete"),
        ("discount", "undelete"),
        ("discount_tier", "undelete"),
        ("discount_tier", "undelete"),
    ]


def test_a_record_with_a_secret_is_not_put_back_without_it(database: Database):
    secret = "whsec_bW9yZSB0aGFuIHR3ZW50eS1mb3VyIHJhbmRvbSBieXRlcw=="
    values = {"external_id": "CRM", "url": "https://8.8.8.8/hooks", "secret": secret}
    values["event_types"] = ["invoice.finalized"]
    with database.transaction(now=NOW) as uow:
        webhook = uow.create("webhook", values)["id"]
        uow.delete_many("webhook", [webhook])
    with pytest.raises(Refused) as refused, database.transaction(now=LATER) as uow:
        uow.undelete_many("webhook", [webhook])
    assert [(one.code, one.field) for one in refused.value.problems] == [("secret_lost", "secret")]


def test_documents_of_commands_are_not_deleted(database: Database):
    assert refusal(database, "invoice", [1]).status == 405
