"""Where a local day begins on the time line.

Billing counts local days and stores instants: this is the only crossing between the two.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from counterfoil.core.problems import Problem, Refused

# Names that installations carry beside the IANA zones and that mean another zone on each machine.
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})


def local_midnight(day: date, time_zone: str) -> datetime:
    """The instant (aware, UTC) at which that local day begins.

    Where clocks skip midnight, it is the first instant after the skip; where they show midnight
    twice, the first time; a day that a zone skipped altogether begins where the next one does.
    Refuses an unknown time zone.
    """
    place = zone(time_zone)
    midnight = datetime.combine(day, time(), tzinfo=place)
    instant = midnight.astimezone(UTC)
    shown = instant.astimezone(place)
    if (shown.date(), shown.time()) == (day, time()):
        return instant
    # Midnight is skipped; the skip lies between its readings with the offsets after and before.
    before = midnight.replace(fold=1).astimezone(UTC)
    return _first_instant(day, place, before, instant)


def local_date(instant: datetime, time_zone: str) -> date:
    """The day the calendar shows there at that (aware) instant. Refuses an unknown time zone."""
    return instant.astimezone(zone(time_zone)).date()


def known_time_zone(name: str) -> bool:
    """Whether that is the name of an IANA time zone, in its exact spelling."""
    return name in _names()


def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name; refuses an unknown one."""
    if not known_time_zone(name):
        raise Refused(unknown_time_zone(name))
    return ZoneInfo(name)


def unknown_time_zone(name: object, field: str = "time_zone") -> Problem:
    """What is said of a name that is no IANA time zone."""
    return Problem(
        "unknown_time_zone",
        f"{name!r} is not an IANA time zone; a name looks like Europe/Paris or UTC",
        field,
    )


def _first_instant(day: date, place: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second in (before, after] whose local date is not before the day."""
    low, high = 0, (after - before) // timedelta(seconds=1)
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(place).date() >= day:
            high = middle
        else:
            low = middle
    return before + timedelta(seconds=high)


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES
