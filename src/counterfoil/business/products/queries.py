"""What is stored of products and prices, read for commands, rules and screens."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.products.cells import Cell, cell_of
from counterfoil.business.products.meters import POOLED
from counterfoil.business.products.owners import OWNER_JOINS, OWNER_NAME
from counterfoil.business.products.tiers import Tier
from counterfoil.platform.metadata import FieldType, Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

TierIds = dict[tuple[int, int], list[tuple[int, Tier]]]
"""Tiers with their record ids, by price and cell."""

PriceKey = tuple[str, str, str, str, bool]
"""Charge, layer, owner and currency, by external ids, and whether it is partial; the owner of a
list price is ""."""


@dataclass(frozen=True, slots=True)
class StoredPrice:
    """A stored price with its tiers in order."""

    id: int
    key: PriceKey
    valid_from: date | None
    valid_to: date | None
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
    cells: tuple[Cell, ...]

    @property
    def matrix(self) -> tuple[Cell, ...]:
        """The cells, as those of a price book are called."""
        return self.cells


def read_by_external_id(uow: UnitOfWork, entity: str, names: Iterable[str]) -> dict[str, Record]:
    """The records of an entity that have one of these external ids, by that id."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    table = uow.catalogue.entity(entity).name
    rows = uow.query(f'SELECT * FROM "{table}" WHERE external_id = ANY(:wanted)', wanted=wanted)
    return {str(row["external_id"]): row for row in rows}


def read_added_up(uow: UnitOfWork, charge_ids: Iterable[int]) -> set[int]:
    """Those of the charges whose usage is summed or counted, so that each event adds by itself."""
    rows = uow.query(
        "SELECT c.id FROM charge c JOIN meter m ON m.id = c.meter_id"
        " WHERE c.id = ANY(:charges) AND m.aggregation = ANY(:added) AND NOT m.carried_over",
        charges=sorted(set(charge_ids)),
        added=list(POOLED),
    )
    return {cast("int", row["id"]) for row in rows}


def read_tiers(uow: UnitOfWork, price_ids: Collection[int]) -> TierIds:
    """Tiers with their record ids, by price and cell, in order of quantity."""
    tiers: TierIds = {}
    for row in uow.query(
        "SELECT id, price_id, cell_no, from_quantity, up_to, unit_amount, flat_amount"
        " FROM price_tier WHERE price_id = ANY(:prices) ORDER BY price_id, cell_no, from_quantity",
        prices=list(price_ids),
    ):
        found = tiers.setdefault((cast("int", row["price_id"]), cast("int", row["cell_no"])), [])
        found.append((cast("int", row["id"]), tier_of(row)))
    return tiers


def read_cells(
    uow: UnitOfWork, price_ids: Collection[int], tiers: TierIds
) -> dict[int, list[Cell]]:
    """The cells of matrix prices with their tiers, by price."""
    cells: dict[int, list[Cell]] = {}
    for row in uow.query(
        "SELECT * FROM price_cell WHERE price_id = ANY(:prices) ORDER BY price_id, cell_no",
        prices=list(price_ids),
    ):
        price_id = cast("int", row["price_id"])
        own = tiers.get((price_id, cast("int", row["cell_no"])), [])
        cells.setdefault(price_id, []).append(cell_of(row, [tier for _, tier in own]))
    return cells


