"""The operations on records: each reads a message's element and fills the element of its answer.

A call is one transaction: all of its records are written, or none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby

from lxml import etree

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.writable import refuse_made_by_command
from counterfoil.interfaces.soap.envelope import Element, put, text_of
from counterfoil.interfaces.soap.messages import SHARED, refuse_other_parts
from counterfoil.interfaces.soap.names import Flavour
from counterfoil.interfaces.soap.records import is_same, put_record, read_record
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.records.pages import LONGEST_PAGE, OPERATORS, Filter
from counterfoil.platform.records.unit_of_work import UnitOfWork

MOST_RECORDS = 10_000
MOST_CONDITIONS = 100
"""Filters of a query, and sorts."""
DEFAULT_LIMIT = 200
_STAMPS = ("created_at", "updated_at")
"""Left aside: a change makes them anew."""

Operation = Callable[[UnitOfWork, Element, Flavour, Element], None]
Sent = tuple[int, Entity, Record]
"""A record of a message: its place from 1, its entity, its values."""


def describe(uow: UnitOfWork, asked: Element, flavour: Flavour, told: Element) -> None:
    """The entities the caller sees, or one of them, with their fields."""
    name = _text(asked, "entity")
    entities = [uow.catalogue.entity(name)] if name else list(uow.catalogue.entities.values())
    for entity in entities:
        one = etree.SubElement(told, flavour.tag("entity"))
        put(one, flavour, "name", entity.name)
        put(one, flavour, "plural", entity.plural)
        put(one, flavour, "label", entity.label or entity.name.replace("_", " "))
        put(one, flavour, "help", entity.help)
        put(one, flavour, "createdByCommand", str(entity.created_by_command).lower())
        for field in (*entity.readable, *(one for one in entity.fields if one.secret)):
            shown = etree.SubElement(one, flavour.tag("field"))
            for key in ("name", "type", "label", "help"):
                put(shown, flavour, key, str(getattr(field, key)))
            for flag in ("required", "unique", "immutable", "computed", "secret"):
                put(shown, flavour, flag, str(getattr(field, flag)).lower())
            if field.target:
                put(shown, flavour, "target", field.target)
            for choice in field.choices:
                put(shown, flavour, "choice", choice)


def query(uow: UnitOfWork, asked: Element, flavour: Flavour, told: Element) -> None:
    """One page of the records that all filters let through."""
    entity = uow.catalogue.entity(_demand(asked, "entity"))
    limit = _number(_text(asked, "limit") or str(DEFAULT_LIMIT), "limit")
    filters, sorts = _children(asked, "filter"), _children(asked, "sort")
    if len(filters) > MOST_CONDITIONS or len(sorts) > MOST_CONDITIONS:
        raise _too_many(max(len(filters), len(sorts)), MOST_CONDITIONS)
    sort = tuple(word for word in _texts(asked, "sort") if word)
    page = uow.list(
        entity.name,
        filters=[_filter(one) for one in filters],
        sort=sort or ("id",),
        cursor=_text(asked, "cursor") or None,
        limit=limit,
    )
    for record in page.records:
        put_record(told, flavour, entity, record)
    if page.next_cursor is not None:
        put(told, flavour, "nextCursor", page.next_cursor)


def retrieve(uow: UnitOfWork, asked: Element, flavour: Flavour, told: Element) -> None:
    """Records by id, in the order they were asked for; refuses ids that are not there."""
    entity = uow.catalogue.entity(_demand(asked, "entity"))
    ids = _ids(asked)
    found = _found(uow, entity, ids)
    noun = entity.label or entity.name.replace("_", " ")
    missing = [
        Problem("unknown_record", f"there is no {noun} {one}", "id", line=line)
        for line, one in enumerate(ids, start=1)
        if one not in found
    ]
    if missing:
        raise Refused(missing, status=404)
    for one in ids:
        put_record(told, flavour, entity, found[one])


def _found(uow: UnitOfWork, entity: Entity, ids: Sequence[int]) -> dict[int, Record]:
    """Those of the records that are there, a page at a time."""
    found: dict[int, Record] = {}
    for start in range(0, len(ids), LONGEST_PAGE):
        part = Filter("id", "in", list(ids[start : start + LONGEST_PAGE]))
        records = uow.list(entity.name, filters=[part], limit=LONGEST_PAGE).records
        found |= {record["id"]: record for record in records}
    return found


def create(uow: UnitOfWork, asked: Element, flavour: Flavour, told: Element) -> None:
    """New records; their ids in order."""
    for entity, group in _by_entity(_records(uow, asked)):
        refuse_made_by_command(entity)
        for _, _, values in group:
            values.pop("id", None)
        with _placed(group):
            ids = uow.create_many(entity.name, [values for _, _, values in group])
        for one in ids:
            put(told, flavour, "id", str(one))


def update(uow: UnitOfWork, asked: Element, flavour: Flavour, told: Element) -> None:
    """Changes of records named by their ids; a ``row_version`` in one has to be the record's."""
    for entity, group in _by_entity(_records(uow, asked)):
        changes: dict[int, Record] = {}
        versions: dict[int, int] = {}
        for line, _, values in group:
            record_id = _id_in(values, line)
            if record_id in changes:
                raise Refused(Problem("double_key", "is there twice", "id", line=line))
            version = values.pop("row_version", None)
            if isinstance(version, int):
                versions[record_id] = version
            changes[record_id] = values
        with _placed(group):
            _leave_as_read(uow, entity, changes)
            uow.update_many(entity.name, list(changes.items()), expected_versions=versions)
        for record_id in changes:
            put(told, flavour, "id", str(record_id))


