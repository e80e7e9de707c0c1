"""Rating once more, slowly and obviously: one item at a time, with fractions.

The engine's statements are compared with this. It is written from the rules in the room's README,
not from the statements.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor


@dataclass(frozen=True)
class Tier:
    start: Fraction
    up_to: Fraction | None
    unit_amount: Fraction
    flat_amount: Fraction


@dataclass(frozen=True)
class Price:
    price_id: int
    layer: str
    owner_id: int
    valid_from: date | None
    valid_to: date | None
    model: str
    package_size: Fraction | None
    included: Fraction
    tiers: tuple[Tier, ...]
    partial: bool = False
    formula: Callable[[Fraction], Fraction] | None = None

    def holds_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_to is None or day < self.valid_to
        )


@dataclass(frozen=True)
class Billed:
    """What an earlier invoice billed of an item's cycle."""

    start: date
    end: date
    price_id: int
    quantity: Fraction
    exact_amount: Fraction
    amount: Fraction


@dataclass(frozen=True)
class Item:
    item_id: int
    kind: str
    minor_digits: int
    cycle_start: date
    cycle_end: date
    service_start: date
    service_end: date
    quantity: Fraction = Fraction(1)
    prorated: bool = True
    one_price: bool = False
    aggregation: str = "sum"
    event_minimum: Fraction | None = None
    event_increment: Fraction | None = None
    unit_size: int = 1
    events: tuple[tuple[datetime, Fraction], ...] = ()
    billed: tuple[Billed, ...] = field(default=())


@dataclass(frozen=True)
class Rated:
    item_id: int
    service_start: date
    service_end: date
    price_id: int
    quantity: Fraction
    exact_amount: Decimal
    amount: Decimal


def half_up(value: Fraction, digits: int) -> Decimal:
    """Half away from zero to so many digits."""
    sign = -1 if value < 0 else 1
    units = floor(abs(value) * 10**digits + Fraction(1, 2))
    return Decimal(sign * units).scaleb(-digits)


Rank = Callable[[str, int, date], int]
"""How specific the prices of a layer and owner are on a day; 0 where they are not looked at."""


def winning_price(prices: Sequence[Price], rank: Rank, day: date) -> Price | None:
    """The most specific whole price, with the tiers that more specific partial ones set."""
    ranked = [((rank(p.layer, p.owner_id, day), p.partial), p) for p in prices if p.holds_on(day)]
    ranked = sorted((found for found in ranked if found[0][0]), key=lambda found: found[0])
    whole = [found for found in ranked if not found[1].partial]
    if not whole:
        return None
    place, price = whole[-1]
    for above, partial in ranked:
        if partial.partial and above > place:
            price = laid_over(price, partial)
    return price


def laid_over(price: Price, partial: Price) -> Price:
    """The price with the tiers of a partial one in place of its own."""
    set_tiers = {tier.start: tier for tier in partial.tiers}
    return replace(price, tiers=tuple(set_tiers.get(tier.start, tier) for tier in price.tiers))


