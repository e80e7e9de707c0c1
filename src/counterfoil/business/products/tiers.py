"""What makes the tiers of a price right: side by side from zero, fit for the pricing model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
PACKED = ("package", "graduated", "volume")
"""Models whose tiers may count started packages."""
ONE_TIER = {
    "flat": "stairstep",
    "per_unit": "graduated or volume",
    "percentage": "graduated_percentage",
    "dynamic": "graduated",
}
"""Models with one tier, and what they are with several."""
WITHOUT_UNIT_AMOUNT = ("flat", "stairstep")
"""Models whose amounts are flat amounts."""
TIERS_ONLY = "a partial price sets tiers only; this comes from the price it lies over"


@dataclass(frozen=True, slots=True)
class Tier:
    """A quantity band (``from_quantity``, ``up_to``] in priced units, or packages of a package.

    ``up_to`` None means without end. Amounts are in the price's currency.
    """

    from_quantity: Decimal
    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal


@dataclass(frozen=True, slots=True)
class TierFault:
    """What is wrong with a price; ``place`` is the index of the tier, None for the price itself."""

    code: str
    message: str
    field: str
    place: int | None = None


def find_tier_faults(tiers: Sequence[Tier], *, partial: bool = False) -> list[TierFault]:
    """Faults of the bands, taken in the order given; whether the last is open is not asked.

    Those of a ``partial`` price need not lie side by side: what lies between is set elsewhere.
    """
    faults: list[TierFault] = []
    reached: Decimal | None = ZERO
    for place, tier in enumerate(tiers):
        faults.extend(_amount_faults(tier, place))
        if tier.up_to is not None and tier.up_to <= tier.from_quantity:
            message = f"{tier.up_to} is not above {tier.from_quantity}, where the tier begins"
            faults.append(TierFault("decreasing_bounds", message, "up_to", place))
        if reached is None:
            message = "the tier before has no up_to: only the last may be without end"
            faults.append(TierFault("overlapping_tiers", message, "from_quantity", place))
        elif tier.from_quantity < reached:
            message = f"begins at {tier.from_quantity}, the tier before reaches {reached}"
            faults.append(TierFault("overlapping_tiers", message, "from_quantity", place))
        elif tier.from_quantity > reached and not partial:
            message = f"begins at {tier.from_quantity}, nothing covers the range from {reached}"
            faults.append(TierFault("tier_gap", message, "from_quantity", place))
        reached = tier.up_to
    return faults


def find_model_faults(
    model: str,
    package_size: Decimal | None,
    included_quantity: Decimal,
    tiers: Sequence[Tier],
    *,
    partial: bool = False,
) -> list[TierFault]:
    """Faults of the price and its tiers together, for the pricing model.

    What a ``partial`` price does not set comes from the price it lies over.
    """
    faults: list[TierFault] = []
    if partial:
        field = "included_quantity"
        if package_size is not None:
            faults.append(TierFault("unexpected_package_size", TIERS_ONLY, "package_size"))
        if included_quantity != ZERO:
            faults.append(TierFault("unexpected_included_quantity", TIERS_ONLY, field))
        if model == "formula":
            message = "a partial price sets tiers, and a price that is a formula has none"
            faults.append(TierFault("unexpected_formula", message, "model"))
        return faults + _amount_of_model_faults(model, tiers)
    if model == "package" and package_size is None:
        message = "a package price needs a package_size above 0"
        faults.append(TierFault("missing_package_size", message, "package_size"))
    if model not in PACKED and package_size is not None:
        message = f"package_size belongs to {', '.join(PACKED)}, not to {model}"
        faults.append(TierFault("unexpected_package_size", message, "package_size"))
    elif package_size is not None and package_size <= ZERO:
        message = "a package holds more than 0"
        faults.append(TierFault("missing_package_size", message, "package_size"))
    if model == "flat" and included_quantity != ZERO:
        message = "a flat price has no included quantity"
        faults.append(TierFault("unexpected_included_quantity", message, "included_quantity"))
    if model == "formula":
        if included_quantity != ZERO:
            message = "a formula has no included quantity: write greatest(quantity - 100, 0)"
            faults.append(TierFault("unexpected_included_quantity", message, "included_quantity"))
        if tiers:
            message = "a price that is a formula has no tiers"
            faults.append(TierFault("unexpected_tiers", message, "", 0))
    return faults + find_tiers_of_model_faults(model, tiers)


def find_tiers_of_model_faults(model: str, tiers: Sequence[Tier]) -> list[TierFault]:
    """Faults of the tiers of a price, or of one of its cells, for the pricing model."""
    faults: list[TierFault] = []
    if model in ONE_TIER and len(tiers) > 1:
        message = f"a {model} price has one tier; with several it is {ONE_TIER[model]}"
        faults.append(TierFault("several_tiers", message, "", 1))
    return faults + _amount_of_model_faults(model, tiers)


def _amount_of_model_faults(model: str, tiers: Sequence[Tier]) -> list[TierFault]:
    """Unit amounts that the pricing model does not have."""
    faults: list[TierFault] = []
    if model in WITHOUT_UNIT_AMOUNT:
        message = f"a {model} price has no unit amount"
        faults.extend(
            TierFault("unexpected_unit_amount", message, "unit_amount", at)
            for at, tier in enumerate(tiers)
            if tier.unit_amount != ZERO
        )
    if model.endswith("percentage"):
        message = "is a fraction: 0.0299 is 2.99 percent; 1 is everything"
        faults.extend(
            TierFault("percentage_range", message, "unit_amount", at)
            for at, tier in enumerate(tiers)
            if tier.unit_amount > 1
        )
    return faults


def find_formula_faults(model: str, formula: str | None) -> list[TierFault]:
    """Faults of a price's formula beside its model."""
    if model == "formula" and formula is None:
        return [TierFault("missing_formula", "a price of this model needs a formula", "formula")]
    if model != "formula" and formula is not None:
        message = f"formula belongs to the model formula, not to {model}"
        return [TierFault("unexpected_formula", message, "formula")]
    return []


