"""A price book with a plan for every kind of charge that the state machine of billing sells."""

from fractions import Fraction

from tests.core.rating.reference import Price, Tier

from counterfoil.core.periods.cadence import Cadence

PERIODS = {
    "day": Cadence("day"),
    "week": Cadence("week"),
    "month": Cadence("month"),
    "quarter": Cadence("month", 3),
    "year": Cadence("year"),
}
ALIGNMENTS = ("calendar", "anniversary")
TIMINGS = ("in_advance", "in_arrears")
USAGE_PERIODS = ("day", "month", "quarter")
TIERS = [
    Tier(Fraction(0), Fraction(10), Fraction(22, 100), Fraction(3)),
    Tier(Fraction(10), Fraction(25), Fraction(1, 5), Fraction(0)),
    Tier(Fraction(25), None, Fraction(133, 1000), Fraction(1)),
]
GRADUATED = Price(1, "list", 0, None, None, "graduated", None, Fraction(2), tuple(TIERS))


def price_book() -> str:
    """A plan per kind of recurring charge, one of a fee, one of usage for some periods."""

    def prices(rest: str) -> str:
        return ", ".join(f"{{currency: {c}, {rest}}}" for c in ("USD", "JPY", "KWD"))

    recurring = [
        f"{{id: {timing}-{period}-{alignment}, product: p, name: N, charges: [{{"
        f"id: c-{timing}-{period}-{alignment}, name: Service, kind: recurring, timing: {timing}, "
        f"period: {period}, alignment: {alignment}, "
        f"prices: [{prices('model: per_unit, amount: 4999.95')}]}}]}}"
        for timing in TIMINGS
        for period in PERIODS
        for alignment in ALIGNMENTS
    ]
    graduated = (
        "model: graduated, included: 2, tiers: [{up_to: 10, amount: 0.22, flat: 3}, "
        "{up_to: 25, amount: 0.2}, {amount: 0.133, flat: 1}]"
    )
    usage = [
        f"{{id: usage-{period}-{alignment}, product: p, name: N, charges: ["
        f"{{id: minutes-{period}-{alignment}, name: Minutes, kind: usage, meter: seconds, "
        f"period: {period}, alignment: {alignment}, event_increment: 60, unit: minute, "
        f"unit_size: 60, prices: [{prices(graduated)}]}}, "
        f"{{id: calls-{period}-{alignment}, name: Calls, kind: usage, meter: calls, "
        f"period: {period}, alignment: {alignment}, "
        f"prices: [{prices('model: per_unit, amount: 1.5')}]}}]}}"
        for period in USAGE_PERIODS
        for alignment in ALIGNMENTS
    ]
    once = (
        "{id: once, product: p, name: N, charges: [{id: fee, name: Fee, kind: one_time, "
        f"prices: [{prices('model: flat, amount: 4999')}]}}]}}"
    )
    return (
        "products: [{id: p, name: P}]\n"
        "meters: [{id: seconds, name: Seconds, unit: second}, "
        "{id: calls, name: Calls, unit: call, aggregation: count}]\n"
        f"rate_plans: [{', '.join([*recurring, *usage, once])}]"
    )
