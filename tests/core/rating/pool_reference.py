"""Pools and allowances once more, slowly: one event after the other, with fractions."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from tests.core.rating.reference import Item, Price, Tier, cost, counted, half_up


@dataclass(frozen=True)
class Allowance:
    """So many priced units for these items, drawn in the order of the ranks."""

    allowance_id: int
    rank: int
    capacity: Fraction
    items: frozenset[int]


@dataclass(frozen=True)
class Pooled:
    """What an item comes to: all its units, those covered by allowances, and its amount."""

    item_id: int
    quantity: Fraction
    drawn: Fraction
    amount: Decimal


@dataclass(frozen=True)
class _Event:
    at: datetime
    name: str
    item: Item
    units: Fraction
    left: Fraction


def rate_pools(
    items: Sequence[Item],
    pools: dict[int, int],
    prices: dict[int, Price],
    allowances: Sequence[Allowance],
) -> list[Pooled]:
    """Every item's share; ``pools`` is the pool of each item, ``prices`` its one price."""
    events = _draw(_in_line(items, pools), allowances)
    reach: dict[int, Fraction] = defaultdict(Fraction)
    for event in events:
        reach[pools[event.item.item_id]] += event.left
    amounts: dict[int, Fraction] = defaultdict(Fraction)
    for pool in set(pools.values()):
        first = min(item for item, its in pools.items() if its == pool)
        amounts[first] += _price(prices[first], Fraction(0), reach[pool])
    stands: dict[int, Fraction] = defaultdict(Fraction)
    for event in events:
        pool, price = pools[event.item.item_id], prices[event.item.item_id]
        before, after = stands[pool], stands[pool] + event.left
        stands[pool] = after
        amounts[event.item.item_id] += _price(price, after, reach[pool]) - _price(
            price, before, reach[pool]
        )
    return [_share(item, events, amounts[item.item_id]) for item in items]


def _share(item: Item, events: Sequence[_Event], amount: Fraction) -> Pooled:
    own = [event for event in events if event.item is item]
    return Pooled(
        item.item_id,
        sum((event.units for event in own), Fraction(0)),
        sum((event.units - event.left for event in own), Fraction(0)),
        half_up(amount, item.minor_digits),
    )


def _in_line(items: Sequence[Item], pools: dict[int, int]) -> list[_Event]:
    """All events in order of time; units are what each adds to its pool's priced total."""
    line = sorted(
        (
            (at, f"{item.item_id}-{number}", item, quantity)
            for item in items
            for number, (at, quantity) in enumerate(item.events)
        ),
        key=lambda event: event[:2],
    )
    total: dict[int, Fraction] = defaultdict(Fraction)
    events = []
    for at, name, item, quantity in line:
        if not item.service_start <= at.date() < item.service_end:
            continue
        pool = pools[item.item_id]
        before = half_up(total[pool] / item.unit_size, 15)
        total[pool] += counted(item, quantity)
        units = Fraction(half_up(total[pool] / item.unit_size, 15)) - Fraction(before)
        events.append(_Event(at, name, item, units, units))
    return events


def _draw(events: list[_Event], allowances: Sequence[Allowance]) -> list[_Event]:
    for allowance in sorted(allowances, key=lambda one: one.rank):
        left = allowance.capacity
        drawn = []
        for event in events:
            taken = Fraction(0)
            if event.item.item_id in allowance.items:
                taken = min(left, event.left)
                left -= taken
            drawn.append(_Event(event.at, event.name, event.item, event.units, event.left - taken))
        events = drawn
    return events


def _price(price: Price, units: Fraction, reach: Fraction) -> Fraction:
    """G of a position in a pool that comes to ``reach``, by which a volume price has its band."""
    if price.model != "volume":
        return cost(price, units)
    band = _band(price.tiers, max(reach - price.included, Fraction(0)))
    return max(units - price.included, Fraction(0)) * band.unit_amount + band.flat_amount


def _band(tiers: Sequence[Tier], units: Fraction) -> Tier:
    return next(tier for tier in tiers if tier.up_to is None or units <= tier.up_to)
