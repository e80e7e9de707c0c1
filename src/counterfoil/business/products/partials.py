"""Partial prices: whether what they set fits a price they can lie over."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Protocol

from counterfoil.business.products.cells import Cell
from counterfoil.business.products.queries import PriceKey
from counterfoil.business.products.tiers import Tier
from counterfoil.core.rating.layers import SPECIFICITY


class Terms(Protocol):
    """A price, of a book or stored."""

    @property
    def key(self) -> PriceKey:
        """What it is the price of."""

    @property
    def valid_from(self) -> date | None:
        """First day; None: always."""

    @property
    def valid_to(self) -> date | None:
        """First day no longer valid."""

    @property
    def model(self) -> str:
        """The pricing model."""

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers in order; of a matrix price those for everything else."""

    @property
    def matrix(self) -> tuple[Cell, ...]:
        """The cells with their tiers."""


def find_misfit(partial: Terms, prices: Iterable[Terms]) -> str | None:
    """Why a partial price fits none of the whole prices it can lie over, or None.

    Without any such price nothing is said: it may come later, and rating looks again.
    """
    below = [price for price in prices if _can_lie_over(partial, price)]
    below.sort(key=lambda price: SPECIFICITY[price.key[1]], reverse=True)
    faults = [_fault(partial, price) for price in below]
    if not faults or None in faults:
        return None
    return faults[0]


def _can_lie_over(partial: Terms, price: Terms) -> bool:
    """Whether a whole price is less specific and holds on one of the days."""
    charge, layer, owner, currency, _ = partial.key
    other_charge, other_layer, other_owner, other_currency, other_partial = price.key
    if other_partial or not _bands(price) or (charge, currency) != (other_charge, other_currency):
        return False
    # A template may build on another one, an account lie below another one.
    same_layer = layer == other_layer and (owner == other_owner or layer in ("template", "account"))
    if not same_layer and SPECIFICITY[other_layer] >= SPECIFICITY[layer]:
        return False
    begins, ends = partial.valid_from or date.min, partial.valid_to or date.max
    return (price.valid_from or date.min) < ends and begins < (price.valid_to or date.max)


def _fault(partial: Terms, price: Terms) -> str | None:
    """What does not fit between a partial price and one it lies over."""
    said = f"the partial price of {_who(partial)} does not fit the price of {_who(price)}"
    if partial.model != price.model:
        return f"{said}: one is {partial.model}, the other {price.model}"
    known = _bands(price)
    for cell, (label, tiers) in _bands(partial).items():
        if cell not in known:
            return f"{said}, which has nothing for {label}: it has {_listed(known)}"
        fault = _tier_fault(tiers, known[cell][1])
        if fault is not None:
            return f"{said}{fault}" if cell == _ELSE else f"{said} in {label}{fault}"
    return None


_ELSE = ""


def _bands(price: Terms) -> dict[str, tuple[str, tuple[Tier, ...]]]:
    """In words, and the tiers, of each cell and of everything else, by what it asks for."""
    bands = {_ELSE: ("everything else", price.tiers)} if price.tiers else {}
    return bands | {cell.key: (cell.label, cell.tiers) for cell in price.matrix}


def _listed(bands: Mapping[str, tuple[str, tuple[Tier, ...]]]) -> str:
    return "; ".join(label for label, _ in bands.values())


def _tier_fault(tiers: Sequence[Tier], whole: Sequence[Tier]) -> str | None:
    """What does not fit between the tiers of a partial price and those they lie over."""
    bounds = {tier.from_quantity: tier.up_to for tier in whole}
    for tier in tiers:
        if tier.from_quantity not in bounds:
            return f", which has no tier from {_number(tier.from_quantity)}: {_all(whole)}"
        if tier.up_to != bounds[tier.from_quantity]:
            return (
                f": the tier from {_number(tier.from_quantity)} ends at "
                f"{_number(tier.up_to)}, there at {_number(bounds[tier.from_quantity])}"
            )
    return None


def _who(price: Terms) -> str:
    _, layer, owner, _, _ = price.key
    return f"{layer} {owner}" if owner else f"the {layer}"


def _all(tiers: Sequence[Tier]) -> str:
    return f"its tiers begin at {', '.join(_number(tier.from_quantity) for tier in tiers)}"


def _number(number: object) -> str:
    text = "without end" if number is None else f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
