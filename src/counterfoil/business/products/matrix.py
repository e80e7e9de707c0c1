"""Saving the tiers and cells of prices: cells get their numbers here."""

from collections.abc import Iterable, Mapping, Sequence

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
        ids = sorted({charges[price.charge] for price, _ in matrices})
        # Nobody else numbers cells of these charges meanwhile.
        uow.query("SELECT id FROM charge WHERE id = ANY(:ids) ORDER BY id FOR UPDATE", ids=ids)
        numbers = read_cell_numbers(uow, ids)
        cells: list[Record] = []
        for price, price_id in matrices:
            known = numbers.setdefault(charges[price.charge], {})
            for entry in price.cells:
                number = known.setdefault(entry.cell.key, max(known.values(), default=0) + 1)
                cells.append({"price_id": price_id, "cell_no": number, **entry.cell.record})
                tiers += _rows(price_id, number, entry.cell.tiers)
        _create_cells(uow, matrices, cells)
    uow.create_many("price_tier", tiers)


def _create_cells(
    uow: UnitOfWork, matrices: Sequence[tuple[PriceEntry, int]], cells: list[Record]
) -> None:
    places = [entry.place for price, _ in matrices for entry in price.cells]
    for cell in cells:
        del cell["label"]
    try:
        uow.create_many("price_cell", cells)
    except Refused as refused:
        problems = [
            places[problem.line - 1].problem(problem.code, problem.message, problem.field)
            if problem.line
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