def _leave_as_read(uow: UnitOfWork, entity: Entity, changes: Mapping[int, Record]) -> None:
    """Take out of changes what never changes, or not by a caller, and was sent as it was read.

    What differs stays in them, for the records room to refuse.
    """
    fixed = {
        one.name: one
        for one in entity.readable
        if one.computed or one.immutable or entity.created_by_command
    }
    sent = {name for values in changes.values() for name in values if name in fixed}
    stored = _found(uow, entity, list(changes)) if sent else {}
    for record_id, values in changes.items():
        old = stored.get(record_id, {})
        for name in sent & values.keys() & old.keys():
            if name in _STAMPS or is_same(fixed[name], values[name], old[name]):
                del values[name]
        refuse_made_by_command(entity, values)


def upsert(uow: UnitOfWork, asked: Element, flavour: Flavour, told: Element) -> None:
    """New records, or changes of those with the same value of a unique field."""
    key = _demand(asked, "key")
    for entity, group in _by_entity(_records(uow, asked)):
        refuse_made_by_command(entity)
        for _, _, values in group:
            values.pop("id", None)
        with _placed(group):
            results = uow.upsert_many(entity.name, key, [values for _, _, values in group])
        for result in results:
            one = etree.SubElement(told, flavour.tag("result"))
            put(one, flavour, "id", str(result.id))
            put(one, flavour, "action", result.action)


def delete(uow: UnitOfWork, asked: Element, flavour: Flavour, told: Element) -> None:
    """Records deleted that nothing refers to."""
    entity = uow.catalogue.entity(_demand(asked, "entity"))
    ids = _ids(asked)
    uow.delete_many(entity.name, ids)
    for one in ids:
        put(told, flavour, "id", str(one))


OPERATIONS: Mapping[str, Operation] = {
    "describe": describe,
    "query": query,
    "retrieve": retrieve,
    "create": create,
    "update": update,
    "upsert": upsert,
    "delete": delete,
}


# -- reading a message --------------------------------------------------------------------------


def _children(element: Element, name: str) -> list[Element]:
    return [child for child in element if etree.QName(child).localname == name]


def _texts(element: Element, name: str) -> list[str]:
    return [(text_of(child) or "").strip() for child in _children(element, name)]


def _text(element: Element, name: str) -> str:
    return next(iter(_texts(element, name)), "")


def _demand(element: Element, name: str) -> str:
    found = _text(element, name)
    if not found:
        raise Refused(Problem("required", "is required", name), status=400)
    return found


def _number(text: str, name: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise Refused(Problem("wrong_type", "has to be a whole number", name), status=400)


def _ids(asked: Element) -> list[int]:
    ids = list(dict.fromkeys(_number(text, "id") for text in _texts(asked, "id")))
    if not ids:
        raise Refused(Problem("required", "is required", "id"), status=400)
    if len(ids) > MOST_RECORDS:
        raise _too_many(len(ids))
    return ids


def _filter(element: Element) -> Filter:
    """``field``, ``operator`` and one or more values; without an operator: equal."""
    refuse_other_parts(element, SHARED["Filter"])
    op = _text(element, "operator") or "eq"
    if op not in OPERATORS:
        raise Refused(Problem("unknown_operator", "is not known", "operator", OPERATORS))
    values = [text_of(child) or "" for child in _children(element, "value")]
    if len(values) > MOST_RECORDS:
        raise _too_many(len(values))
    if op == "in":
        return Filter(_demand(element, "field"), op, values)
    if len(values) != 1:
        raise Refused(Problem("required", "has to be there once", "value"), status=400)
    return Filter(_demand(element, "field"), op, values[0])


def _records(uow: UnitOfWork, asked: Element) -> list[Sent]:
    elements = _children(asked, "record")
    if not elements:
        raise Refused(Problem("required", "is required", "record"), status=400)
    if len(elements) > MOST_RECORDS:
        raise _too_many(len(elements))
    sent: list[Sent] = []
    problems: list[Problem] = []
    for line, element in enumerate(elements, start=1):
        try:
            entity, values = read_record(element, uow.catalogue, line)
            sent.append((line, entity, values))
        except Refused as refused:
            problems += refused.problems
    if problems:
        raise Refused(problems)
    return sent


def _too_many(count: int, most: int = MOST_RECORDS) -> Refused:
    message = f"{count:,} are too many; at most {most:,} are possible at once"
    return Refused(Problem("too_many_records", message), status=413)


def _by_entity(sent: Sequence[Sent]) -> list[tuple[Entity, list[Sent]]]:
    """Neighbours of one entity together, so that they are one write."""
    return [(entity, list(group)) for entity, group in groupby(sent, key=lambda one: one[1])]


def _id_in(values: Record, line: int) -> int:
    found = values.pop("id", None)
    if not isinstance(found, int):
        raise Refused(Problem("required", "is required", "id", line=line))
    return found


@contextmanager
def _placed(group: Sequence[Sent]) -> Iterator[None]:
    """Tells refusals of some records by their places in the message."""
    lines = [line for line, _, _ in group]
    try:
        yield
    except Refused as refused:
        problems = [
            replace(one, line=lines[(one.line or 1) - 1])
            if one.line is not None or len(lines) == 1
            else one
            for one in refused.problems
        ]
        raise Refused(problems, refused.status) from refused