def read_cell_numbers(uow: UnitOfWork, charge_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """The numbers of the cells of charges, by charge and by what the cell asks for."""
    numbers: dict[int, dict[str, int]] = {}
    for row in uow.query(
        "SELECT DISTINCT p.charge_id, c.cell_no, c.name, c.conditions, c.days, c.from_time,"
        " c.to_time FROM price_cell c JOIN price p ON p.id = c.price_id"
        " WHERE p.charge_id = ANY(:charges)",
        charges=list(charge_ids),
    ):
        known = numbers.setdefault(cast("int", row["charge_id"]), {})
        known[cell_of(row).key] = cast("int", row["cell_no"])
    return numbers


def tier_of(row: Record) -> Tier:
    """The tier a price_tier record holds."""
    return Tier(
        from_quantity=cast("Decimal", row["from_quantity"]),
        up_to=cast("Decimal | None", row["up_to"]),
        unit_amount=cast("Decimal", row["unit_amount"]),
        flat_amount=cast("Decimal", row["flat_amount"]),
    )


def read_prices(
    uow: UnitOfWork, charges: Iterable[str], owners: Iterable[str] | None
) -> dict[PriceKey, list[StoredPrice]]:
    """The prices of these charges for these owners (external ids; "" for list prices) or all."""
    rows = uow.query(
        "SELECT * FROM ("
        f"SELECT price.*, charge.external_id AS charge, coalesce({OWNER_NAME}, '') AS owner"
        f" FROM price JOIN charge ON charge.id = price.charge_id{OWNER_JOINS}"
        " WHERE charge.external_id = ANY(:charges)) AS priced"
        " WHERE owner = ANY(:owners) OR :every",
        charges=sorted(set(charges)),
        owners=sorted(set(owners or ())),
        every=owners is None,
    )
    ids = [cast("int", row["id"]) for row in rows]
    tiers = read_tiers(uow, ids)
    cells = read_cells(uow, ids, tiers)
    prices: dict[PriceKey, list[StoredPrice]] = {}
    for row in rows:
        stored = _stored_price(row, tiers, cells)
        prices.setdefault(stored.key, []).append(stored)
    return prices


def read_used_prices(uow: UnitOfWork, price_ids: Sequence[int]) -> set[int]:
    """Those of the prices that something has been rated with.

    What refers to a price is read from the catalogue: this room knows nothing of those above it.
    """
    used: set[int] = set()
    if not price_ids:
        return used
    for entity in uow.catalogue.entities.values():
        for field in entity.fields:
            refers = field.type is FieldType.REFERENCE and field.target == "price"
            if refers and field.on_delete != "cascade":
                rows = uow.query(
                    f'SELECT DISTINCT "{field.name}" AS id FROM "{entity.name}"'
                    f' WHERE "{field.name}" = ANY(:prices)',
                    prices=list(price_ids),
                )
                used.update(cast("int", row["id"]) for row in rows)
    return used


def list_prices(uow: UnitOfWork, *, charge: str | None = None) -> list[Record]:
    """Every tier of every price, of one charge or of all, in the order of the price book.

    Fields: charge, layer, owner, currency, valid_from, valid_to, partial, model, package_size,
    included_quantity, cell, from_quantity, up_to, unit_amount, flat_amount, formula.
    """
    return uow.query(
        f"SELECT charge.external_id AS charge, price.layer, {OWNER_NAME} AS owner, price.currency,"
        " price.valid_from, price.valid_to, price.partial, price.model, price.package_size,"
        " price.included_quantity, cell.label AS cell, tier.from_quantity, tier.up_to,"
        " tier.unit_amount, tier.flat_amount, price.formula"
        f" FROM price JOIN charge ON charge.id = price.charge_id{OWNER_JOINS}"
        " LEFT JOIN price_tier AS tier ON tier.price_id = price.id"
        " LEFT JOIN price_cell AS cell ON cell.price_id = price.id AND cell.cell_no = tier.cell_no"
        " WHERE charge.external_id = coalesce(CAST(:charge AS text), charge.external_id)"
        " ORDER BY charge.id, price.layer, owner, price.currency, price.valid_from NULLS FIRST,"
        " tier.cell_no, tier.from_quantity",
        charge=charge,
    )


def _stored_price(row: Record, tiers: TierIds, cells: Mapping[int, list[Cell]]) -> StoredPrice:
    price_id = cast("int", row["id"])
    return StoredPrice(
        id=price_id,
        key=(
            str(row["charge"]),
            str(row["layer"]),
            str(row["owner"]),
            str(row["currency"]),
            bool(row["partial"]),
        ),
        valid_from=cast("date | None", row["valid_from"]),
        valid_to=cast("date | None", row["valid_to"]),
        model=str(row["model"]),
        package_size=cast("Decimal | None", row["package_size"]),
        included_quantity=cast("Decimal", row["included_quantity"]),
        formula=cast("str | None", row["formula"]),
        condition=cast("str | None", row["condition"]),
        minimum_amount=cast("Decimal | None", row["minimum_amount"]),
        maximum_amount=cast("Decimal | None", row["maximum_amount"]),
        event_amount=cast("Decimal", row["event_amount"]),
        event_amount_minimum=cast("Decimal | None", row["event_amount_minimum"]),
        event_amount_maximum=cast("Decimal | None", row["event_amount_maximum"]),
        free_events=cast("int", row["free_events"]),
        tiers=tuple(tier for _, tier in tiers.get((price_id, 0), [])),
        cells=tuple(cells.get(price_id, ())),
    )
