"""What records of this room must obey, whoever writes them: commands, REST or a file.

Set-based: one call for all rows of a write, a fixed number of queries.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import cast

from counterfoil.business.accounts.rules import lock_layers
from counterfoil.business.products.cells import (
    Cell,
    cell_of,
    find_cell_faults,
    find_matrix_faults,
    find_overlapping_cells,
)
from counterfoil.business.products.charges import find_charge_problems
from counterfoil.business.products.custom_fields import check_retired_fields
from counterfoil.business.products.formulas import (
    find_charge_formula_problems,
    find_price_formula_problems,
)
from counterfoil.business.products.meters import (
    find_meter_problems,
    find_metered_charge_problems,
)
from counterfoil.business.products.owners import OWNER_FIELDS, OWNER_OF, OWNERS
from counterfoil.business.products.partials import find_misfit
from counterfoil.business.products.queries import (
    TierIds,
    read_added_up,
    read_cell_numbers,
    read_prices,
    read_tiers,
    read_used_prices,
    tier_of,
)
from counterfoil.business.products.tiers import (
    EVENT_TERMS,
    Tier,
    TierFault,
    below_minimum,
    find_event_faults,
    find_formula_faults,
    find_model_faults,
    find_partial_faults,
    find_tier_faults,
)
from counterfoil.core.money.currencies import CURRENCIES, unknown_currency
from counterfoil.core.periods.validity import Validity, describe_overlap, find_overlaps
from counterfoil.core.problems import Problem, line_among
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

_KEY = ("charge_id", "layer", "partial", *OWNER_FIELDS)
_OWNER_IDS = tuple(owner.field for owner in OWNERS if owner.entity)
_OWNER_NAMES = tuple(owner.field for owner in OWNERS if not owner.entity)
_PRICED = (
    "model",
    "formula",
    "condition",
    "package_size",
    "included_quantity",
    "valid_from",
    "minimum_amount",
    "maximum_amount",
    *EVENT_TERMS,
)


def check_charges(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """A charge's settings must belong to its kind and fit its meter, and its formulas be right."""
    del old_rows
    wanted = [row["meter_id"] for row in rows if row["meter_id"] is not None]
    meters = {
        row["id"]: row for row in uow.query("SELECT * FROM meter WHERE id = ANY(:ids)", ids=wanted)
    }
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        problems.extend(find_charge_problems(row, line_among(rows, place)))
        if row["meter_id"] in meters:
            meter = meters[row["meter_id"]]
            problems.extend(find_metered_charge_problems(row, meter, line_among(rows, place)))
    return problems + find_charge_formula_problems(uow, rows)


