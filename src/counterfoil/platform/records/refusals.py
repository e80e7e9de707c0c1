"""Errors of the database, told in the words of the declarations."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue, Entity
from counterfoil.platform.records.schema import hashed_name, short_name

_KEY = re.compile(r"^Key \((?P<fields>.*?)\)=\((?P<values>.*)\) ", re.DOTALL)
_REFERENCED_FROM = re.compile(r'is still referenced from table "(?P<table>.+)"')
_COPY_PLACE = re.compile(r"^COPY [^,]+, line (?P<line>\d+)(?:, column (?P<column>\w+))?")


BUSY = "busy"
"""The code of what could not be locked in the time it was given."""


TRY_AGAIN = "try_again"
"""The code of what others were in the way of just now; the same again may well succeed."""


@contextmanager
def refusing_to_wait() -> Iterator[None]:
    """Raise Refused when what has to be locked was not free in the time set for it."""
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, (errors.LockNotAvailable, errors.QueryCanceled)):
            raise
        message = "others are working with it and would have had to wait; try again"
        raise Refused(Problem(BUSY, message), status=503) from error


@contextmanager
def refusing(catalogue: Catalogue, seen: Catalogue | None = None) -> Iterator[None]:
    """Raise Refused in place of the database's error when the values are at fault.

    Of fields and entities that are not in ``seen``, the writer's catalogue, nothing is told.
    """
    try:
        yield
    except DBAPIError as error:
        refused = _refusal(catalogue, seen or catalogue, error.orig)
        if refused is None:
            raise
        raise refused from error
    except psycopg.Error as error:
        refused = _refusal(catalogue, seen or catalogue, error)
        if refused is None:
            raise
        raise refused from error


def _refusal(catalogue: Catalogue, seen: Catalogue, error: object) -> Refused | None:
    if isinstance(error, (errors.DeadlockDetected, errors.SerializationFailure)):
        message = "others changed the same records at the same time; try again"
        return Refused(Problem(TRY_AGAIN, message), status=503)
    if isinstance(error, errors.ProgramLimitExceeded):
        return Refused(Problem("too_long", "a value is longer than the database can keep"))
    if not isinstance(error, (errors.IntegrityError, errors.DataError)):
        return None
    entity = catalogue.entities.get(error.diag.table_name or "")
    if isinstance(error, errors.UniqueViolation):
        return Refused(_not_unique(entity, seen, error), status=409)
    if isinstance(error, errors.ForeignKeyViolation):
        return _broken_reference(catalogue, seen, error)
    if isinstance(error, errors.NotNullViolation):
        return Refused(Problem("required", "is required", error.diag.column_name or ""))
    if isinstance(error, errors.CheckViolation):
        return Refused(_not_allowed(entity, error))
    place = _COPY_PLACE.match(error.diag.context or "")
    column = (place and place["column"]) or ""
    message = error.diag.message_primary or str(error)
    return Refused(Problem("wrong_value", message, column))


def _key(error: errors.IntegrityError) -> tuple[str, str]:
    """Fields and values of the offending key, comma-separated as PostgreSQL tells them."""
    match = _KEY.match(error.diag.message_detail or "")
    return (match["fields"], match["values"]) if match else ("", "")


def _not_unique(entity: Entity | None, seen: Catalogue, error: errors.IntegrityError) -> Problem:
    fields, values = _key(error)
    noun = _noun(entity, error.diag.table_name)
    if not fields and entity is not None:
        fields = _fields_of(entity, error.diag.constraint_name or "")
    if entity is not None and not _are_seen(seen, entity, fields):
        return Problem("not_unique", f"another {noun} is like this one already")
    return Problem("not_unique", f"another {noun} has {fields} {values} already", fields)


def _fields_of(entity: Entity, constraint: str) -> str:
    keys = [(field.name,) for field in entity.fields if field.unique] + list(entity.unique)
    named = {short_name(f"uq_{entity.name}", key): key for key in keys}
    named |= {hashed_name("uq", entity.name, key[0]): key for key in keys if len(key) == 1}
    return ", ".join(named.get(constraint, ()))


def _are_seen(seen: Catalogue, entity: Entity, fields: str) -> bool:
    """Whether all fields of a key may be told."""
    visible = seen.entities.get(entity.name)
    names = {field.name for field in visible.readable} if visible else set()
    return all(name.strip(' "') in names for name in fields.split(","))


def _broken_reference(
    catalogue: Catalogue, seen: Catalogue, error: errors.ForeignKeyViolation
) -> Refused:
    fields, values = _key(error)
    referenced = _REFERENCED_FROM.search(error.diag.message_detail or "")
    if referenced:
        table = referenced["table"]
        told = table in seen.entities or table not in catalogue.entities
        noun = _noun(None, table) if told else "another kind"
        message = f"is still in use by records of {noun}"
        return Refused(Problem("still_referenced", message, fields), status=409)
    return Refused(Problem("unknown_reference", f"there is no record with id {values}", fields))


def _not_allowed(entity: Entity | None, error: errors.CheckViolation) -> Problem:
    constraint = error.diag.constraint_name or ""
    name = constraint.removeprefix(f"ck_{error.diag.table_name}_")
    fields = entity.stored if entity else ()
    table = str(error.diag.table_name)
    field = next((one for one in fields if hashed_name("ck", table, one.name) == constraint), None)
    if field is None:
        return Problem("wrong_value", error.diag.message_primary or "is not allowed", name)
    if field.choices:
        return Problem("unknown_choice", "is not allowed", name, allowed=field.choices)
    bounds = [
        f"at {word} {bound}"
        for word, bound in (("least", field.minimum), ("most", field.maximum))
        if bound is not None
    ]
    code = "too_small" if field.maximum is None else "out_of_range"
    return Problem(code, f"must be {' and '.join(bounds)}", name)


def _noun(entity: Entity | None, table: str | None) -> str:
    if entity is not None and entity.label:
        return entity.label
    return (table or "record").replace("_", " ")
