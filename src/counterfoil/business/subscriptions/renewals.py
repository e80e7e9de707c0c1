"""Terms that have come to their end: the next one begins, or the subscription ends."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import cast

from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.core.periods.cadence import Cadence, cycle_index, cycle_start
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

# What was handed over goes on, and renews, as its successor.
_DUE = """
SELECT id, external_id, start_date, term_end, term_months, renewal FROM subscription s
WHERE term_end <= CAST(:day AS date) AND renewal <> 'evergreen'
  AND (end_date IS NULL OR end_date > term_end) AND external_id <> ALL(CAST(:passed AS text[]))
  AND NOT EXISTS (SELECT 1 FROM subscription n WHERE n.follows_id = s.id)
ORDER BY id FOR NO KEY UPDATE
"""

BUSY = 503
"""Of refusals that say nothing about a subscription: others are in the way."""

Amend = Callable[[UnitOfWork, Sequence[Change]], object]
"""What changes subscriptions: of some renewals the prices have to be found first."""


@dataclass(slots=True)
class Renewals:
    """How many terms were renewed or ended, and why others were not, by subscription."""

    terms: int = 0
    problems: dict[str, str] = field(default_factory=dict)


def renew_due(uow: UnitOfWork, day: date, amend: Amend = amend_subscriptions) -> Renewals:
    """Renew what renews itself and end what does not, of all terms that end by a day.

    Doing it again changes nothing. Where several terms have passed, each becomes an amendment. A
    subscription that cannot be renewed keeps no other one from it.
    """
    done = Renewals()
    while rows := uow.query(_DUE, day=day, passed=list(done.problems)):
        _renew(uow, rows, amend, done)
    return done


def _renew(uow: UnitOfWork, rows: Sequence[Record], amend: Amend, done: Renewals) -> None:
    """Renew all of these at once, or else half by half, until what is refused stands alone."""
    try:
        with uow.savepoint():
            amend(uow, [_change(row) for row in rows])
        done.terms += len(rows)
    except Refused as refused:
        if refused.status == BUSY:
            raise
        if len(rows) == 1:
            done.problems[str(rows[0]["external_id"])] = str(refused)
            return
        half = len(rows) // 2
        _renew(uow, rows[:half], amend, done)
        _renew(uow, rows[half:], amend, done)


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
