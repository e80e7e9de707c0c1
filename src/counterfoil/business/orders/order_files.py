"""Orders in YAML files: the same fields as over REST, with the line of every mistake."""

from collections.abc import Mapping

import yaml

from counterfoil.business.orders.notation import (
    LINE_FORM,
    ORDER_FORM,
    NewOrder,
    Place,
    read_orders,
)
from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Catalogue, Entity, Field, FieldType, Record

_KINDS: Mapping[FieldType, Kind] = {
    FieldType.INTEGER: Kind.INTEGER,
    FieldType.REFERENCE: Kind.INTEGER,
    FieldType.DECIMAL: Kind.DECIMAL,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATE: Kind.DATE,
    FieldType.INSTANT: Kind.MOMENT,
    FieldType.MULTI_CHOICE: Kind.TEXTS,
}
_SPECIAL = {
    "lines": Rule(kind=Kind.NODE, required=True),
    "quantities": Rule(kind=Kind.DECIMALS),
    "prices": Rule(kind=Kind.DECIMALS),
    "identifiers": Rule(kind=Kind.TEXTS),
}


def parse_orders(text: str, file: str, catalogue: Catalogue) -> list[NewOrder]:
    """The orders of a file; refuses with every problem at once."""
    reader = Reader(file)
    node = reader.document(text)
    rule = {"orders": Rule(kind=Kind.NODE, required=True)}
    whole = reader.entry(node, rule, "") if node else None
    orders = read_nodes(reader, whole["orders"] if whole else None, "orders", catalogue)
    if reader.problems:
        raise Refused(reader.problems)
    return orders


def read_nodes(
    reader: Reader, node: yaml.Node | None, field: str, catalogue: Catalogue | None = None
) -> list[NewOrder]:
    """The orders of a list; problems are noted in the reader. Without a catalogue there are no
    custom fields."""
    of_order = _rules(ORDER_FORM, catalogue, "order")
    of_line = _rules(LINE_FORM, catalogue, "order_line")
    before = len(reader.problems)
    rows: list[Record] = []
    places: list[tuple[Place, list[Place]]] = []
    for at, item in enumerate(reader.items(node, field)):
        order = reader.entry(item, of_order, f"{field}[{at}]")
        if order is None:
            continue
        lines = [
            reader.entry(one, of_line, f"{field}[{at}].lines[{number}]")
            for number, one in enumerate(reader.items(order["lines"], f"{field}[{at}].lines"))
        ]
        read = [line for line in lines if line is not None]
        rows.append({**_given(order), "lines": [_given(line) for line in read]})
        places.append((_place(reader.file, order), [_place(reader.file, line) for line in read]))
    if len(reader.problems) > before:
        return []
    try:
        return read_orders(rows, places)
    except Refused as refused:
        reader.problems += refused.problems
        return []


def _rules(form: Entity, catalogue: Catalogue | None, entity: str) -> Rules:
    """How the fields of a form and the custom ones of its entity are read."""
    known = catalogue.entity(entity).stored if catalogue is not None else ()
    custom = [field for field in known if field.custom]
    return {field.name: _rule(field) for field in (*form.fields, *custom)}


def _rule(field: Field) -> Rule:
    if field.name in _SPECIAL:
        return _SPECIAL[field.name]
    kind = _KINDS.get(field.type, Kind.TEXT)
    return Rule(kind=kind, required=field.required and not field.custom, choices=field.choices)


def _given(entry: Entry) -> Record:
    """The fields that stand in the file, as plain values."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in entry.values.items()
        if value is not None and name != "lines"
    }


def _place(file: str, entry: Entry) -> Place:
    return Place(file, entry.line, entry.lines)
