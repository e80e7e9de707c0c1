"""The formulas a rated charge was priced with, as they were stored, for pricing its events."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import pyarrow as pa

from counterfoil.business.billing.formula_levels import parse_placed
from counterfoil.business.products.formulas import fields_of_owners
from counterfoil.core.formulas.vocabulary import Kind, Reference, Value
from counterfoil.core.rating.formula_prices import PRICE_FORMULA, QUANTITY_FORMULA, Formulas
from counterfoil.core.rating.formula_values import PlacedFormula, references_of
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_STORED = """
SELECT r.id, sc.charge_id, r.price_id, r.formulas
FROM rated_charge r JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
WHERE r.id = ANY(:ids) AND r.formulas IS NOT NULL AND r.kind = 'usage'
"""

_TYPES = {
    Kind.NUMBER: pa.decimal128(38, 15),
    Kind.TEXT: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.DATE: pa.date32(),
}

# The values a charge was rated with, for each of its events.
_OF_EVENTS = """
SELECT e.event_no AS item_id, x.* EXCLUDE (item_id)
FROM event e JOIN charge_input x ON x.item_id = e.charge_id
"""
_EVENT_ITEMS = """
SELECT e.event_no AS item_id, i.rated_charge_of AS charge_id
FROM event e JOIN charge_item i ON i.item_id = e.charge_id
"""


class StoredFormulas:
    """The quantity and price formulas of some rated charges and the values they read."""

    def __init__(self, uow: UnitOfWork, rated_charges: Sequence[int]) -> None:
        fields = fields_of_owners(uow.catalogue)
        placed: dict[PlacedFormula, None] = {}
        self._values: dict[int, dict[str, object]] = {}
        for row in uow.query(_STORED, ids=list(rated_charges)):
            asked = [
                entry
                for entry in row["formulas"]
                if entry["place"] in (PRICE_FORMULA, QUANTITY_FORMULA)
            ]
            for one in parse_placed(_rows(row, asked), fields):
                placed[one] = None
            if asked:
                values = self._values.setdefault(row["id"], {})
                for entry in asked:
                    values.update(entry["values"])
        self.formulas = Formulas(tuple(placed), {})

    @property
    def rated_charges(self) -> list[int]:
        """Ids of the rated charges that have any."""
        return sorted(self._values)

    def register(self, engine: Engine) -> None:
        """Make ``formula_input`` and ``charge_item`` of the events in ``event``."""
        references = references_of(self.formulas.placed)
        ids = pa.array(self.rated_charges, pa.int64())
        columns = {"item_id": ids} | {
            f"v{number}": pa.array(
                [_value(self._values[one], reference) for one in self.rated_charges],
                _TYPES[reference.type.kind],
            )
            for number, reference in enumerate(references)
        }
        engine.register("charge_input", pa.table(columns))
        engine.run(f"CREATE TABLE formula_input AS {_OF_EVENTS}")
        engine.register("charge_item", engine.arrow(_EVENT_ITEMS))


def _rows(row: Record, entries: Sequence[Record]) -> list[Record]:
    return [
        {
            "place": entry["place"],
            "charge_id": row["charge_id"],
            "price_id": row["price_id"] if entry["place"] == PRICE_FORMULA else None,
            "text": entry["formula"],
        }
        for entry in entries
    ]


def _value(values: Mapping[str, object], reference: Reference) -> Value:
    value = values.get(str(reference))
    if value is None:
        return None
    kind = reference.type.kind
    if kind is Kind.NUMBER:
        return Decimal(str(value))
    if kind is Kind.DATE:
        return date.fromisoformat(str(value))
    return bool(value) if kind is Kind.BOOLEAN else str(value)
