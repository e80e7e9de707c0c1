"""Computed fields: what is shown is what the formula says of the record as it is now."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata.access import EVERY_ROW, Access, EntityAccess
from counterfoil.platform.model.applying import apply_change_set
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.pages import Filter

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MODEL = """
change_set: Rooms
entities:
  x_room: {plural: x_rooms}
fields:
  account:
    x_region: {kind: text}
    x_margin: {kind: decimal, digits: 9, places: 4}
  x_room:
    x_account: {kind: lookup, target: account}
    x_seats: {kind: number}
    x_rent: {kind: money}
    x_opened: {kind: date}
    x_rent_per_seat: {kind: formula, returns: number, formula: x_rent / x_seats}
    x_large: {kind: formula, returns: boolean, formula: x_seats >= 10}
    x_place:
      kind: formula
      returns: text
      formula: x_account.x_region || ' 100%:' || name
    x_first_year_ends:
      kind: formula
      returns: date
      formula: case when x_opened < date '2026-01-01' then date '2026-12-31' else x_opened end
    x_profit: {kind: formula, returns: number, formula: x_rent * x_account.x_margin}
"""


@pytest.fixture(scope="module")
def rooms(server: Settings) -> Iterator[Database]:
    """Two accounts with three rooms; tests change nothing that stays."""
    with scratch_organisation(server) as organisation:
        database = organisation.database
        apply_change_set(database, MODEL, now=NOW, source="cli")
        with database.transaction(now=NOW) as uow:
            acme, other = uow.create_many(
                "account",
                [
                    {"external_id": "A", "name": "Acme", "x_region": "emea", "x_margin": "0.1"},
                    {"external_id": "B", "name": "Other", "x_region": "apac"},
                ],
            )
            eur = {"x_rent_currency": "EUR", "x_opened": "2025-05-01"}
            uow.create_many(
                "x_room",
                [
                    {"name": "R1", "x_account": acme, "x_seats": 3, "x_rent": "100", **eur},
                    {"name": "R2", "x_account": other, "x_seats": 12, "x_rent": "100", **eur},
                    {"name": "R3", "x_seats": 0, "x_rent": "100", **eur},
                ],
            )
        yield database


def listed(database: Database, *filters: Filter, sort: str = "id") -> list[object]:
    with database.transaction(now=NOW) as uow:
        return [row["name"] for row in uow.list("x_room", filters=filters, sort=[sort]).records]


def test_a_record_shows_what_its_formulas_yield(rooms: Database) -> None:
    with rooms.transaction(now=NOW) as uow:
        first, second, third = uow.list("x_room").records
    assert first["x_rent_per_seat"] == Decimal("33.333333333333333")
    assert (first["x_large"], second["x_large"]) == (False, True)
    assert (first["x_place"], third["x_place"]) == ("emea 100%:R1", None)
    assert str(first["x_first_year_ends"]) == "2026-12-31"
    assert (first["x_profit"], second["x_profit"]) == (Decimal(10), None)
    assert third["x_rent_per_seat"] is None, "nothing is divided by zero"


def test_lists_are_filtered_and_sorted_by_formulas(rooms: Database) -> None:
    assert listed(rooms, Filter("x_large", "eq", "true")) == ["R2"]
    assert listed(rooms, Filter("x_rent_per_seat", "gt", "33.3")) == ["R1"]
    assert listed(rooms, Filter("x_place", "contains", "100%:")) == ["R1", "R2"]
    assert listed(rooms, sort="x_rent_per_seat") == ["R2", "R1", "R3"]
    assert listed(rooms, sort="-x_place") == ["R3", "R1", "R2"]


def test_pages_sorted_by_a_formula_miss_nothing(rooms: Database) -> None:
    found: list[object] = []
    cursor = None
    with rooms.transaction(now=NOW) as uow:
        while True:
            page = uow.list("x_room", sort=["-x_rent_per_seat"], cursor=cursor, limit=1)
            found += [row["name"] for row in page.records]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found == ["R3", "R1", "R2"]


def test_a_formula_cannot_be_entered(rooms: Database) -> None:
    with rooms.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        uow.create("x_room", {"x_large": True})
    assert [(one.code, one.field) for one in refused.value.problems] == [
        ("computed_field", "x_large")
    ]


def test_what_may_not_be_read_is_not_read_by_a_formula_either(rooms: Database) -> None:
    reading = {"read": EVERY_ROW}
    access = Access(
        entities={
            "x_room": EntityAccess(rows=reading, unreadable=frozenset({"x_rent"})),
            "account": EntityAccess(rows=reading, unreadable=frozenset({"x_margin"})),
        }
    )
    with rooms.transaction(now=NOW, access=access) as uow:
        shown = set(uow.list("x_room").records[0])
        assert shown & {"x_rent_per_seat", "x_profit"} == set()
        assert {"x_large", "x_place"} <= shown
        with pytest.raises(Refused) as refused:
            uow.list("x_room", sort=["x_profit"])
    assert refused.value.problems[0].code == "unknown_field"
    without_accounts = Access(entities={"x_room": EntityAccess(rows=reading)})
    with rooms.transaction(now=NOW, access=without_accounts) as uow:
        assert "x_place" not in uow.list("x_room").records[0]
