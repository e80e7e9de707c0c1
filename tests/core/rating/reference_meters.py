"""Meters that need more than a sum, slowly: what they read at an instant, and units by the day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from tests.core.rating.reference import (
    Billed,
    Item,
    Price,
    Rank,
    Rated,
    Tier,
    cost,
    epochs,
    half_up,
)

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Event:
    """Usage; ``name`` orders events of the same instant."""

    time: datetime
    name: str
    quantity: Fraction
    property: str | None = None


@dataclass(frozen=True)
class MeteredItem:
    """A usage item and the settings of its meter; ``item`` has neither events nor aggregation."""

    item: Item
    aggregation: str
    usage: tuple[Event, ...]
    percentile: Fraction | None = None
    unit_rounding: str = "exact"
    carried_over: bool = False
    stood: bool = False
    counted_from: date = date.min


def rate_metered(metered: MeteredItem, prices: Sequence[Price], rank: Rank) -> list[Rated]:
    """All rated charges of an item priced anew as a whole, its zone being UTC."""
    item = metered.item
    rated = []
    for number, (start, end, price) in enumerate(epochs(item, prices, rank)):
        billed = [b for b in item.billed if start <= b.start < end]
        inside = [e for e in _usage(metered) if start <= e.time.date() < end]
        before = _level(metered, start) if number else Fraction(0)
        after = _level(metered, end)
        if metered.stood:
            before = Fraction(0)
            amount = stood_cost(
                price,
                lambda day: _level(metered, day + DAY),
                [start + n * DAY for n in range((end - start).days)],
                [item.service_start + n * DAY for n in range((start - item.service_start).days)],
                (item.cycle_end - item.cycle_start).days,
            )
        else:
            amount = cost(price, after) - (cost(price, before) if number else 0)
        amount -= sum((b.exact_amount for b in billed), Fraction(0))
        quantity = after - before - sum((b.quantity for b in billed), Fraction(0))
        if quantity or amount or (inside and before == 0 and not billed):
            rated.append(
                Rated(
                    item.item_id,
                    start,
                    end,
                    price.price_id,
                    quantity,
                    half_up(amount, 15),
                    _rounded_together(amount, billed, item.minor_digits),
                )
            )
    return rated


def _usage(metered: MeteredItem) -> list[Event]:
    """The events that count."""
    asks = metered.aggregation == "unique_count"
    return [
        e
        for e in metered.usage
        if e.time >= midnight(metered.counted_from) and (e.property is not None or not asks)
    ]


def _level(metered: MeteredItem, day: date) -> Fraction:
    """Priced units the cycle has come to when a day begins."""
    item = metered.item
    value = reading(
        metered.aggregation,
        _usage(metered),
        begin=midnight(item.service_start),
        until=midnight(day),
        cycle=midnight(item.cycle_end) - midnight(item.cycle_start),
        percentile=metered.percentile,
    )
    return priced_units(value, item.unit_size, metered.unit_rounding)


def _rounded_together(amount: Fraction, billed: Sequence[Billed], digits: int) -> Decimal:
    whole = half_up(amount + sum((b.exact_amount for b in billed), Fraction(0)), digits)
    return whole - sum((half_up(b.amount, digits) for b in billed), Decimal(0))


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


def reading(
    aggregation: str,
    events: Sequence[Event],
    *,
    begin: datetime,
    until: datetime,
    cycle: timedelta,
    percentile: Fraction | None,
) -> Fraction:
    """What a meter reads at an instant; a weighted sum has counted from ``begin`` on."""
    seen = sorted((e for e in events if e.time < until), key=lambda e: (e.time, e.name))
    if aggregation == "count":
        return Fraction(len(seen))
    if aggregation == "sum":
        return sum((e.quantity for e in seen), Fraction(0))
    if aggregation == "max":
        return max((e.quantity for e in seen), default=Fraction(0))
    if aggregation == "latest":
        return seen[-1].quantity if seen else Fraction(0)
    if aggregation == "unique_count":
        there = {e.property: e.quantity >= 0 for e in seen if e.property is not None}
        return Fraction(sum(there.values()))
    if aggregation == "weighted_sum":
        area = sum((e.quantity * _seconds(until - max(e.time, begin)) for e in seen), Fraction(0))
        return Fraction(half_up(area / _seconds(cycle), 15))
    if not seen:
        return Fraction(0)
    assert percentile is not None
    ordered = sorted(e.quantity for e in seen)
    return ordered[ceil(percentile * len(ordered) / 100) - 1]


def _seconds(length: timedelta) -> Fraction:
    return Fraction(length // timedelta(microseconds=1), 1_000_000)


def priced_units(value: Fraction, unit_size: int, rounding: str) -> Fraction:
    """Meter units as units of the price."""
    quotient = value / unit_size
    if rounding == "up":
        return Fraction(ceil(quotient))
    if rounding == "down":
        return Fraction(floor(abs(quotient)) * (1 if quotient >= 0 else -1))
    return Fraction(half_up(quotient, 0 if rounding == "half_up" else 15))


def _reached(tier: Tier, units: Fraction) -> bool:
    return tier.start == 0 or units > tier.start


def _billable(price: Price, level: Fraction) -> Fraction:
    units = max(level - price.included, Fraction(0))
    return units if price.package_size is None else Fraction(ceil(units / price.package_size))


def stood_cost(
    price: Price,
    level_on: Callable[[date], Fraction],
    days: Sequence[date],
    days_before: Sequence[date],
    cycle_days: int,
) -> Fraction:
    """What the levels of these days cost, each unit its share of the cycle's days; flat amounts
    for what the highest level reached beyond that of the earlier days of the cycle."""
    levels = [_billable(price, level_on(day)) for day in days]
    peak_before = max((level_on(day) for day in days_before), default=None)
    peak = max([level_on(day) for day in days], default=Fraction(0))
    after = _billable(price, peak if peak_before is None else max(peak, peak_before))
    before = None if peak_before is None else _billable(price, peak_before)
    total = Fraction(0)
    for tier in price.tiers:
        if price.model in ("volume", "stairstep"):
            unit_days = sum(levels, Fraction(0)) if _banded(tier, levels[-1]) else Fraction(0)
            due = _banded(tier, after) - (before is not None and _banded(tier, before))
        else:
            unit_days = sum((_within(tier, units) for units in levels), Fraction(0))
            due = _reached(tier, after) - (before is not None and _reached(tier, before))
        if price.model == "flat":
            unit_days = Fraction(0)
        units = Fraction(half_up(unit_days / cycle_days, 15))
        total += units * tier.unit_amount + due * tier.flat_amount
    return total


def _banded(tier: Tier, units: Fraction) -> bool:
    return _reached(tier, units) and (tier.up_to is None or units <= tier.up_to)


def _within(tier: Tier, units: Fraction) -> Fraction:
    upper = units if tier.up_to is None else min(units, tier.up_to)
    return max(upper - tier.start, Fraction(0))
