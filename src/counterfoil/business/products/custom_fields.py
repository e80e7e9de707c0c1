"""Custom fields that formulas of prices and charges still read cannot be retired."""

from collections.abc import Sequence

from counterfoil.business.products.formulas import OWNERS
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_FORMULAS = """
SELECT v.place, v.text, 'charge ' || c.external_id AS user FROM charge c
CROSS JOIN LATERAL (VALUES ('condition', c.condition), ('quantity formula', c.quantity_formula))
    AS v(place, text)
UNION ALL
SELECT v.place, v.text, 'a price of charge ' || c.external_id FROM price p
JOIN charge c ON c.id = p.charge_id
CROSS JOIN LATERAL (VALUES ('condition', p.condition), ('formula', p.formula)) AS v(place, text)
"""


def check_retired_fields(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """What speaks against retiring fields: the formulas of charges and prices that read them."""
    return find_readers(uow, rows, old_rows, _FORMULAS)


def find_readers(
    uow: UnitOfWork, rows: Sequence[Record], old_rows: Sequence[Record | None], formulas: str
) -> list[Problem]:
    """The formulas that read fields that are being retired.

    ``formulas`` is a SELECT of place (``condition``), text (the formula) and user (``charge a``).
    """
    retired = [
        f"{row['entity']}.{row['name']}"
        for row, old in zip(rows, old_rows, strict=True)
        if row["retired"] and row["entity"] in OWNERS and old is not None and not old["retired"]
    ]
    if not retired:
        return []
    found = uow.query(
        f"SELECT n.name, f.place, f.user FROM ({formulas}) AS f"
        " JOIN unnest(CAST(:names AS text[])) AS n(name)"
        " ON f.text ~* ('\\m' || replace(n.name, '.', ' *\\. *') || '(_currency)?\\M')"
        " ORDER BY 1, 3, 2",
        names=retired,
    )
    return [
        Problem("still_read", f"is read by the {row['place']} of {row['user']}", str(row["name"]))
        for row in found
    ]
