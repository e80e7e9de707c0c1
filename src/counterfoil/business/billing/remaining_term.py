"""What the rest of a term would cost: the base of a fee for an early termination.

The recurring charges are rated from the day to the end of the term by the statements that rate
bills, at the prices that hold on each day of it, and rounded as they would have been billed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa

from counterfoil.business.billing.allowances import make_allowances
from counterfoil.business.billing.buckets import rate_on
from counterfoil.business.billing.charging import load_line, load_terms
from counterfoil.business.billing.due import every_charge, make_cycles, make_due_items
from counterfoil.business.billing.formulas import (
    load_formulas,
    make_known_amounts,
    register_formulas,
)
from counterfoil.business.billing.loading import load_billed_charges, load_charges_of
from counterfoil.business.billing.rating import find_needs
from counterfoil.business.billing.usage_needed import NEW_DAY
from counterfoil.platform.engine.duck import Engine, open_engine
from counterfoil.platform.engine.runner import IN_THIS_PROCESS
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingTerm:
    """What a subscription would cost from ``start`` to ``end``: the total, and what it consists of:
    charge, from, to, quantity, unit_amount, amount. ``unpriced`` are charges without a price."""

    start: date
    end: date
    currency: str
    amount: Decimal
    parts: tuple[Record, ...]
    unpriced: tuple[str, ...]


_ASKED = pa.schema(
    [("subscription_id", pa.int64()), ("first_day", pa.date32()), ("term_end", pa.date32())]
)

_CHARGE = """
SELECT c.* EXCLUDE (first_day, term_end) REPLACE (
    greatest(c.start_date, first_day) AS start_date,
    least(coalesce(c.end_date, term_end), term_end) AS end_date,
    CAST(NULL AS DATE) AS billed_through)
FROM (SELECT s.*, a.first_day, a.term_end FROM served_charge s JOIN asked a USING (subscription_id)
      WHERE s.kind = 'recurring') c
WHERE c.start_date < term_end AND (c.end_date IS NULL OR c.end_date > first_day)
"""

_PARTS = """
SELECT i.subscription_id, i.charge_name AS charge, r.service_start, r.service_end,
       i.quantity, r.unit_amount, r.amount
FROM rated r JOIN charge_item i USING (item_id)
ORDER BY i.subscription_id, i.charge_name, r.service_start
"""

_UNPRICED = """
SELECT DISTINCT i.subscription_id, i.charge_name
FROM price_epoch e JOIN charge_item i USING (item_id) WHERE e.price_id IS NULL
"""


def remaining_terms(
    uow: UnitOfWork, asked: Sequence[tuple[int, date, date]]
) -> dict[int, RemainingTerm]:
    """By subscription (id) what it would cost from a day to the end of its term, as it stands."""
    rows = [dict(zip(_ASKED.names, one, strict=True)) for one in asked]
    served = load_charges_of(uow, [subscription for subscription, _, _ in asked])
    currencies = dict(
        zip(
            served.column("subscription_id").to_pylist(),
            served.column("currency").to_pylist(),
            strict=True,
        )
    )
    with open_engine() as engine:
        engine.register("asked", pa.Table.from_pylist(rows, _ASKED))
        engine.register("served_charge", served)
        last = max(end for _, _, end in asked)
        _rate(uow, engine, engine.arrow(_CHARGE), min(day for _, day, _ in asked), last)
        parts = engine.records(_PARTS)
        unpriced = engine.rows(_UNPRICED)
    of_each: dict[int, list[Record]] = {}
    for row in parts:
        of_each.setdefault(row["subscription_id"], []).append(row)
    names: dict[int, list[str]] = {}
    for subscription, name in unpriced:
        names.setdefault(subscription, []).append(name)
    return {
        subscription: RemainingTerm(
            start=day,
            end=end,
            currency=currencies.get(subscription, ""),
            amount=sum((row["amount"] for row in of_each.get(subscription, ())), Decimal(0)),
            parts=tuple(_part(row) for row in of_each.get(subscription, ())),
            unpriced=tuple(sorted(names.get(subscription, ()))),
        )
        for subscription, day, end in asked
    }


def _rate(uow: UnitOfWork, engine: Engine, charges: pa.Table, first: date, last: date) -> None:
    """Make ``rated`` and ``price_epoch`` of recurring charges as if nothing had been billed."""
    formulas = load_formulas(uow, [], charges, last)
    register_formulas(engine, formulas)
    rated = every_charge(charges, formulas.tree)
    load_line(uow, engine, rated, last)
    engine.leave_empty(NEW_DAY.name, NEW_DAY.nothing)
    make_cycles(engine, rated, last - timedelta(days=1), since=first)
    make_due_items(engine, rated, date.max, condition="kind = 'recurring'")
    load_terms(uow, engine, charges, load_billed_charges(uow, []))
    make_known_amounts(uow, engine, formulas, anew=True)
    make_allowances(uow, engine)
    rate_on(IN_THIS_PROCESS, engine, lambda _: None, find_needs(engine))


def _part(row: Record) -> Record:
    unit_amount = row["unit_amount"]
    return {
        "charge": row["charge"],
        "from": row["service_start"].isoformat(),
        "to": row["service_end"].isoformat(),
        "quantity": str(row["quantity"]),
        "unit_amount": None if unit_amount is None else str(unit_amount),
        "amount": str(row["amount"]),
    }