def cost(price: Price, quantity: Fraction, *, included: bool = True) -> Fraction:
    """G(Q): what a cycle's total quantity costs."""
    if price.formula is not None:
        return Fraction(half_up(price.formula(quantity), 15))
    units = max(quantity - (price.included if included else 0), Fraction(0))
    if price.package_size is not None:
        units = Fraction(-(-units // price.package_size))
    if price.model in ("volume", "stairstep"):
        tier = next(t for t in price.tiers if t.up_to is None or units <= t.up_to)
        return units * tier.unit_amount + tier.flat_amount
    total = Fraction(0)
    for tier in price.tiers:
        if tier.start == 0 or units > tier.start:
            upper = units if tier.up_to is None else min(units, tier.up_to)
            used = Fraction(0) if price.model == "flat" else upper - tier.start
            total += used * tier.unit_amount + tier.flat_amount
    return total


def counted(item: Item, quantity: Fraction) -> Fraction:
    """What one event counts for, in meter units."""
    if item.aggregation == "count":
        return Fraction(1)
    if item.aggregation == "max" or quantity <= 0:
        return quantity
    least = max(quantity, item.event_minimum or Fraction(0))
    if item.event_increment is None:
        return least
    return -(-least // item.event_increment) * item.event_increment


def days_between(start: date, end: date) -> list[date]:
    return [start + timedelta(days=n) for n in range((end - start).days)]


def sources(prices: Sequence[Price], rank: Rank, day: date) -> tuple[int, ...]:
    """The whole price that wins on a day and the partial ones above it, by their ids."""
    winner = winning_price(prices, rank, day)
    assert winner is not None
    whole = next(p for p in prices if p.price_id == winner.price_id)
    place = (rank(whole.layer, whole.owner_id, day), False)
    above = [
        p.price_id
        for p in prices
        if p.partial and p.holds_on(day) and (rank(p.layer, p.owner_id, day), True) > place
    ]
    return (winner.price_id, *above)


def epochs(item: Item, prices: Sequence[Price], rank: Rank) -> list[tuple[date, date, Price]]:
    """Day by day: which price wins; a new epoch where the winner, or what lies over it, changes."""
    if item.one_price:
        price = winning_price(prices, rank, item.service_start)
        assert price is not None
        return [(item.service_start, item.service_end, price)]
    found: list[tuple[date, date, Price]] = []
    before: tuple[int, ...] = ()
    for day in days_between(item.service_start, item.service_end):
        billed_at = [b.price_id for b in item.billed if b.start <= day < b.end]
        price = next((p for p in prices if p.price_id in billed_at), None)
        of_day = (price.price_id,) if price else sources(prices, rank, day)
        price = price or winning_price(prices, rank, day)
        assert price is not None
        if of_day == before:
            found[-1] = (found[-1][0], day + timedelta(days=1), price)
        else:
            found.append((day, day + timedelta(days=1), price))
        before = of_day
    return found


def rate(item: Item, prices: Sequence[Price], rank: Rank) -> list[Rated]:
    """All rated charges of an item, its zone being UTC."""
    rated = []
    before = sum((billed.quantity for billed in item.billed), Fraction(0))
    seen_before = bool(item.billed)
    for number, (start, end, price) in enumerate(epochs(item, prices, rank)):
        if item.kind == "usage":
            inside = [q for at, q in item.events if start <= at.date() < end]
            inside_billed = [b for b in item.billed if start <= b.start < end]
            units = [counted(item, q) for q in inside]
            if item.aggregation == "max":
                peak = Fraction(half_up(max(units, default=Fraction(0)) / item.unit_size, 15))
                after = max(before, peak)
            else:
                new = Fraction(half_up(sum(units, Fraction(0)) / item.unit_size, 15))
                after = before + new - sum((b.quantity for b in inside_billed), Fraction(0))
            amount = cost(price, after)
            if seen_before or number > 0:
                amount -= cost(price, before)
            if after != before or amount != 0 or (inside and before == 0):
                exact = half_up(amount, 15)
                rated.append(
                    Rated(
                        item.item_id,
                        start,
                        end,
                        price.price_id,
                        after - before,
                        exact,
                        _rounded_together(amount, inside_billed, item.minor_digits),
                    )
                )
            before = after
            continue
        amount = cost(price, item.quantity)
        if item.kind == "recurring" and item.prorated:
            amount = amount * (end - start).days / (item.cycle_end - item.cycle_start).days
        rated.append(
            Rated(
                item.item_id,
                start,
                end,
                price.price_id,
                item.quantity,
                half_up(amount, 15),
                half_up(amount, item.minor_digits),
            )
        )
    return rated


def _rounded_together(amount: Fraction, billed: Sequence[Billed], digits: int) -> Decimal:
    """What is left to bill once this amount and what was billed before are rounded as one."""
    whole = half_up(amount + sum((b.exact_amount for b in billed), Fraction(0)), digits)
    return whole - sum((Decimal(half_up(b.amount, digits)) for b in billed), Decimal(0))
