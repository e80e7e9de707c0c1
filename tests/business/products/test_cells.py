"""Cells of matrix prices: what is refused, and that a cell keeps its number."""

from datetime import UTC, datetime

import pytest

from counterfoil.business.products.cells import Cell, spread_days
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database

NOW = datetime(2024, 1, 1, tzinfo=UTC)

BOOK = """
products: [{id: p, name: P}]
meters: [{id: m, name: M, unit: minute}]
rate_plans:
  - id: r
    name: R
    product: p
    charges:
      - id: c
        name: C
        kind: usage
        meter: m
        prices:
          - currency: USD
            model: per_unit
            amount: 1
"""


def with_cells(cells: str, more: str = "") -> str:
    return f"{BOOK}            cells: [{cells}]\n{more}"


def refused(cells: str) -> list[tuple[str, str]]:
    _, problems = parse_price_book(with_cells(cells), "book.yaml")
    assert all(problem.line == 17 for problem in problems)
    start = "rate_plans[0].charges[0].prices[0]."
    return [(problem.code, problem.field.removeprefix(start)) for problem in problems]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("{amount: 1}", [("no_condition", "cells[0].when")]),
        (
            "{when: {region: []}, amount: 1}",
            [("empty", "cells[0].when.region"), ("bad_condition", "cells[0].when")],
        ),
        ("{when: {region: eu}}", [("missing_amount", "cells[0]")]),
        ("{days: [mon, xyz], amount: 1}", [("unknown_day", "cells[0].days")]),
        ("{from: 08:00, amount: 1}", [("half_window", "cells[0].from")]),
        ("{from: 08:00, to: 25:00, amount: 1}", [("no_time", "cells[0].to")]),
        ("{from: 08:00, to: 08:00, amount: 1}", [("empty_window", "cells[0].to")]),
        (
            "{when: {a: [x, y]}, amount: 1}, {when: {a: [y, z]}, amount: 2}",
            [("overlapping_cells", "cells[1].when")],
        ),
        (
            "{when: {a: {prefix: 12}}, amount: 1}, {when: {a: {prefix: [12, 3]}}, amount: 2}",
            [("overlapping_cells", "cells[1].when")],
        ),
        (
            "{days: [fri], from: 22:00, to: 06:00, amount: 1}, {from: 05:00, to: 07:00, amount: 2}",
            [("overlapping_cells", "cells[1].when")],
        ),
        (
            "{when: {a: x}, tiers: [{up_to: 5, amount: 1}, {from: 6, amount: 1}]}",
            [("several_tiers", "cells[0].tiers[1]"), ("tier_gap", "cells[0].tiers[1].from")],
        ),
    ],
)
def test_a_cell_that_cannot_be_is_refused(cells: str, expected: list[tuple[str, str]]) -> None:
    assert refused(cells) == expected


@pytest.mark.parametrize(
    "cells",
    [
        "{when: {a: {prefix: 1}}, amount: 1}, {when: {a: {prefix: 12}}, amount: 2}",
        "{when: {a: x}, amount: 1}, {when: {a: x, b: y}, amount: 2}",
        "{when: {a: 12}, amount: 1}, {when: {a: {prefix: 12}}, amount: 2}",
        "{days: [mon], amount: 1}, {days: [tue], amount: 2}",
        "{from: 22:00, to: 06:00, amount: 1}, {from: 06:00, to: 22:00, amount: 2}",
    ],
)
def test_the_more_specific_cell_may_hold_the_same(cells: str) -> None:
    assert refused(cells) == []


def test_days_may_be_a_range() -> None:
    assert spread_days(["fri..mon", "wed"]) == ("mon", "wed", "fri", "sat", "sun")


def test_a_cell_says_what_it_asks_for() -> None:
    cell = Cell({"level": ["a", "b"], "to": {"prefix": ["44"]}}, ("mon",), "08:00", "18:00")
    assert cell.label == "level a/b, to 44…, mon, 08:00–18:00"


def save(database: Database, text: str) -> dict[str, int]:
    book, problems = parse_price_book(text, "book.yaml")
    assert problems == []
    with database.transaction(now=NOW) as uow:
        return save_price_book(uow, book)


