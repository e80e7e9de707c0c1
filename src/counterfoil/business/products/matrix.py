"""Saving the tiers and cells of prices: cells get their numbers here."""

from collections.abc import Iterable, Mapping, Sequence

from counterfoil.business.products.cells import Cell
from counterfoil.business.products.price_book_entries import PriceEntry
from counterfoil.business.products.queries import read_cell_numbers
from counterfoil.business.products.tiers import Tier
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def save_tiers_and_cells(
    uow: UnitOfWork, prices: Sequence[tuple[PriceEntry, int]], charges: Mapping[str, int]
) -> None:
    """Create the tiers and cells of prices with these ids; ``charges`` are ids by external id.

    A cell that asks for what a cell of another price of the charge asks for gets its number.
    """
    tiers = [row for price, price_id in prices for row in _rows(price_id, 0, price.tiers)]
    matrices = [(price, price_id) for price, price_id in prices if price.cells]
    if matrices:
        numbers = _number_cells(uow, sorted({charges[price.charge] for price, _ in matrices}))
        cells: list[Record] = []
        for price, price_id in matrices:
            known = numbers.setdefault(charges[price.charge], {})
            for entry in price.cells:
                number = known.setdefault(entry.cell.key, max(known.values(), default=0) + 1)
                cells.append({"price_id": price_id, "cell_no": number, **entry.cell.record})
                tiers += _rows(price_id, number, entry.cell.tiers)
        _create_cells(uow, matrices, cells)
    uow.create_many("price_tier", tiers)


def save_terms(
    uow: UnitOfWork, prices: Sequence[tuple[int, int, Sequence[Tier], Sequence[Cell]]]
) -> None:
    """Create the tiers and cells of prices: the ids of price and charge, tiers and cells of each.

    A cell that asks for what a cell of another price of the charge asks for gets its number.
    """
    tiers = [row for price, _, own, _ in prices for row in _rows(price, 0, own)]
    charges = sorted({charge for _, charge, _, cells in prices if cells})
    rows: list[Record] = []
    if charges:
        numbers = _number_cells(uow, charges)
        for price, charge, _, cells in prices:
            known = numbers.setdefault(charge, {})
            for cell in cells:
                number = known.setdefault(cell.key, max(known.values(), default=0) + 1)
                record = {name: value for name, value in cell.record.items() if name != "label"}
                rows.append({"price_id": price, "cell_no": number, **record})
                tiers += _rows(price, number, cell.tiers)
    uow.create_many("price_cell", rows)
    uow.create_many("price_tier", tiers)


def _number_cells(uow: UnitOfWork, charges: Sequence[int]) -> dict[int, dict[str, int]]:
    """The numbers of the cells of charges; nobody else numbers them meanwhile."""
    uow.query("SELECT id FROM charge WHERE id = ANY(:ids) ORDER BY id FOR UPDATE", ids=charges)
    return read_cell_numbers(uow, charges)


def _create_cells(
    uow: UnitOfWork, matrices: Sequence[tuple[PriceEntry, int]], cells: list[Record]
) -> None:
    places = {
        place: entry.place
        for place, entry in enumerate(
            (entry for price, _ in matrices for entry in price.cells), start=1
        )
    }
    for cell in cells:
        del cell["label"]
    try:
        uow.create_many("price_cell", cells)
    except Refused as refused:
        problems = [
            places[line].problem(problem.code, problem.message, problem.field)
            if (line := problem.line or (1 if len(places) == 1 else 0))
            else problem
            for problem in refused.problems
        ]
        raise Refused(problems, refused.status) from refused


def _rows(price_id: int, cell_no: int, tiers: Iterable[Tier]) -> list[Record]:
    return [
        {
            "price_id": price_id,
            "cell_no": cell_no,
            "from_quantity": tier.from_quantity,
            "up_to": tier.up_to,
            "unit_amount": tier.unit_amount,
            "flat_amount": tier.flat_amount,
        }
        for tier in tiers
    ]
