"""Local days on the time line, in every IANA zone."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from counterfoil.core.periods.zones import known_time_zone, local_date, local_midnight
from counterfoil.core.problems import Refused

ZONES = sorted(name for name in available_timezones() if known_time_zone(name))
CENTURIES = st.dates(date(1800, 1, 1), date(2199, 12, 31))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "instant"),
    [
        ("UTC", "2024-03-01", "2024-03-01T00:00"),
        ("Europe/Paris", "2024-01-01", "2023-12-31T23:00"),
        ("Europe/Paris", "2024-07-01", "2024-06-30T22:00"),
        ("Asia/Kolkata", "2024-01-01", "2023-12-31T18:30"),
        # São Paulo's clocks skipped from 00:00 to 01:00.
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00"),
        # Havana's clocks went from 01:00 back to 00:00: midnight twice, the first counts.
        ("America/Havana", "2024-11-03", "2024-11-03T04:00"),
        # Toronto skipped from 23:30 to 00:30: the day began at half past midnight.
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30"),
        # Samoa skipped 30 December 2011 altogether.
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00"),
    ],
)
def test_a_local_day_begins(zone: str, day: str, instant: str) -> None:
    assert local_midnight(date.fromisoformat(day), zone) == utc(instant)


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        # The peer counts 30 here, from the hours between; its range ends at 00:59:59 on
        # 1 October in Paris, which is a 31st day on the calendar.
        ("2023-08-31T23:10:00", "2023-09-30T22:59:59", 31),
        ("2023-08-31T23:10:00", "2023-09-30T21:59:59", 30),
        ("2023-09-30T23:10:00", "2023-10-31T22:59:59", 31),
        ("2023-02-28T23:10:00", "2023-03-31T21:59:59", 31),
    ],
)
def test_lago_cyc_010_days_are_counted_on_the_local_calendar(
    first: str, last: str, days: int
) -> None:
    between = local_date(utc(last), "Europe/Paris") - local_date(utc(first), "Europe/Paris")
    assert between.days + 1 == days


@given(st.sampled_from(ZONES), CENTURIES)
@example("Pacific/Apia", date(2011, 12, 30))
@example("Pacific/Kwajalein", date(1993, 8, 21))
@example("America/Juneau", date(1867, 10, 18))
@example("America/St_Johns", date(2006, 10, 29))
def test_local_days_have_no_gap_and_no_overlap(zone: str, day: date) -> None:
    start, end = local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)
    assert timedelta(0) <= end - start <= timedelta(hours=48)
    assert start.tzinfo is UTC
    if start < end:
        assert local_date(start, zone) == day
        assert local_date(start - timedelta(microseconds=1), zone) < day or start == end


@pytest.mark.slow
@pytest.mark.parametrize("first", ["1970-01-01", "2011-01-01"])
def test_the_days_of_two_years_follow_each_other_in_every_zone(first: str) -> None:
    days = [date.fromisoformat(first) + timedelta(days=day) for day in range(2 * 366)]
    for zone in ZONES:
        starts = [local_midnight(day, zone) for day in days]
        lengths = {end - start for start, end in pairwise(starts)}
        assert timedelta(0) <= min(lengths) and max(lengths) <= timedelta(hours=48), zone


@pytest.mark.slow
def test_the_years_of_400_years_follow_each_other_in_every_zone() -> None:
    for zone in ZONES:
        starts = [local_midnight(date(year, 1, 1), zone) for year in range(1800, 2201)]
        assert all(start < end for start, end in pairwise(starts)), zone


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Europe/Paris", True),
        ("UTC", True),
        ("europe/paris", False),
        ("Mars/Olympus", False),
        ("", False),
        ("../../etc/passwd", False),
        ("localtime", False),
        ("America", False),
    ],
)
def test_names_of_time_zones(name: str, known: bool) -> None:
    assert known_time_zone(name) is known


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(Refused, match="not an IANA time zone"):
        local_midnight(date(2024, 1, 1), "Mars/Olympus")
