"""Usage that is grouped by an attribute: what does not go with it is refused."""

from datetime import UTC, datetime

import pytest

from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.database import Database

NOW = datetime(2024, 1, 1, tzinfo=UTC)

BOOK = """
products: [{{id: p, name: P}}]
meters: [{{id: m, name: M, unit: minute}}]
rate_plans:
  - id: r
    name: R
    product: p
    charges: [{{id: c, name: C, kind: {kind}, {charge}, prices: [{{currency: USD, {price}}}]}}]
"""
GROUPED = "group_by: server, meter: m"
PLAIN = "model: per_unit, amount: 1"


def refused(database: Database, kind: str, charge: str, price: str) -> list[Problem]:
    """What is said of a price book, of which nothing is saved."""
    book, problems = parse_price_book(
        BOOK.format(kind=kind, charge=charge, price=price), "book.yaml"
    )
    if problems:
        return list(problems)
    with pytest.raises(Refused) as answer, database.transaction(now=NOW) as uow:
        save_price_book(uow, book)
    with database.transaction(now=NOW) as uow:
        assert uow.query("SELECT id FROM charge") == []
    return list(answer.value.problems)


@pytest.mark.parametrize(
    ("kind", "charge", "price", "code", "field"),
    [
        ("recurring", "group_by: server", PLAIN, "not_for_this_kind", "group_by"),
        ("usage", f"{GROUPED}, quantity_formula: quantity", PLAIN, "grouped_usage", "formula"),
        ("usage", GROUPED, "model: formula, formula: quantity", "grouped_usage", "model"),
        ("usage", GROUPED, f"{PLAIN}, included: 5", "grouped_usage", "included"),
        (
            "usage",
            GROUPED,
            f"{PLAIN}, cells: [{{when: {{level: a}}, amount: 2}}]",
            "grouped_usage",
            "price_id",
        ),
    ],
)
def test_what_has_no_groups_is_refused(
    database: Database, kind: str, charge: str, price: str, code: str, field: str
) -> None:
    (problem, *_) = refused(database, kind, charge, price)
    assert problem.code == code
    assert field in str(problem.field)


def test_usage_is_grouped_as_long_as_the_charge_exists(database: Database) -> None:
    book, problems = parse_price_book(
        BOOK.format(kind="usage", charge=GROUPED, price=PLAIN), "book.yaml"
    )
    assert problems == []
    with database.transaction(now=NOW) as uow:
        save_price_book(uow, book)
    with database.transaction(now=NOW) as uow:
        charge = uow.query("SELECT id, group_by, row_version FROM charge")[0]
    assert charge["group_by"] == "server"
    with pytest.raises(Refused) as answer, database.transaction(now=NOW) as uow:
        uow.update("charge", charge["id"], {"group_by": "region"})
    assert [(one.code, one.field) for one in answer.value.problems] == [
        ("immutable_field", "group_by")
    ]
