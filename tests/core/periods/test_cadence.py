"""Cycles from the original anchor: no gap, no overlap, month ends kept."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.periods.cadence import (
    Cadence,
    calendar_anchor,
    cycle_index,
    cycle_start,
    cycles_between,
)
from counterfoil.core.problems import Refused

MONTH, QUARTER = Cadence("month"), Cadence("month", 3)
HALF_YEAR, YEAR = Cadence("month", 6), Cadence("year")

anchors = st.dates(date(1850, 1, 1), date(2150, 12, 31))
cadences = st.one_of(
    st.builds(Cadence, st.sampled_from(["day", "week"]), st.integers(1, 120)),
    st.builds(Cadence, st.just("month"), st.integers(1, 120)),
    st.builds(Cadence, st.just("year"), st.integers(1, 20)),
)


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("cadence", "start", "on", "anchor", "elapsed"),
    [
        (MONTH, "2024-01-01", "2024-01-15", "2024-01-01", 0),
        (MONTH, "2024-01-01", "2024-02-01", "2024-01-01", 1),
        (MONTH, "2021-01-01", "2024-01-01", "2021-01-01", 36),
        (MONTH, "2024-01-01", "2024-01-05", "2024-01-10", 0),
        (MONTH, "2024-01-01", "2024-03-15", "2024-01-10", 3),
        (QUARTER, "2024-01-10", "2024-04-01", "2024-01-01", 1),
        (YEAR, "2021-01-10", "2023-01-01", "2021-01-01", 2),
    ],
)
def test_cycles_that_have_passed_are_counted_from_the_anchor(
    cadence: Cadence, start: str, on: str, anchor: str, elapsed: int
) -> None:
    """METE-CYC-002: a first period that is short counts as one."""
    first, last = (cycle_index(day(anchor), cadence, day(one)) for one in (start, on))
    assert last - first == elapsed


@pytest.mark.parametrize(
    ("case", "anchor", "cadence", "starts"),
    [
        ("LAGO-CYC-002 yearly", "2020-02-29", YEAR, {3: "2023-02-28", 4: "2024-02-29"}),
        ("LAGO-CYC-002 semiannual", "2020-02-29", HALF_YEAR, {6: "2023-02-28", 7: "2023-08-29"}),
        (
            "LAGO-CYC-002 quarterly",
            "2022-12-31",
            QUARTER,
            {1: "2023-03-31", 2: "2023-06-30", 3: "2023-09-30", 4: "2023-12-31"},
        ),
        (
            "LAGO-CYC-006",
            "2024-01-31",
            MONTH,
            {0: "2024-01-31", 1: "2024-02-29", 2: "2024-03-31", 3: "2024-04-30"},
        ),
        (
            "KB-013",
            "2012-01-31",
            MONTH,
            {
                1: "2012-02-29",
                2: "2012-03-31",
                3: "2012-04-30",
                4: "2012-05-31",
                5: "2012-06-30",
                6: "2012-07-31",
            },
        ),
        ("two weeks back", "2024-01-01", Cadence("week", 2), {-1: "2023-12-18", 1: "2024-01-15"}),
        ("month before", "2024-03-31", MONTH, {-1: "2024-02-29", -2: "2024-01-31"}),
    ],
)
def test_cycles_begin(case: str, anchor: str, cadence: Cadence, starts: dict[int, str]) -> None:
    assert {k: str(cycle_start(day(anchor), cadence, k)) for k in starts} == starts, case


@pytest.mark.parametrize(
    ("asked", "start"),
    [
        ("2022-04-15", "2022-01-31"),
        ("2022-04-29", "2022-01-31"),
        ("2022-05-15", "2022-04-30"),
        ("2022-05-31", "2022-04-30"),
        ("2022-07-30", "2022-04-30"),
        ("2022-08-15", "2022-07-31"),
    ],
)
def test_lago_cyc_004_quarters_from_31_january(asked: str, start: str) -> None:
    anchor = day("2022-01-31")
    k = cycle_index(anchor, QUARTER, day(asked))
    assert str(cycle_start(anchor, QUARTER, k)) == start


@pytest.mark.parametrize(
    ("unit", "cadence", "start", "at", "cycle_day", "cycles"),
    [
        ("month", MONTH, "2024-01-01", "2024-01-15", 1, 0),
        ("month", MONTH, "2024-01-01", "2024-02-01", 1, 1),
        ("month", MONTH, "2021-01-01", "2024-01-01", 1, 36),
        ("month", MONTH, "2024-01-01", "2024-01-05", 10, 0),
        ("month", MONTH, "2024-01-01", "2024-03-15", 10, 3),
        ("month", QUARTER, "2024-01-10", "2024-04-01", 1, 1),
        ("year", YEAR, "2021-01-10", "2023-01-01", 1, 2),
    ],
)
def test_mete_cyc_002_elapsed_calendar_cycles(
    unit: str, cadence: Cadence, start: str, at: str, cycle_day: int, cycles: int
) -> None:
    anchor = calendar_anchor(unit, cycle_day)
    elapsed = cycle_index(anchor, cadence, day(at)) - cycle_index(anchor, cadence, day(start))
    assert elapsed == cycles


@pytest.mark.parametrize(
    ("anchor", "cadence", "start", "end", "served", "whole"),
    [
        (calendar_anchor("month", 1), QUARTER, "2025-10-08", "2026-01-01", 85, 92),
        # The peer lets a calendar year begin in the month of the start; ours begins in January,
        # so its case is told with an anchor.
        (date(2025, 4, 1), YEAR, "2025-04-15", "2026-04-01", 351, 365),
        (calendar_anchor("month", 31), MONTH, "2012-03-02", "2012-03-31", 29, 31),
    ],
)
def test_mete_pro_003_and_kb_013_share_of_the_first_cycle(
    anchor: date, cadence: Cadence, start: str, end: str, served: int, whole: int
) -> None:
    [(first, last)] = cycles_between(anchor, cadence, day(start), day(end))
    assert str(last) == end
    assert ((last - day(start)).days, (last - first).days) == (served, whole)


def test_lago_cyc_008_february_in_advance_and_january_in_arrears() -> None:
    anchor = calendar_anchor("month", 1)
    k = cycle_index(anchor, MONTH, day("2024-02-01"))
    starts = [str(cycle_start(anchor, MONTH, k + step)) for step in (-1, 0, 1)]
    assert starts == ["2024-01-01", "2024-02-01", "2024-03-01"]


@given(anchors, cadences, st.dates(date(1800, 1, 1), date(2199, 12, 31)))
def test_every_day_lies_in_exactly_the_cycle_of_its_index(
    anchor: date, cadence: Cadence, asked: date
) -> None:
    k = cycle_index(anchor, cadence, asked)
    assert cycle_start(anchor, cadence, k) <= asked < cycle_start(anchor, cadence, k + 1)


@given(anchors, cadences, st.integers(-75, 150))
def test_the_index_of_a_start_is_its_cycle(anchor: date, cadence: Cadence, k: int) -> None:
    assert cycle_index(anchor, cadence, cycle_start(anchor, cadence, k)) == k


@given(anchors, cadences)
def test_400_years_have_no_gap_and_no_overlap(anchor: date, cadence: Cadence) -> None:
    first, last = date(1800, 1, 1), date(2200, 1, 1)
    cycles = cycles_between(anchor, cadence, first, last)
    assert all(end == start for (_, end), (start, _) in pairwise(cycles))
    assert all(start < end for start, end in cycles)
    assert cycles[0][0] <= first < cycles[0][1]
    assert cycles[-1][0] < last <= cycles[-1][1]


@pytest.mark.parametrize(
    ("unit", "cycle_day", "anchor"),
    [
        ("month", 31, "2000-01-31"),
        ("year", 15, "2000-01-15"),
        ("week", 15, "2000-01-03"),
        ("day", 15, "2000-01-01"),
    ],
)
def test_calendar_anchors(unit: str, cycle_day: int, anchor: str) -> None:
    assert str(calendar_anchor(unit, cycle_day)) == anchor


def test_calendar_weeks_begin_on_monday() -> None:
    assert calendar_anchor("week", 1).weekday() == 0


def test_an_empty_range_has_no_cycles() -> None:
    assert cycles_between(day("2024-01-01"), MONTH, day("2024-02-01"), day("2024-02-01")) == []


def test_one_day_has_one_cycle() -> None:
    first = day("2024-02-29")
    cycles = cycles_between(day("2024-01-31"), MONTH, first, first + timedelta(days=1))
    assert cycles == [(day("2024-02-29"), day("2024-03-31"))]


def test_an_unknown_unit_or_a_count_of_zero_is_refused() -> None:
    with pytest.raises(Refused, match="allowed: day, week, month, year"):
        Cadence("fortnight")
    with pytest.raises(Refused, match="less than 1"):
        Cadence("month", 0)


def test_beyond_the_calendar_is_an_overflow() -> None:
    with pytest.raises(OverflowError):
        cycle_start(day("2024-01-31"), YEAR, 8000)
