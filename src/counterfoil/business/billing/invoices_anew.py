"""Makes the invoices of a window again, each on the day on which its lines are due, as bill runs on
all these days would: with discounts, commitments and prepaid balances.

What an invoice takes off or draws begins with what earlier invoices left of it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from counterfoil.business.billing.bills import OPEN_DRAFT
from counterfoil.business.billing.incentives import (
    COUNTED_BEFORE,
    discount_as_due,
    draw_from,
    keep_commitments,
)
from counterfoil.business.billing.loading import load_profiles
from counterfoil.business.billing.relations import make_relation
from counterfoil.business.billing.window import BEGINNING, Window
from counterfoil.business.incentives.applying import commitment_periods
from counterfoil.business.incentives.loading import Present, load_commitments, load_grants
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.rating.prepaid import PREPAID_SHARED
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Kept:
    """Commitments (columns of load_commitments), the periods of them that are looked at, and the
    days that count for these, by tree."""

    commitments: pa.Table
    periods: pa.Table
    counted: dict[int, Window]


def load_kept(
    uow: UnitOfWork, accounts: Sequence[int], window: Window, today: date, *, drawing: bool
) -> Kept:
    """The commitments of these billed accounts in the periods that begin in the window; with
    ``drawing`` also in those that add to its invoices or take off them. A minimum whose period is
    not over by ``today`` adds nothing yet."""
    found = load_commitments(uow, accounts)
    terms = {(row["commitment_id"], row["subject_id"]): row for row in found.to_pylist()}
    table = commitment_periods(found, today)
    periods: dict[int, list[tuple[int, Record]]] = defaultdict(list)
    for place, period in enumerate(table.to_pylist()):
        of = terms[period["commitment_id"], period["subject_id"]]
        if of["kind"] == "maximum" or period["covered_end"] <= today:
            periods[of["root_id"]].append((place, period))
    places: list[int] = []
    counted = {}
    for root, of_tree in periods.items():
        first = [period for _, period in of_tree if _concerns(period, window, drawing=drawing)]
        if first:
            counted[root] = days = _days_of(first, [period for _, period in of_tree])
            places += [
                place
                for place, period in of_tree
                if days.start <= period["covered_start"] < days.end
            ]
    return Kept(found, table.take(pa.array(places, pa.int64())), counted)


def _concerns(period: Record, window: Window, *, drawing: bool) -> bool:
    if period["period_start"] >= window.end:
        return False
    return period["period_start"] >= window.start or (
        drawing and period["covered_end"] >= window.start
    )


def _days_of(first: Sequence[Record], periods: Sequence[Record]) -> Window:
    """The days of some periods, and of all that begin in these: their amounts count there."""
    start = min(period["covered_start"] for period in first)
    end = max(period["covered_end"] for period in first)
    for period in sorted(periods, key=lambda period: period["covered_start"]):
        if start <= period["covered_start"] < end:
            end = max(end, period["covered_end"])
    return Window(start, end)


_MEMBERS_WITH_PROBLEMS = """
SELECT DISTINCT m.commitment_id, m.subject_id FROM commitment_account m
JOIN problem p ON p.account_id = m.billed_account_id
"""


def make_invoices_anew(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    accounts: Sequence[int],
    window: Window,
    today: date,
    present: Present,
    kept: Kept,
) -> None:
    """Add to ``charged`` of a window (see rate_window) what incentives make of its invoices.

    Makes ``waiting`` (commitment_id, subject_id), the commitments that an account's problem keeps
    from being computed, and ``prepaid_share`` (core.rating.prepaid.PREPAID_SHARED).
    """
    discount_as_due(uow, engine, store, discounts=present.discounts)
    make_relation(engine, OPEN_DRAFT.name, OPEN_DRAFT, None)
    nothing = uow.read_arrow(COUNTED_BEFORE, accounts=[], roots=[], since=today)
    if kept.commitments.num_rows:
        keep_commitments(
            uow, engine, accounts, kept.commitments, kept.periods, nothing, today, as_due=True
        )
        engine.run(f"CREATE TABLE waiting AS {_MEMBERS_WITH_PROBLEMS}")
    else:
        engine.run("CREATE TABLE waiting (commitment_id BIGINT, subject_id BIGINT)")
    if present.grants:
        _draw_balances(uow, engine, accounts, window)
    engine.run(f"CREATE TABLE prepaid_share AS {PREPAID_SHARED}")


# Of the days on which nothing of the window is billed not all is there that is billed on them.
_OTHER_INVOICES = """
DELETE FROM charged c WHERE NOT EXISTS (
    SELECT 1 FROM charged w
    WHERE w.root_id = c.root_id AND w.billed_on = c.billed_on AND w.{beginning})
"""

# What was taken back of a grant was never there.
_BALANCES_BEFORE = """
SELECT g.id AS grant_id, CAST(g.amount
           - coalesce((SELECT sum(v.amount) FROM prepaid_void v
                       WHERE v.prepaid_grant_id = g.id), 0)
           + coalesce((SELECT sum(r.amount) FROM rated_charge r
                       JOIN invoice i ON i.id = r.invoice_id
                       WHERE r.prepaid_grant_id = g.id AND i.invoice_date < t.first_day), 0)
           AS numeric(20,4)) AS remaining
FROM prepaid_grant g
JOIN account a ON a.id = g.account_id
JOIN unnest(CAST(:roots AS bigint[]), CAST(:days AS date[])) AS t(root_id, first_day)
  ON t.root_id = a.root_id
WHERE g.id = ANY(:grants)
"""


def _draw_balances(
    uow: UnitOfWork, engine: Engine, accounts: Sequence[int], window: Window
) -> None:
    bounds = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    beginning = BEGINNING.format_map(bounds).replace(" AND ", " AND w.")
    engine.run(_OTHER_INVOICES.format(beginning=beginning))
    days = engine.rows("SELECT root_id, min(billed_on), max(billed_on) FROM charged GROUP BY 1")
    if not days:
        return
    first, last = min(row[1] for row in days), max(row[2] for row in days)
    usable = load_grants(uow, accounts, first, last, lock=False)
    balances = uow.read_arrow(
        _BALANCES_BEFORE,
        roots=[row[0] for row in days],
        days=[row[1] for row in days],
        grants=sorted(set(usable["grant_id"].to_pylist())),
    )
    engine.register("profile", load_profiles(uow, accounts))
    draw_from(engine, usable, balances)
