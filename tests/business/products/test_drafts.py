"""A draft laid over the stored prices takes their days, and is gone at the end."""

from datetime import UTC, date, datetime

import pytest

from counterfoil.business.products.commands import lay_price_book_over, save_price_book
from counterfoil.business.products.drafts import Days
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 15, tzinfo=UTC)
JAN, MAR, JUL, OCT = date(2026, 1, 1), date(2026, 3, 1), date(2026, 7, 1), date(2026, 10, 1)

BOOK = """\
products: [{id: rooms, name: Rooms}]
rate_plans:
  - id: standard
    product: rooms
    name: Standard
    charges:
      - id: room
        name: Managed room
        kind: recurring
        prices: [PRICES]
"""


def book(*prices: str) -> str:
    return BOOK.replace("PRICES", ", ".join(f"{{currency: USD, {price}}}" for price in prices))


def held(uow: UnitOfWork) -> list[tuple[object, ...]]:
    """First day, day after, first unit amount and number of tiers of every price that holds."""
    rows = uow.query(
        "SELECT p.valid_from, p.valid_to, trim_scale(min(t.unit_amount))::int AS amount, "
        "count(t.id) AS tiers FROM price p JOIN price_tier t ON t.price_id = p.id "
        "WHERE p.valid_to IS NULL OR p.valid_to > '0001-01-01' GROUP BY p.id "
        "ORDER BY p.valid_from NULLS FIRST"
    )
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        (Days(None, None), ()),
        (Days(JAN, OCT), ()),
        (Days(None, MAR), (Days(MAR, JUL),)),
        (Days(MAR, None), (Days(JAN, MAR),)),
        (Days(MAR, date(2026, 4, 1)), (Days(JAN, MAR), Days(date(2026, 4, 1), JUL))),
        (Days(JUL, None), (Days(JAN, JUL),)),
        (Days(None, JAN), (Days(JAN, JUL),)),
    ],
)
def test_what_is_left_of_days(taken: Days, left: tuple[Days, ...]) -> None:
    assert Days(JAN, JUL).without(taken) == left


def test_a_price_of_the_draft_cuts_a_stored_one_in_two(database: Database) -> None:
    tiers = "model: graduated, tiers: [{up_to: 5, amount: 450}, {amount: 460}]"
    stored, problems = parse_price_book(book(tiers), "book.yaml")
    draft, more = parse_price_book(
        book("model: per_unit, amount: 400, valid_from: 2026-03-01, valid_to: 2026-07-01"),
        "draft.yaml",
    )
    assert problems == more == []
    with database.transaction(now=NOW) as uow:
        save_price_book(uow, stored)
        with pytest.raises(ValueError, match="in a rehearsal only"):
            lay_price_book_over(uow, draft)
    with database.rehearsal(now=NOW) as uow:
        lay_price_book_over(uow, draft)
        assert held(uow) == [(None, MAR, 450, 2), (MAR, JUL, 400, 1), (JUL, None, 450, 2)]
    with database.transaction(now=NOW) as uow:
        assert held(uow) == [(None, None, 450, 2)]


def test_a_price_of_the_draft_on_all_days_leaves_nothing_of_the_stored(database: Database) -> None:
    stored, _ = parse_price_book(
        book(
            "model: per_unit, amount: 450, valid_to: 2026-03-01",
            "model: per_unit, amount: 500, valid_from: 2026-03-01",
        ),
        "book.yaml",
    )
    draft, _ = parse_price_book(book("model: per_unit, amount: 400"), "draft.yaml")
    with database.transaction(now=NOW) as uow:
        save_price_book(uow, stored)
    with database.rehearsal(now=NOW) as uow:
        lay_price_book_over(uow, draft)
        assert held(uow) == [(None, None, 400, 1)]
