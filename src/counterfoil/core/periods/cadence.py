"""Cycles: how often something recurs, and on which days its cycles begin.

Every cycle is computed from the *original* anchor, never from its predecessor, so that an anchor
on the 31st gives 28 February and then 31 March again. Cycles are half-open and lie side by side
without gap or overlap, before the anchor as well as after it.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from counterfoil.core.problems import Problem, Refused

UNITS = ("day", "week", "month", "year")

_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "year": 12}


@dataclass(frozen=True, slots=True)
class Cadence:
    """The length of a cycle: ``count`` (at least 1) of ``unit`` (day, week, month or year).

    Three months are a quarter. Refuses an unknown unit and a count below 1.
    """

    unit: str
    count: int = 1

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise Refused(_unknown_unit(self.unit))
        if self.count < 1:
            raise Refused(Problem("bad_count", f"{self.count} is less than 1", "count"))


def cycle_start(anchor: date, cadence: Cadence, k: int) -> date:
    """The first day of cycle ``k``; cycle 0 begins on the anchor, negative ones lie before it.

    Raises OverflowError outside the years 1 to 9999.
    """
    if cadence.unit in _DAYS:
        return anchor + timedelta(days=_DAYS[cadence.unit] * cadence.count * k)
    months = _months(anchor) + _MONTHS[cadence.unit] * cadence.count * k
    year, month = months // 12, months % 12 + 1
    if not date.min.year <= year <= date.max.year:
        raise OverflowError(f"cycle {k} from {anchor} begins in the year {year}")
    return date(year, month, min(anchor.day, monthrange(year, month)[1]))


def cycle_index(anchor: date, cadence: Cadence, day: date) -> int:
    """The ``k`` of the cycle that the day lies in: start(k) <= day < start(k + 1)."""
    if cadence.unit in _DAYS:
        return (day - anchor).days // (_DAYS[cadence.unit] * cadence.count)
    months = _months(day) - _months(anchor)
    last_of_month = monthrange(day.year, day.month)[1]
    if day.day < min(anchor.day, last_of_month):
        months -= 1
    return months // (_MONTHS[cadence.unit] * cadence.count)


def cycles_between(
    anchor: date, cadence: Cadence, first_day: date, last_day: date
) -> list[tuple[date, date]]:
    """All cycles that overlap [first_day, last_day), in order, each as (first day, day after).

    The cycles are whole: the first may begin before ``first_day``, the last end after
    ``last_day``. Empty when ``last_day`` is not after ``first_day``.
    """
    if last_day <= first_day:
        return []
    first = cycle_index(anchor, cadence, first_day)
    last = cycle_index(anchor, cadence, last_day - timedelta(days=1))
    starts = [cycle_start(anchor, cadence, k) for k in range(first, last + 2)]
    return list(pairwise(starts))


def calendar_anchor(unit: str, cycle_day: int) -> date:
    """The anchor of calendar-aligned cycles: the cycle day of January 2000, for weeks a Monday.

    ``cycle_day`` (1 to 31) matters for months and years; 29 to 31 mean the month's end where a
    month is shorter. Cycles of days count from 1 January 2000. Refuses an unknown unit.
    """
    if unit not in UNITS:
        raise Refused(_unknown_unit(unit))
    if unit in _MONTHS:
        return date(2000, 1, cycle_day)
    return date(2000, 1, 3) if unit == "week" else date(2000, 1, 1)


def _months(day: date) -> int:
    return day.year * 12 + day.month - 1


def _unknown_unit(unit: str) -> Problem:
    return Problem("unknown_unit", f"{unit!r} is not a unit of time", "unit", UNITS)
