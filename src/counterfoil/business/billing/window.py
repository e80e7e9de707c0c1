"""Rates a stretch of time again: its cycles, as if nothing of them had been billed.

The way is that of a bill run from ``charge`` to ``charged``; only which items are due differs. So
what comes out is what a bill run would make of today's prices, service and usage.
"""

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from counterfoil.business.billing.charging import Items, load_line, load_terms, make_charged
from counterfoil.business.billing.due import DUE_ON, every_charge, make_cycles, make_due_items
from counterfoil.business.billing.formulas import (
    load_formulas,
    make_known_amounts,
    register_formulas,
)
from counterfoil.business.billing.loading import (
    load_billed_charges,
    load_served_charges,
)
from counterfoil.business.billing.usage_needed import NEW_DAY
from counterfoil.business.usage.store import UsageStore, visible_segments
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Window:
    """The days [start, end), local to whoever is billed. Refuses (422) an end before the start."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.end <= self.start:
            message = f"the last day is before the first one, {self.start}"
            raise Refused(Problem("ends_before_start", message, "to"))


def window_between(first: str, last: str) -> Window:
    """The window from a first to a last month (2026-01) or day (2026-01-31), both included.

    Refuses (422) other texts, and a last day before the first.
    """
    return Window(_days(first, "from")[0], _days(last, "to")[1])


def _days(text: str, field: str) -> tuple[date, date]:
    """First day and day after of a month or a day."""
    month = re.fullmatch(r"\d{4}-\d{2}", text) is not None
    try:
        first = date.fromisoformat(f"{text}-01" if month else text)
        return first, first + timedelta(days=monthrange(first.year, first.month)[1] if month else 1)
    except (ValueError, OverflowError):
        message = f"{text!r} is neither a month such as 2026-01 nor a day such as 2026-01-31"
        raise Refused(Problem("not_a_date", message, field)) from None


_ONE_DAY = timedelta(days=1)

OVERLAPPING = "cycle_start < DATE '{end}' AND cycle_end > DATE '{start}'"
"""Cycles of which a day lies in the window."""

BEGINNING = "cycle_start < DATE '{end}' AND cycle_start >= DATE '{start}'"
"""Cycles that begin in the window: every cycle lies in one of several adjoining windows."""

ON_BILLS_WITH_BEGINNING = (
    f"true QUALIFY bool_or({BEGINNING} OR cycle_start < counted_end AND cycle_end > counted_start)"
    f" OVER (PARTITION BY root_id, {DUE_ON.format(s='')})"
)
"""These and those of which a day counts for a commitment of the tree, and all that is due on one
day with one of them in it."""

BILLED = " AND service_end <= billed_before"
"""Only what bill runs have gone past."""

# A price that was billed holds for what it was billed for; nothing is taken off.
_PRICES_AS_BILLED = """
SELECT DISTINCT i.item_id, b.service_start, b.service_end, b.price_id, b.layer,
       CAST(string_split(b.partial_ids, ',') AS BIGINT[]), 0, 0, 0, 0
FROM due_item i JOIN billed_charge b USING (subscription_charge_id)
WHERE b.kind = 'usage' AND b.price_id IS NOT NULL
  AND b.service_start >= i.service_start AND b.service_start < i.service_end
"""


def rate_window(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    accounts: Sequence[int],
    window: Window,
    *,
    today: date,
    items: str,
    as_billed: bool = False,
    as_of: int | None = None,
    counted: Mapping[int, Window] | None = None,
) -> None:
    """Make ``charged`` and ``problem`` (see charging.make_charged) of the window's cycles.

    Of the billed ``accounts``; only cycles that would be due ``today``, and of these the ``items``
    this condition lets through; with ``as_billed`` at the prices that usage was billed at, and
    ``as_of`` the newest usage segment that counts. ``counted`` are the days that count for
    commitments, by tree.
    ``every_charge`` and ``billed_charge`` hold what they were made from and what has been billed of
    it.
    """
    until, end, since = min(window.end, today), window.end, window.start
    if items == ON_BILLS_WITH_BEGINNING:
        days = (counted or {}).values()
        since = min([since, *(one.start for one in days)]) - _ONE_DAY
        until, end = today, max(end, today + _ONE_DAY)
    charges = load_served_charges(uow, accounts, end)
    formulas = load_formulas(uow, accounts, charges, end, served=True)
    register_formulas(engine, formulas)
    rated = _as_unbilled(every_charge(charges, formulas.tree))
    if items == ON_BILLS_WITH_BEGINNING:
        rated = _with_counted(rated, counted or {})
    engine.leave_empty(NEW_DAY.name, NEW_DAY.nothing)
    make_cycles(engine, rated, until, since=since)
    bounds = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    load_line(uow, engine, rated, end)
    due = make_due_items(engine, rated, today, condition=items.format_map(bounds))
    billed = load_billed_charges(uow, rated.column("subscription_charge_id").to_pylist())
    load_terms(uow, engine, rated, billed)
    if as_billed:
        engine.run(f"INSERT INTO billed_usage {_PRICES_AS_BILLED}")
    make_known_amounts(uow, engine, formulas, anew=True)
    rated_items = Items(rated, formulas, due, visible_segments(uow, as_of=as_of))
    make_charged(uow, engine, store, rated_items, for_events=as_billed)


def _as_unbilled(charges: pa.Table) -> pa.Table:
    """The charges as if nothing had been billed; through when it was is in ``billed_before``."""
    billed = charges["billed_through"]
    place = charges.column_names.index("billed_through")
    nothing = pa.nulls(charges.num_rows, billed.type)
    unbilled = charges.set_column(place, "billed_through", nothing)
    return unbilled.append_column("billed_before", billed)


def _with_counted(charges: pa.Table, counted: Mapping[int, Window]) -> pa.Table:
    """The charges with the days that count for commitments of their trees."""
    windows = [counted.get(root) for root in charges["root_id"].to_pylist()]
    starts = [None if one is None else one.start for one in windows]
    ends = [None if one is None else one.end for one in windows]
    with_start = charges.append_column("counted_start", pa.array(starts, pa.date32()))
    return with_start.append_column("counted_end", pa.array(ends, pa.date32()))
