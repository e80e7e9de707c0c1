"""The prices that charges of many subscriptions have on a day each, found as rating finds them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import pyarrow as pa

from counterfoil.business.billing.loading import load_charges_of
from counterfoil.business.billing.price_layers import load_prices
from counterfoil.business.billing.relations import make_relation
from counterfoil.business.products.price_terms import PriceTerms, read_terms
from counterfoil.business.products.queries import tier_of
from counterfoil.core.rating.prices import price_epochs
from counterfoil.core.rating.relations import BILLED_USAGE
from counterfoil.platform.engine.duck import Engine, small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceInForce:
    """The price of a charge (id) of a subscription (id) on the day that was asked; ``valid_to`` is
    that of a price of the subscription's own."""

    subscription_id: int
    charge_id: int
    kind: str
    currency: str
    layer: str
    valid_to: date | None
    terms: PriceTerms


_ASKED = pa.schema(
    [
        ("subscription_id", pa.int64()),
        ("day", pa.date32()),
        ("ended_on", pa.date32()),
    ]
)

# What ends on the day because the subscription does, or was suspended, goes on with a renewal.
_CHARGE_ITEM = """
SELECT row_number() OVER (ORDER BY subscription_id, charge_id) AS item_id, *,
       day AS service_start, day + 1 AS service_end, day + 1 AS pricing_end
FROM (SELECT DISTINCT ON (c.subscription_id, c.charge_id) c.*, a.day
      FROM charge c JOIN asked a USING (subscription_id)
      WHERE {kinds} AND c.start_date <= a.day
        AND (c.end_date IS NULL OR c.end_date > a.day
             OR c.end_date = a.ended_on AND c.end_date > c.start_date)
      ORDER BY c.subscription_id, c.charge_id, c.start_date DESC)
"""

_FOUND = """
SELECT i.subscription_id, i.charge_id, i.kind, i.currency, e.price_id, e.layer, e.terms_id,
       e.partial_ids IS NOT NULL AS laid_over,
       CASE WHEN e.layer = 'subscription' THEN p.valid_to END AS valid_to
FROM price_epoch e JOIN charge_item i USING (item_id) JOIN price p USING (price_id)
ORDER BY i.item_id
"""


def prices_in_force(
    uow: UnitOfWork, asked: Sequence[tuple[int, date, date | None]], *, once: bool = False
) -> list[PriceInForce]:
    """The prices of all recurring and usage charges that subscriptions (ids) have on a day, or had
    until ``ended_on``, which is told beside it; none of charges without a price. With ``once``
    also of what is charged once."""
    rows = [dict(zip(_ASKED.names, one, strict=True)) for one in asked]
    charges = load_charges_of(uow, [subscription for subscription, _, _ in asked])
    with small_engine() as engine:
        engine.register("asked", pa.Table.from_pylist(rows, _ASKED))
        engine.register("charge", charges)
        items = _CHARGE_ITEM.format(kinds="true" if once else "c.kind <> 'one_time'")
        engine.run(f"CREATE TABLE charge_item AS {items}")
        _weigh(uow, engine, charges)
        found = engine.records(_FOUND)
        laid = _laid_tiers(engine)
    terms = read_terms(uow, [int(row["price_id"]) for row in found])
    return [
        PriceInForce(
            subscription_id=row["subscription_id"],
            charge_id=row["charge_id"],
            kind=row["kind"],
            currency=row["currency"],
            layer=row["layer"],
            valid_to=row["valid_to"],
            terms=_with_parts(terms[row["price_id"]], laid.get(row["terms_id"], {})),
        )
        for row in found
    ]


def _weigh(uow: UnitOfWork, engine: Engine, charges: pa.Table) -> None:
    """Make ``price_epoch`` and ``terms_tier``; conditions of prices are taken for met."""
    nothing = pa.table(
        {"price_id": pa.array([], pa.int64()), "partial_ids": pa.array([], pa.string())}
    )
    prices, tiers, layers = load_prices(uow, charges, nothing)
    engine.register("price", prices)
    engine.register("price_tier", tiers)
    engine.register("price_layer", layers)
    make_relation(engine, "billed_usage", BILLED_USAGE, None)
    for statement in price_epochs(partials=True):
        engine.run(statement.create)


def _laid_tiers(engine: Engine) -> dict[int, dict[int, list[Record]]]:
    """The tiers of prices over which partial ones lie, by terms and cell."""
    laid: dict[int, dict[int, list[Record]]] = {}
    for row in engine.arrow(
        "SELECT * FROM terms_tier WHERE terms_id < 0 ORDER BY terms_id, cell_no, from_quantity"
    ).to_pylist():
        laid.setdefault(row["terms_id"], {}).setdefault(row["cell_no"], []).append(row)
    return laid


def _with_parts(terms: PriceTerms, laid: dict[int, list[Record]]) -> PriceTerms:
    """The terms with the tiers that partial prices set."""
    if not laid:
        return terms
    tiers = {number: tuple(tier_of(row) for row in rows) for number, rows in laid.items()}
    of_cells = [tiers[number] for number in sorted(tiers) if number > 0]
    cells = tuple(
        replace(cell, tiers=own) for cell, own in zip(terms.cells, of_cells, strict=False)
    )
    return PriceTerms(terms.values, tiers.get(0, ()), cells)