def test_a_cell_keeps_its_number_in_all_prices_of_the_charge(database: Database) -> None:
    eu = "{when: {region: eu}, amount: 2}"
    save(database, with_cells(f"{eu}, {{when: {{region: us}}, amount: 3}}"))
    more = (
        "          - {currency: EUR, model: per_unit, cells: [{when: {region: uk}, amount: 4}, "
        "{when: {region: us}, amount: 5}]}\n"
    )
    counts = save(database, with_cells(f"{eu}, {{when: {{region: us}}, amount: 3}}", more))
    assert (counts["prices_created"], counts["prices_unchanged"]) == (1, 1)
    with database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT p.currency, c.cell_no, c.label, t.unit_amount FROM price_cell c "
            "JOIN price p ON p.id = c.price_id JOIN price_tier t ON t.price_id = p.id "
            "AND t.cell_no = c.cell_no ORDER BY p.id, c.cell_no"
        )
    assert [(r["currency"], r["cell_no"], r["label"], int(r["unit_amount"])) for r in rows] == [
        ("USD", 1, "region eu", 2),
        ("USD", 2, "region us", 3),
        ("EUR", 2, "region us", 5),
        ("EUR", 3, "region uk", 4),
    ]


def test_a_number_that_stands_for_something_else_is_refused(database: Database) -> None:
    save(database, with_cells("{when: {region: eu}, amount: 2}"))
    with database.transaction(now=NOW) as uow:
        price = uow.query("SELECT id FROM price")[0]["id"]
        with pytest.raises(Refused) as answer:
            uow.create(
                "price_cell",
                {"price_id": price, "cell_no": 2, "conditions": {"region": ["eu"]}},
            )
    assert ("other_cell", "cell_no") in [(p.code, p.field) for p in answer.value.problems]


PARTIAL = """
pricing_templates: [{id: gold, name: Gold}]
prices:
  - pricing_template: gold
    charge: c
    currency: USD
    partial: true
    model: per_unit
    cells: [{when: {region: eu}, amount: 1.5}]
"""


def test_a_partial_price_may_set_one_cell(database: Database) -> None:
    save(database, with_cells("{when: {region: eu}, amount: 2}"))
    assert save(database, PARTIAL)["prices_created"] == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "region: eu",
            "region: uk",
            "has nothing for region uk: it has everything else; region eu",
        ),
        (
            "amount: 1.5",
            "tiers: [{from: 5, amount: 1.5}]",
            "in region eu, which has no tier from 5: its tiers begin at 0",
        ),
    ],
)
def test_a_partial_price_of_a_cell_that_is_not_there_is_refused(
    database: Database, old: str, new: str, said: str
) -> None:
    save(database, with_cells("{when: {region: eu}, amount: 2}"))
    with pytest.raises(Refused) as answer:
        save(database, PARTIAL.replace(old, new))
    (problem,) = answer.value.problems
    assert (problem.code, problem.field) == ("conflicting_layers", "prices[0].tiers")
    assert said in problem.message
    with database.transaction(now=NOW) as uow:
        assert uow.query("SELECT id FROM pricing_template") == []
        assert len(uow.query("SELECT id FROM price")) == 1


def told(database: Database, book: str) -> list[tuple[str, int | None, str]]:
    """Code, line and field of what is wrong beside what is stored; nothing is saved then."""
    parsed, problems = parse_price_book(book, "book.yaml")
    assert not problems
    with database.transaction(now=NOW) as uow:
        before = uow.query("SELECT * FROM price ORDER BY id")
    with pytest.raises(Refused) as answer, database.transaction(now=NOW) as uow:
        save_price_book(uow, parsed)
    with database.transaction(now=NOW) as uow:
        assert uow.query("SELECT * FROM price ORDER BY id") == before
    return [(one.code, one.line, one.field) for one in answer.value.problems]


RECURRING = with_cells("{when: {level: a}, amount: 2}").replace("usage", "recurring")
PRICE = "rate_plans[0].charges[0].prices[0]"


def test_what_has_no_events_has_no_cells(database: Database):
    one = RECURRING.replace("        meter: m\n", "").replace("meters:", "# meters:")
    place = f"{PRICE}.cells[0].when"
    assert told(database, one) == [("not_for_this_kind", 16, place)]


def test_a_change_of_a_stored_price_is_refused_where_it_stands(database: Database):
    book = BOOK.replace("unit: minute", "unit: minute, aggregation: max")
    parsed, _ = parse_price_book(book, "book.yaml")
    with database.transaction(now=NOW) as uow:
        save_price_book(uow, parsed)
    changed = book.replace("amount: 1", "amount: 1\n            event_amount: 3")
    assert told(database, changed) == [("not_for_this_meter", 17, f"{PRICE}.event_amount")]
