"""What a price says, apart from whose it is, in which currency and when: read, raised and saved.

Prices of single subscriptions are made of it: from the notation of price books, from an amount, or
from a price that is stored already.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import cast

import yaml

from counterfoil.business.products.cells import Cell
from counterfoil.business.products.matrix import save_terms
from counterfoil.business.products.price_book import read_price
from counterfoil.business.products.price_book_entries import PriceEntry
from counterfoil.business.products.queries import read_cells, read_tiers
from counterfoil.business.products.tiers import EVENT_TERMS, ZERO, Tier
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.notation.located import EXACT, Reader
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

FIELDS = (
    *("model", "package_size", "included_quantity", "formula", "condition"),
    *("minimum_amount", "maximum_amount", *EVENT_TERMS),
)
"""The fields of ``price`` that are terms."""

_PLACES = {
    "minimum_amount": 4,
    "maximum_amount": 4,
    **dict.fromkeys(("event_amount", "event_amount_minimum", "event_amount_maximum"), 10),
}
"""Amounts of a price beside its tiers, and the decimals they have."""

_UNIT_PLACES = 10


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """``values`` are the ``FIELDS`` of a price that are not left to their defaults."""

    values: Mapping[str, object]
    tiers: tuple[Tier, ...]
    cells: tuple[Cell, ...] = field(default=())


def per_unit(amount: Decimal) -> PriceTerms:
    """So much for a unit."""
    return PriceTerms({"model": "per_unit"}, (Tier(ZERO, None, amount, ZERO),))


def parse_price(text: str) -> PriceTerms:
    """The price a text says in the notation of price books, such as ``{model: flat, amount: 9}``.

    Refuses (422) with every problem; their fields begin with ``price``.
    """
    reader = Reader("")
    node = reader.document(text)
    return price_of(node) if node is not None else _refuse(reader.problems)


def price_of(node: yaml.Node) -> PriceTerms:
    """The price that a node of YAML says; see :func:`parse_price`."""
    entry, problems = read_price(node)
    if entry is None or problems:
        return _refuse(problems)
    return terms_of(entry)


def _refuse(problems: Sequence[Problem]) -> PriceTerms:
    raise Refused([replace(one, file="", line=None) for one in problems])


def terms_of(entry: PriceEntry) -> PriceTerms:
    """The terms of an entry of a price book."""
    values = {name: getattr(entry, name) for name in FIELDS}
    return PriceTerms(values, entry.tiers, tuple(one.cell for one in entry.cells))


def read_terms(uow: UnitOfWork, price_ids: Collection[int]) -> dict[int, PriceTerms]:
    """The terms of stored prices, by id."""
    ids = sorted(set(price_ids))
    rows = uow.query("SELECT * FROM price WHERE id = ANY(:ids)", ids=ids)
    tiers = read_tiers(uow, ids)
    cells = read_cells(uow, ids, tiers)
    return {
        cast("int", row["id"]): PriceTerms(
            {name: row[name] for name in FIELDS},
            tuple(tier for _, tier in tiers.get((cast("int", row["id"]), 0), ())),
            tuple(cells.get(cast("int", row["id"]), ())),
        )
        for row in rows
    }


def save_prices(uow: UnitOfWork, prices: Sequence[tuple[Record, PriceTerms]]) -> list[int]:
    """Create prices, each of what says whose it is (the other fields of ``price``) and its terms;
    their ids."""
    ids = uow.create_many("price", [{**whose, **terms.values} for whose, terms in prices])
    save_terms(
        uow,
        [
            (price, cast("int", whose["charge_id"]), terms.tiers, terms.cells)
            for price, (whose, terms) in zip(ids, prices, strict=True)
        ],
    )
    return ids


def raised(
    terms: PriceTerms, percent: Decimal, currency: str, *, exact: bool = False
) -> PriceTerms:
    """The terms with every amount so many percent higher; bounds, packages and what is included
    stay.

    An amount keeps as many decimals as it has, and those of the currency at least, rounded half
    away from zero; ``exact`` keeps all the decimals that a price can have.
    """
    least, factor = exponent(currency), EXACT.divide(100 + percent, Decimal(100))

    def raise_amount(amount: Decimal, places: int) -> Decimal:
        own = -cast("int", amount.normalize(EXACT).as_tuple().exponent)
        kept = places if exact else min(max(own, least), places)
        return round_half_up(EXACT.multiply(amount, factor), kept)

    def raise_tier(tier: Tier) -> Tier:
        return replace(
            tier,
            unit_amount=raise_amount(tier.unit_amount, _UNIT_PLACES),
            flat_amount=raise_amount(tier.flat_amount, _UNIT_PLACES),
        )

    values = dict(terms.values)
    for name, places in _PLACES.items():
        if isinstance(amount := values.get(name), Decimal):
            values[name] = raise_amount(amount, places)
    if values.get("formula") is not None:
        values["formula"] = f"({values['formula']}) * {factor:f}"
    return PriceTerms(
        values,
        tuple(raise_tier(tier) for tier in terms.tiers),
        tuple(
            replace(cell, tiers=tuple(raise_tier(tier) for tier in cell.tiers))
            for cell in terms.cells
        ),
    )
