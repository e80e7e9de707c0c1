"""Terms that have come to their end: the next one begins, or the subscription ends."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import cast

from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.core.periods.cadence import Cadence, cycle_index, cycle_start
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_DUE = """
SELECT id, start_date, term_end, term_months, renewal FROM subscription
WHERE term_end <= CAST(:day AS date) AND renewal <> 'evergreen'
  AND (end_date IS NULL OR end_date > term_end)
ORDER BY id FOR NO KEY UPDATE
"""


Amend = Callable[[UnitOfWork, Sequence[Change]], object]
"""What changes subscriptions: of some renewals the prices have to be found first."""


def renew_due(uow: UnitOfWork, day: date, amend: Amend = amend_subscriptions) -> int:
    """Renew what renews itself and end what does not, of all terms that end by a day; how many.

    Doing it again changes nothing. Where several terms have passed, each becomes an amendment.
    """
    renewed = 0
    while rows := uow.query(_DUE, day=day):
        amend(uow, [_change(row) for row in rows])
        renewed += len(rows)
    return renewed


def _change(row: Record) -> Change:
    subscription, ends = cast("int", row["id"]), cast("date", row["term_end"])
    if row["renewal"] == "end":
        return Change(subscription=subscription, kind="cancel", day=ends)
    until = next_term_end(cast("date", row["start_date"]), ends, cast("int", row["term_months"]))
    return Change(subscription=subscription, kind="renew", day=ends, until=until)


def next_term_end(start: date, term_end: date, months: int | None) -> date:
    """The end of the term after the one that ends on ``term_end``: a year later unless told.

    Counted from the start where terms follow one another from there, so that a month's end stays
    one.
    """
    term = Cadence("month", months or 12)
    k = cycle_index(start, term, term_end)
    if cycle_start(start, term, k) == term_end:
        return cycle_start(start, term, k + 1)
    return cycle_start(term_end, term, 1)