EVENT_TERMS = ("event_amount", "event_amount_minimum", "event_amount_maximum", "free_events")
"""The fields of a price that say what single usage events cost."""

_BY_QUANTITY = ("per_unit", "graduated", "percentage", "graduated_percentage")


def find_event_faults(model: str, price: Mapping[str, Any]) -> list[TierFault]:
    """Faults of what a price says of single events; ``price`` has the ``EVENT_TERMS``."""
    given = [name for name in EVENT_TERMS if price[name]]
    if given and (model not in _BY_QUANTITY or price["package_size"] is not None):
        of = model if price["package_size"] is None else "packages"
        message = f"belongs to the models {', '.join(_BY_QUANTITY)}, not to {of}"
        return [TierFault("unexpected_event_amount", message, given[0])]
    least, most = price["event_amount_minimum"], price["event_amount_maximum"]
    if least is not None and most is not None and most < least:
        message = below_minimum(most, least)
        return [TierFault("below_minimum", message, "event_amount_maximum")]
    return []


def find_partial_faults(price: Mapping[str, Any]) -> list[TierFault]:
    """What a partial price says beside its tiers; ``price`` has partial, the ``EVENT_TERMS`` and
    the bounds of a cycle."""
    fields = ("minimum_amount", "maximum_amount", *EVENT_TERMS)
    return [
        TierFault("unexpected_bound", TIERS_ONLY, name)
        for name in fields
        if price["partial"] and price[name]
    ]


def find_last_tier_faults(tiers: Sequence[Tier]) -> list[TierFault]:
    """The fault of a price that has no tier, or whose last tier has an end."""
    if not tiers:
        return [TierFault("missing_tiers", "a price needs at least one tier", "tiers")]
    if tiers[-1].up_to is None:
        return []
    message = f"the last tier must have no up_to: nothing covers the range from {tiers[-1].up_to}"
    return [TierFault("closed_last_tier", message, "up_to", len(tiers) - 1)]


def _amount_faults(tier: Tier, place: int) -> list[TierFault]:
    amounts = (
        ("from_quantity", tier.from_quantity),
        ("unit_amount", tier.unit_amount),
        ("flat_amount", tier.flat_amount),
    )
    return [
        TierFault("negative", f"{amount} is less than 0", name, place)
        for name, amount in amounts
        if amount < ZERO
    ]


def below_minimum(most: Decimal, least: Decimal) -> str:
    """What is said of a maximum that is less than the minimum beside it."""
    return f"{most} is less than the minimum, {least}"
