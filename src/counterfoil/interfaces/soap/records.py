"""Records in messages: read into values, written from them, in both flavours.

A field that is absent is not touched; one that is nil has no value. Decimals and dates are the
text they are, instants have their offset, documents are JSON, several choices stand with commas.
"""

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from lxml import etree

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import decode_json
from counterfoil.interfaces.soap.envelope import TYPE, Element, put, text_of
from counterfoil.interfaces.soap.messages import FIELD_VALUE, RECORD, refuse_other_parts
from counterfoil.interfaces.soap.names import Flavour
from counterfoil.platform.metadata import Catalogue, Entity, Field, FieldType, Record
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.exact_json import encode_json, plain, plain_decimal

_FROM_TEXT = (FieldType.INTEGER, FieldType.REFERENCE, FieldType.BOOLEAN, FieldType.MULTI_CHOICE)
_FLAGS = {"1": "true", "0": "false"}


def read_record(element: Element, catalogue: Catalogue, line: int) -> tuple[Entity, Record]:
    """The entity and the values of a record; refuses all that is wrong in it."""
    try:
        name, pairs = _generic(element) if element.get(TYPE) is None else _typed(element)
        entity = catalogue.entity(name)
    except Refused as refused:
        raise Refused([replace(one, line=line) for one in refused.problems], 400) from None
    values: Record = {}
    problems: list[Problem] = []
    for field_name, text in pairs:
        field = entity.field(field_name)
        if field_name in values:
            problems.append(Problem("double_field", "is there twice", field_name[:100], line=line))
        try:
            values[field_name] = text if field is None or text is None else value_of(field, text)
        except Refused as refused:
            problems += [replace(one, line=line) for one in refused.problems]
    if problems:
        raise Refused(problems)
    return entity, values


def _generic(element: Element) -> tuple[str, list[tuple[str, str | None]]]:
    refuse_other_parts(element, RECORD)
    entity, pairs = "", []
    for child in element:
        local = etree.QName(child).localname
        if local == "entity":
            entity = text_of(child) or ""
        elif local == "id":
            if text_of(child):
                pairs.append(("id", text_of(child)))
        else:
            refuse_other_parts(child, FIELD_VALUE)
            parts = {etree.QName(part).localname: part for part in child}
            if "name" not in parts:
                raise Refused(Problem("malformed_message", "needs a name", "field"), status=400)
            value = parts.get("value")
            pairs.append((text_of(parts["name"]) or "", None if value is None else text_of(value)))
    return entity.strip(), pairs


def _typed(element: Element) -> tuple[str, list[tuple[str, str | None]]]:
    name = (element.get(TYPE) or "").rpartition(":")[2]
    return name.strip(), [(etree.QName(child).localname, text_of(child)) for child in element]


def value_of(field: Field, text: str) -> object:
    """A value from its text; what the records room reads itself is left as text."""
    if field.type in (FieldType.TEXT, FieldType.CHOICE):
        return text
    text = text.strip()
    if field.type is FieldType.BOOLEAN:
        text = _FLAGS.get(text, text)
    if field.type is FieldType.DOCUMENT:
        try:
            return decode_json(text.encode())
        except Refused:
            raise Refused(Problem("wrong_type", "has to be JSON", field.name)) from None
    if field.type not in _FROM_TEXT:
        return text
    try:
        return read_value(field, text)
    except ValueError as error:
        raise Refused(Problem("wrong_type", str(error), field.name, field.choices)) from None


def is_same(field: Field, given: object, kept: object) -> bool:
    """Whether a value that was sent is the one that is kept."""
    if field.type is FieldType.DOCUMENT or given is None or kept is None:
        return _json_from(given) == _json_from(kept)
    try:
        return bool(read_value(field, given) == kept)
    except ValueError:
        return False


def text_from(value: object) -> str | None:
    """A value's text; None for nothing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return ",".join(value)
    return str(value)


def _json_from(value: object) -> str | None:
    return None if value is None else encode_json(plain(value))


def put_record(parent: Element, flavour: Flavour, entity: Entity, record: Record) -> None:
    """A record with every field it has."""
    one = etree.SubElement(parent, flavour.tag("record"))
    texts = {
        field.name: _json_from(record[field.name])
        if field.type is FieldType.DOCUMENT
        else text_from(record[field.name])
        for field in entity.readable
        if field.name in record
    }
    if flavour.typed:
        one.set(TYPE, entity.name)
        for name, text in texts.items():
            put(one, flavour, name, text)
        return
    put(one, flavour, "entity", entity.name)
    put(one, flavour, "id", texts.pop("id"))
    for name, text in texts.items():
        pair = etree.SubElement(one, flavour.tag("field"))
        put(pair, flavour, "name", name)
        put(pair, flavour, "value", text)