def check_meters(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """A meter's settings must belong to its aggregation, and its charges must still fit it."""
    known = [row["id"] for row, old in zip(rows, old_rows, strict=True) if old is not None]
    charges = uow.query("SELECT * FROM charge WHERE meter_id = ANY(:ids)", ids=known)
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        line = line_among(rows, place)
        problems.extend(find_meter_problems(row, line))
        if any(
            find_metered_charge_problems(charge, row)
            for charge in charges
            if charge["meter_id"] == row["id"]
        ):
            message = "does not fit the charges that use this meter"
            problems.append(Problem("not_for_its_charges", message, "aggregation", line=line))
    return problems


def check_prices(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Prices have a known currency, the owner of their layer, and no rival on any day.

    A price that something was rated with keeps its terms; only its end may still be set.
    """
    lock_layers(uow)
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        problems.extend(_find_price_problems(row, line_among(rows, place)))
    problems.extend(_find_rivals(uow, rows))
    problems.extend(find_price_formula_problems(uow, rows))
    problems.extend(_find_event_terms_without_events(uow, rows))
    problems.extend(_find_terms_without_groups(uow, rows))
    changed = {
        cast("int", row["id"]): place
        for place, (row, old) in enumerate(zip(rows, old_rows, strict=True))
        if old is not None and any(row[name] != old[name] for name in _PRICED)
    }
    used = read_used_prices(uow, list(changed))
    tiers = read_tiers(uow, list(changed)) if changed else {}
    for price_id, place in changed.items():
        row, line = rows[place], line_among(rows, place)
        if price_id in used:
            problems.append(used_price_problem("model", line))
        problems.extend(
            Problem(fault.code, fault.message, "model", line=line)
            for (owner, _), bands in tiers.items()
            if owner == price_id
            for fault in _model_faults(row, [tier for _, tier in bands])
            if fault.place is not None
        )
    return problems


def check_price_tiers(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """The tiers of each price written to must fit together and fit its pricing model.

    Tiers may come one at a time, from zero upwards: that the last one is open is not asked here.
    A price without an open last tier is unfinished and cannot rate what lies above it.
    """
    del old_rows
    price_ids = sorted({cast("int", row["price_id"]) for row in rows})
    prices = {
        cast("int", row["id"]): row
        for row in uow.query("SELECT * FROM price WHERE id = ANY(:ids)", ids=price_ids)
    }
    written = {cast("int", row["id"]): place for place, row in enumerate(rows)}
    tiers: TierIds = {
        place: [(tier_id, tier) for tier_id, tier in stored if tier_id not in written]
        for place, stored in read_tiers(uow, price_ids).items()
    }
    for row in rows:
        place = (cast("int", row["price_id"]), cast("int", row["cell_no"]))
        tiers.setdefault(place, []).append((cast("int", row["id"]), tier_of(row)))
    problems: list[Problem] = []
    for price_id in read_used_prices(uow, price_ids):
        problems.append(used_price_problem("price_id", None))
        del prices[price_id]
    for (price_id, _), own in tiers.items():
        if price_id not in prices:
            continue
        ordered = sorted(own, key=lambda found: found[1].from_quantity)
        bands = [tier for _, tier in ordered]
        price, partial = prices[price_id], bool(prices[price_id]["partial"])
        for fault in (*find_tier_faults(bands, partial=partial), *_model_faults(price, bands)):
            if fault.place is None:
                continue
            row_place = written.get(ordered[fault.place][0])
            line = None if row_place is None else line_among(rows, row_place)
            problems.append(Problem(fault.code, fault.message, fault.field, line=line))
    written_tiers = {
        price_id: tuple(sorted((tier for _, tier in found), key=attrgetter("from_quantity")))
        for (price_id, cell_no), found in tiers.items()
        if cell_no == 0
    }
    names = [price_id for price_id, price in prices.items() if price["partial"]]
    return problems + _find_misfits(uow, names, written_tiers)


def _find_misfits(
    uow: UnitOfWork, partial: Sequence[int], tiers: Mapping[int, tuple[Tier, ...]]
) -> list[Problem]:
    """Those of the partial prices (ids) that fit no price they can lie over; ``tiers`` are those
    that prices are going to have."""
    if not partial:
        return []
    charges = uow.query(
        "SELECT DISTINCT charge.external_id FROM price JOIN charge ON charge.id = price.charge_id"
        " WHERE price.id = ANY(:prices)",
        prices=list(partial),
    )
    stored = read_prices(uow, [str(row["external_id"]) for row in charges], None)
    every = [
        replace(price, tiers=tiers.get(price.id, price.tiers))
        for alike in stored.values()
        for price in alike
    ]
    found = (find_misfit(price, every) for price in every if price.id in partial)
    return [
        Problem("conflicting_layers", message, "from_quantity")
        for message in found
        if message is not None
    ]


def check_price_cells(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Cells ask for something that can be, no two of a price for the same, and a cell's number
    stands for the same in all prices of the charge. Fills in the labels."""
    del old_rows
    price_ids = sorted({cast("int", row["price_id"]) for row in rows})
    priced = {
        row["id"]: row
        for row in uow.query("SELECT * FROM price WHERE id = ANY(:ids)", ids=price_ids)
    }
    used = read_used_prices(uow, price_ids)
    groups = _read_groups(uow, {row["charge_id"] for row in priced.values()})
    kinds = _read_kinds(uow, {row["charge_id"] for row in priced.values()})
    numbers = read_cell_numbers(uow, {row["charge_id"] for row in priced.values()})
    problems: list[Problem] = []
    cells: dict[int, list[Cell]] = {}
    for place, row in enumerate(rows):
        line, cell, price = line_among(rows, place), cell_of(row), priced[row["price_id"]]
        row["label"] = cell.label
        problems.extend(
            Problem(fault.code, fault.message, fault.field, line=line)
            for fault in (*find_cell_faults(cell), *find_matrix_faults(price))
        )
        if row["price_id"] in used:
            problems.append(used_price_problem("price_id", line))
        kind = kinds[price["charge_id"]]
        if kind != "usage":
            message = f"is asked of usage events, and a {kind} charge has none"
            problems.append(Problem("not_for_this_kind", message, "conditions", line=line))
        if price["charge_id"] in groups:
            message = f"has no cells: usage is grouped by {groups[price['charge_id']]!r}"
            problems.append(Problem("grouped_usage", message, "price_id", line=line))
        others = numbers.get(price["charge_id"], {})
        if others.get(cell.key, row["cell_no"]) != row["cell_no"] or any(
            number == row["cell_no"] and key != cell.key for key, number in others.items()
        ):
            message = "stands for something else in another price of the charge"
            problems.append(Problem("other_cell", message, "cell_no", line=line))
        cells.setdefault(row["price_id"], []).append(cell)
    for own in cells.values():
        for earlier, later in find_overlapping_cells(own):
            message = f"{own[later].label!r} and {own[earlier].label!r} hold the same"
            problems.append(Problem("overlapping_cells", message, "conditions"))
    return problems


def used_price_problem(field: str, line: int | None) -> Problem:
    """What is said when the terms of a price that was used would change."""
    message = (
        "charges have been rated with this price, so its terms stay as they are; set its "
        "valid_to and add a price with a new valid_from"
    )
    return Problem("price_used", message, field, line=line)


def _find_price_problems(row: Record, line: int | None) -> list[Problem]:
    problems: list[Problem] = []
    if row["currency"] not in CURRENCIES:
        unknown = unknown_currency(row["currency"])
        problems.append(
            Problem(unknown.code, unknown.message, unknown.field, unknown.allowed, line=line)
        )
    layer = str(row["layer"])
    owner = OWNER_OF[layer].field if layer in OWNER_OF else None
    for field in OWNER_FIELDS:
        if field == owner and row[field] is None:
            message = f"is required in the layer {row['layer']}"
            problems.append(Problem("missing_owner", message, field, line=line))
        elif field != owner and row[field] is not None:
            message = f"does not belong to the layer {row['layer']}"
            problems.append(Problem("wrong_owner", message, field, line=line))
    starts, ends = cast("date | None", row["valid_from"]), cast("date | None", row["valid_to"])
    if starts is not None and ends is not None and ends <= starts:
        message = f"{ends} is not after valid_from, {starts}"
        problems.append(Problem("ends_before_start", message, "valid_to", line=line))
    problems.extend(
        Problem(fault.code, fault.message, fault.field, line=line)
        for fault in (
            *_model_faults(row, ()),
            *find_partial_faults(row),
            *find_formula_faults(str(row["model"]), cast("str | None", row["formula"])),
            *find_event_faults(str(row["model"]), row),
        )
    )
    least, most = row["minimum_amount"], row["maximum_amount"]
    if least is not None and most is not None and most < least:
        problems.append(Problem("below_minimum", below_minimum(most, least), "maximum_amount"))
    return problems


def _model_faults(price: Record, tiers: Sequence[Tier]) -> list[TierFault]:
    return find_model_faults(
        str(price["model"]),
        cast("Decimal | None", price["package_size"]),
        cast("Decimal", price["included_quantity"]),
        tiers,
        partial=bool(price["partial"]),
    )


def _read_kinds(uow: UnitOfWork, charge_ids: Collection[int]) -> dict[int, str]:
    """The kinds of charges."""
    found = uow.query("SELECT id, kind FROM charge WHERE id = ANY(:ids)", ids=sorted(charge_ids))
    return {row["id"]: row["kind"] for row in found}


def _read_groups(uow: UnitOfWork, charge_ids: Collection[int]) -> dict[int, str]:
    """By which attribute the usage of charges is grouped, of those of which it is."""
    found = uow.query(
        "SELECT id, group_by FROM charge WHERE id = ANY(:ids) AND group_by IS NOT NULL",
        ids=sorted(charge_ids),
    )
    return {row["id"]: row["group_by"] for row in found}


def _find_terms_without_groups(uow: UnitOfWork, rows: list[Record]) -> list[Problem]:
    """What a price cannot have whose charge groups its usage: it would not say of which group."""
    groups = _read_groups(uow, {cast("int", row["charge_id"]) for row in rows})
    return [
        Problem(
            "grouped_usage",
            f"has no groups, but usage is grouped by {groups[row['charge_id']]!r}: {instead}",
            field,
            line=line_among(rows, place),
        )
        for place, row in enumerate(rows)
        if row["charge_id"] in groups
        for field, given, instead in (
            ("model", row["model"] == "formula", "use tiers"),
            ("included_quantity", row["included_quantity"], "use an entitlement"),
        )
        if given
    ]


def _find_event_terms_without_events(uow: UnitOfWork, rows: list[Record]) -> list[Problem]:
    """Amounts per event of charges whose events do not add up one by one."""
    said = {
        place: [name for name in EVENT_TERMS if row[name]]
        for place, row in enumerate(rows)
        if any(row[name] for name in EVENT_TERMS)
    }
    if not said:
        return []
    fit = read_added_up(uow, [cast("int", rows[place]["charge_id"]) for place in said])
    message = "is for usage that is summed or counted, event by event"
    return [
        Problem("not_for_this_meter", message, names[0], line=line_among(rows, place))
        for place, names in said.items()
        if rows[place]["charge_id"] not in fit
    ]


def _find_rivals(uow: UnitOfWork, rows: list[Record]) -> list[Problem]:
    """Prices for the same that would be valid on the same days, among the rows and the stored."""
    stored = uow.query(
        f"SELECT {', '.join(_KEY)}, currency, valid_from, valid_to FROM price"
        " WHERE charge_id = ANY(:charges) AND id <> ALL(:ids)"
        f" AND coalesce({', '.join(_OWNER_IDS)}, 0) = ANY(:owners)"
        f" AND coalesce({', '.join(_OWNER_NAMES)}, '') = ANY(:names)",
        charges=_distinct(rows, "charge_id"),
        ids=_distinct(rows, "id"),
        owners=sorted({cast("int", _owner(row, _OWNER_IDS, 0)) for row in rows}),
        names=sorted({str(_owner(row, _OWNER_NAMES, "")) for row in rows}),
    )
    validities = [_validity(row, place) for place, row in enumerate(rows)]
    validities += [_validity(row, -1 - place) for place, row in enumerate(stored)]
    problems: list[Problem] = []
    for earlier, later in find_overlaps(validities):
        place = max(earlier.place, later.place)
        if place >= 0:
            said = describe_overlap(earlier, later)
            line = line_among(rows, place)
            problems.append(Problem("overlapping_validity", said, "valid_from", line=line))
    return problems


def _validity(row: Record, place: int) -> Validity:
    return Validity(
        tuple(row[name] for name in (*_KEY, "currency")),
        cast("date | None", row["valid_from"]),
        cast("date | None", row["valid_to"]),
        place,
    )


def _owner(row: Record, fields: Sequence[str], nobody: object) -> object:
    """The owner one of these fields names."""
    return next((row[name] for name in fields if row[name] is not None), nobody)


def _distinct(rows: list[Record], field: str) -> list[int]:
    return sorted({cast("int", row[field]) for row in rows})


CHECKS: dict[str, RecordCheck] = {
    "custom_field": check_retired_fields,
    "meter": check_meters,
    "charge": check_charges,
    "price": check_prices,
    "price_cell": check_price_cells,
    "price_tier": check_price_tiers,
}
