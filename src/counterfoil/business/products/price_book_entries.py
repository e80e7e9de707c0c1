"""The entries of a price book as values, each knowing where in the file it stands."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from counterfoil.business.products.cells import Cell
from counterfoil.business.products.owners import OWNERS
from counterfoil.business.products.tiers import Tier
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record

NOTATION = {
    "external_id": "id",
    "product_id": "product",
    "rate_plan_id": "rate_plan",
    "meter_id": "meter",
    "charge_id": "charge",
    "base_template_id": "base",
    **{owner.field: owner.key for owner in OWNERS},
    "period_unit": "period",
    "period_count": "every",
    "included_quantity": "included",
    "per_charge_id": "per",
    "from_quantity": "from",
    "unit_amount": "amount",
    "flat_amount": "flat",
    "conditions": "when",
    "from_time": "from",
    "to_time": "to",
    "from_amount": "from",
    "start_date": "start",
    "end_date": "end",
    "expiry_date": "expires",
}
"""How the notation calls a field, where it is not the field's own name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an entry stands: file, dotted path and line, and the lines of its fields."""

    file: str
    path: str
    line: int
    lines: Mapping[str, int]

    def problem(
        self, code: str, message: str, field: str = "", allowed: tuple[str, ...] = ()
    ) -> Problem:
        """A problem of this entry, at the line of the field (named as entities name it)."""
        key = NOTATION.get(field, field)
        path = ".".join(part for part in (self.path, key) if part)
        return Problem(code, message, path, allowed, self.file, self.lines.get(key, self.line))


class Placed(Protocol):
    """Anything that knows where it stands in a file."""

    @property
    def place(self) -> Place:
        """Where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A product, meter, rate plan, charge, price region or pricing template.

    ``values`` are the entity's fields without references; ``references`` name by field the
    external id of the record referred to.
    """

    entity: str
    values: Record
    references: Mapping[str, str]
    place: Place

    @property
    def external_id(self) -> str:
        """The id the book gives it."""
        return str(self.values["external_id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEntry:
    """A cell of a price."""

    cell: Cell
    place: Place
    tier_places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceEntry:
    """A price; ``owner`` is the external id of what its layer says it belongs to, or ""."""

    charge: str
    layer: str
    owner: str
    currency: str
    valid_from: date | None
    valid_to: date | None
    partial: bool
    model: str
    package_size: Decimal | None
    included_quantity: Decimal
    formula: str | None
    condition: str | None
    minimum_amount: Decimal | None
    maximum_amount: Decimal | None
    event_amount: Decimal
    event_amount_minimum: Decimal | None
    event_amount_maximum: Decimal | None
    free_events: int
    tiers: tuple[Tier, ...]
    cells: tuple[CellEntry, ...]
    place: Place
    tier_places: tuple[Place, ...]

    @property
    def key(self) -> tuple[str, str, str, str, bool]:
        """What it is the price of: charge, layer, owner, currency; whether it is partial."""
        return (self.charge, self.layer, self.owner, self.currency, self.partial)

    @property
    def matrix(self) -> tuple[Cell, ...]:
        """The cells, without their places in the file."""
        return tuple(entry.cell for entry in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentEntry:
    """The pricing template of an account from a day to a day; both by external id."""

    account: str
    template: str
    valid_from: date | None
    valid_to: date | None
    place: Place


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Everything a price book says, in the order of the file."""

    file: str
    entries: tuple[CatalogueEntry, ...]
    prices: tuple[PriceEntry, ...]
    assignments: tuple[AssignmentEntry, ...] = ()

    def of_entity(self, entity: str) -> list[CatalogueEntry]:
        """The entries of one entity."""
        return [entry for entry in self.entries if entry.entity == entity]
