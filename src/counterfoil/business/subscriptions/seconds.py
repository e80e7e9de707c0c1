"""Changes by the second: where their boundary lies, and which days they share.

Service stays a row of parts from day to day. A change within a day moves the boundary by so many
seconds from the midnight before it, or after it: whichever is neither the beginning nor the end of
a cycle or of a part, so that both sides have days of their own there. Their seconds add up to those
of the cycle exactly.
"""

from datetime import date, datetime, timedelta

from counterfoil.business.subscriptions.changes import Change, Effects, Part, State, refusal
from counterfoil.core.periods.zones import local_midnight

WHOLE_DAYS = ("change_end", "renew", "trial", "charge_once")
"""Kinds of changes that happen at the beginning of a day."""


def instant_of(state: State, change: Change) -> datetime:
    """When a change by the second happens: when it says, or now."""
    if change.kind in WHOLE_DAYS:
        message = f"{change.kind} begins with a day: it has no seconds"
        raise refusal("whole_days", message, "proration", ("by_day", "none", "full"))
    if change.at is None and (change.day is not None or change.next_period):
        message = "is missing: a change by the second needs its instant, not a day"
        raise refusal("missing", message, "at")
    return (change.at or state.now).replace(microsecond=0)


def by_the_second(state: State, change: Change, day: date) -> Effects:
    """The boundary of a change by the second, beside the midnight of its day or of the next."""
    at = instant_of(state, change)
    after = int((at - local_midnight(day, state.time_zone)).total_seconds())
    if after == 0:
        return Effects(day, day, at=at)
    next_day = day + timedelta(days=1)
    before = int((at - local_midnight(next_day, state.time_zone)).total_seconds())
    running = [p for p in state.parts if p.terms.kind == "recurring" and p.runs_on(day)]
    if not any(_is_edge(state, part, day) for part in running):
        return Effects(day, day, after, at)
    if not any(_is_edge(state, part, next_day) for part in running):
        return Effects(day, next_day, before, at)
    message = f"cycles begin and end on {day}: change by the day, or on another one"
    raise refusal("no_room", message, "at")


def _is_edge(state: State, part: Part, day: date) -> bool:
    """Whether a cycle or the part itself begins or ends with the day."""
    return day in (part.start, part.end) or state.cycle(part.terms, day)[0] == day


def refuse_split_days(state: State, change: Change, effects: Effects) -> None:
    """A boundary within a day has two sides, and both have to move: refuses what would move one."""
    for part in state.parts:
        end = effects.ends.get(part.id)
        if end is None:
            continue
        never = end <= part.start
        stays = [one for one in state.parts if _meets(one, part) and one.id not in effects.ends]
        if (never and part.start_offset and stays) or _turns_back(state, part, effects):
            message = f"{state.external_id} has a change by the second next to {part.start}"
            raise refusal("split_day", f"{message}: choose another day, or a later instant", "day")
        if part.end_offset and part.end is not None and end > part.end:
            message = f"{state.external_id} ended within a day: begin a new subscription"
            raise refusal("ended_already", message, "until")
        if change.kind == "transfer" and part.start_offset and part.start > effects.billed_from:
            message = f"{state.external_id} has a later change by the second, on {part.start}"
            raise refusal("later_amendment", message, "day")


def _meets(one: Part, part: Part) -> bool:
    """Whether it ends within a day where the other begins."""
    return bool(one.end_offset and one.end == part.start and one.start != one.end)


def _turns_back(state: State, part: Part, effects: Effects) -> bool:
    """Whether the instant of a change lies before the one at which the part began, that day."""
    if effects.at is None or not part.start_offset or part.start != effects.day:
        return False
    begun = local_midnight(part.start, state.time_zone) + timedelta(seconds=part.start_offset)
    return effects.at <= begun
