"""Approvals: what waits, who decides, and what becomes of it."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.model.applying import apply_change_set
from counterfoil.platform.records.database import Database
from counterfoil.platform.rules.approving import decide

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MODEL = """
change_set: Discounts
fields:
  account:
    x_discount: {kind: decimal, digits: 5, places: 2}
    x_until: {kind: date}
rules:
  large-discount: {entity: account, if: x_discount > 20, then: approve, field: x_discount}
  not-too-much:
    entity: account
    if: x_discount > 80
    then: refuse
    field: x_discount
    message: no more than 80
"""


@pytest.fixture
def discounts(database: Database) -> Database:
    """A database where discounts above 20 have to be approved."""
    apply_change_set(database, MODEL, now=NOW, source="cli")
    return database


def create(database: Database, **values: object) -> Record:
    with database.transaction(now=NOW, actor="jan") as uow:
        return uow.create("account", {"external_id": "A", "name": "A", **values})


def change(database: Database, record: Record, **values: object) -> Record:
    with database.transaction(now=NOW, actor="jan") as uow:
        return uow.update("account", int(record["id"]), values)


def approvals(database: Database) -> list[tuple[object, ...]]:
    with database.transaction(now=NOW) as uow:
        return [
            (row["requested"]["value"], row["state"], row["applied"], row["decided_by"])
            for row in uow.list("approval").records
        ]


def decided(database: Database, approval: int, actor: str, *, approved: bool) -> None:
    with database.transaction(now=NOW, actor=actor) as uow:
        decide(uow, approval, approved=approved, comment="seen")


def test_a_value_waits_and_the_rest_is_written(discounts: Database) -> None:
    made = create(discounts, x_discount="30", x_until="2026-12-31")
    assert (made["x_discount"], str(made["x_until"])) == (None, "2026-12-31")
    assert approvals(discounts) == [("30", "pending", False, None)]
    with discounts.transaction(now=NOW) as uow:
        (event,) = uow.list("outgoing_event").records
    assert (event["type"], event["data"]["value"], event["data"]["requested_by"]) == (
        "approval.requested",
        "30",
        "jan",
    )


def test_what_is_approved_is_written(discounts: Database) -> None:
    made = create(discounts, x_discount="10")
    assert change(discounts, made, x_discount="30")["x_discount"] == Decimal(10)
    assert change(discounts, made, x_discount="30")["row_version"] == 1, "asked once is enough"
    decided(discounts, 1, "ada", approved=True)
    assert approvals(discounts) == [("30", "approved", True, "ada")]
    with discounts.transaction(now=NOW) as uow:
        assert uow.get("account", int(made["id"]))["x_discount"] == Decimal(30)
        (history,) = uow.query(
            "SELECT actor, source FROM record_change WHERE entity = 'account' AND action = 'update'"
        )
    assert (history["actor"], history["source"]) == ("ada", "rule")


def test_an_approval_is_good_for_one_time(discounts: Database) -> None:
    made = create(discounts, x_discount="30")
    decided(discounts, 1, "ada", approved=True)
    change(discounts, made, x_discount="5")
    assert change(discounts, made, x_discount="30")["x_discount"] == Decimal(5)
    assert [state for _, state, _, _ in approvals(discounts)] == ["approved", "pending"]


def test_what_is_rejected_stays_as_it_was(discounts: Database) -> None:
    made = create(discounts, x_discount="30")
    decided(discounts, 1, "ada", approved=False)
    with discounts.transaction(now=NOW) as uow:
        assert uow.get("account", int(made["id"]))["x_discount"] is None
    with pytest.raises(Refused, match="is rejected already") as refused:
        decided(discounts, 1, "ada", approved=True)
    assert refused.value.status == 409


def test_who_asks_does_not_decide(discounts: Database) -> None:
    create(discounts, x_discount="30")
    with pytest.raises(Refused, match="somebody else") as refused:
        decided(discounts, 1, "jan", approved=True)
    assert refused.value.status == 403
    assert approvals(discounts) == [("30", "pending", False, None)]


def test_what_the_other_rules_refuse_is_not_approved(discounts: Database) -> None:
    create(discounts, x_discount="90")
    with pytest.raises(Refused, match="no more than 80"):
        decided(discounts, 1, "ada", approved=True)
    assert approvals(discounts) == [("90", "pending", False, None)]


def test_a_refused_record_asks_for_nothing(discounts: Database) -> None:
    rows: list[Record] = [{"external_id": "B", "name": "B", "x_discount": "30"}] * 2
    with pytest.raises(Refused), discounts.transaction(now=NOW) as uow:
        uow.create_many("account", rows)
    assert approvals(discounts) == []


def test_small_discounts_need_nobody(discounts: Database) -> None:
    assert create(discounts, x_discount="20")["x_discount"] == Decimal(20)
    assert approvals(discounts) == []


def test_a_field_waits_for_one_rule(discounts: Database) -> None:
    rule = "{entity: account, if: x_discount > 50, then: approve, field: x_discount}"
    with pytest.raises(Refused, match="by the rule large-discount already"):
        apply_change_set(
            discounts, f"change_set: Two\nrules: {{huge: {rule}}}\n", now=NOW, source="cli"
        )
