"""Changes of subscriptions as values: what is asked, what stands, and what comes of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from counterfoil.business.products.price_terms import PriceTerms
from counterfoil.core.periods.cadence import (
    Cadence,
    calendar_anchor,
    cycle_index,
    cycle_start,
)
from counterfoil.core.problems import Problem, Refused

_DAYS_OF = {"day": 1, "week": 7, "month": 30, "year": 365}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of one subscription (id).

    ``day`` is the first day of the new state; without it ``next_period`` says the beginning of
    the next cycle, and otherwise it is today, where the account is billed. ``proration`` says how
    a change within a cycle is billed: ``by_day``, ``by_second`` (from the instant ``at`` on, or
    now), ``none`` (from the next cycle on) or ``full`` (the whole cycle by the new state). Which
    of the other fields count, the kind decides; names are external ids. ``until`` is the new end,
    the end of the term or of the trial. A new price is an ``amount`` per unit, or a ``price`` with
    all that price books can say.

    A renewal with ``uplift_percent`` (by default that of the subscription) needs the ``prices`` of
    the new term by charge (id), a termination that costs ``fee_percent`` of the remaining term its
    ``amount`` and ``fee_basis``: billing.changing, which knows the prices, finds them and says that
    the change is ``priced``.
    """

    subscription: int
    kind: str
    day: date | None = None
    next_period: bool = False
    proration: str = "by_day"
    at: datetime | None = None
    rate_plan: str | None = None
    charge: str | None = None
    quantity: Decimal | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    amount: Decimal | None = None
    price: PriceTerms | None = None
    uplift_percent: Decimal | None = None
    prices: Mapping[int, PriceTerms] = field(default_factory=dict)
    fee_percent: Decimal | None = None
    fee_basis: Mapping[str, object] | None = None
    priced: bool = False
    charged: bool = False
    until: date | None = None
    account: str | None = None
    site: str | None = None
    successor: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """A charge as far as changes go by it."""

    id: int
    external_id: str
    rate_plan_id: int
    kind: str
    cadence: Cadence
    alignment: str
    free_in_trial: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One charge with one quantity from ``start`` to ``end``; ``ended_by`` is an amendment."""

    id: int
    terms: Terms
    quantity: Decimal
    start: date
    end: date | None
    ended_by: int | None
    start_offset: int = 0
    end_offset: int = 0

    def runs_on(self, day: date) -> bool:
        """Whether service is given on the day."""
        return self.start <= day and (self.end is None or day < self.end)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An amendment made before."""

    id: int
    kind: str
    day: date
    billed_from: date
    rate_plan_id: int | None
    charged: bool


@dataclass(frozen=True, slots=True)
class State:
    """A subscription with its parts and amendments, in order of their days."""

    id: int
    external_id: str
    rate_plan_id: int
    start: date
    end: date | None
    trial_end: date | None
    billing_start: date | None
    anchor: date
    own_anchor: date | None
    term_end: date | None
    uplift_percent: Decimal | None
    cycle_day: int
    today: date
    now: datetime
    time_zone: str
    parts: tuple[Part, ...]
    earlier: tuple[Earlier, ...]

    def plan_on(self, day: date) -> int:
        """The id of the rate plan agreed for the day."""
        plan = self.rate_plan_id
        for one in self.earlier:
            if one.day <= day and one.kind in ("change_plan", "renew") and one.rate_plan_id:
                plan = one.rate_plan_id
        return plan

    def add_ons_on(self, day: date) -> list[int]:
        """The ids of the further plans agreed for the day."""
        held: list[int] = []
        for one in self.earlier:
            if one.day > day or one.rate_plan_id is None:
                continue
            if one.kind == "add_on":
                held.append(one.rate_plan_id)
            elif one.kind == "remove_add_on" and one.rate_plan_id in held:
                held.remove(one.rate_plan_id)
        return held

    def suspension_on(self, day: date) -> Earlier | None:
        """The suspension in force on the day."""
        found = None
        for one in self.earlier:
            if one.day <= day and one.kind in ("suspend", "resume"):
                found = one if one.kind == "suspend" else None
        return found

    def cycle(self, terms: Terms, day: date) -> tuple[date, date]:
        """The cycle of a charge that the day lies in."""
        cadence = terms.cadence
        anchor = self.anchor
        if terms.alignment == "calendar":
            anchor = calendar_anchor(cadence.unit, self.cycle_day)
        k = cycle_index(anchor, cadence, day)
        return cycle_start(anchor, cadence, k), cycle_start(anchor, cadence, k + 1)

    def leading(self, day: date) -> Part | None:
        """Of the recurring charges that run on the day the one with the longest cycle."""
        running = [p for p in self.parts if p.terms.kind == "recurring" and p.runs_on(day)]
        return max(running, key=lambda p: length_of(p.terms.cadence), default=None)


@dataclass(frozen=True, slots=True)
class Begun:
    """A part that begins."""

    charge_id: int
    quantity: Decimal
    start: date
    end: date | None
    recurring: bool = False
    end_offset: int = 0


@dataclass(slots=True)
class Effects:
    """What a change comes to; ``fields`` are new values of the subscription.

    Of a change by the second the boundary lies ``offset`` seconds after the midnight at which
    ``billed_from`` begins, before it when negative.
    """

    day: date
    billed_from: date
    offset: int = 0
    at: datetime | None = None
    ends: dict[int, date] = field(default_factory=dict)
    begins: list[Begun] = field(default_factory=list)
    fields: dict[str, object] = field(default_factory=dict)
    rate_plan_id: int | None = None
    charge: Terms | None = None
    until: date | None = None
    prices: dict[int, tuple[date, PriceTerms]] = field(default_factory=dict)
    once: bool = False
    moved: tuple[Begun, ...] | None = None


def begun_offset(effects: Effects, begun: Begun) -> int:
    """So many seconds after its first midnight a part begins that a change by the second begins."""
    return effects.offset if begun.recurring and begun.start == effects.billed_from else 0


@dataclass(frozen=True, slots=True)
class Plans:
    """Rate plans by external id, and their charges."""

    ids: Mapping[str, int]
    charges: Mapping[int, Sequence[Terms]]


def length_of(cadence: Cadence) -> int:
    """About how many days a cycle has."""
    return _DAYS_OF[cadence.unit] * cadence.count


def refusal(code: str, message: str, name: str, allowed: Iterable[str] = ()) -> Refused:
    """What is raised when a change is not possible."""
    return Refused(Problem(code, message, name, tuple(allowed)))
