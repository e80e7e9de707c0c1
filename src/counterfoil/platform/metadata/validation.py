"""Typed checking of a record's values against its entity's declaration."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from functools import partial as bound

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata.entity import HEADER, Entity, Field, FieldType, Record

BIGINT_MAX = 2**63 - 1

LONGEST_INDEXED = 2_600
"""Bytes of a text that an index holds; PostgreSQL's have room for 2,704."""

DEEPEST_DOCUMENT = 100

# Digits enough for any declared precision; losing one raises instead of rounding.
_EXACT = Context(prec=80, traps=[Inexact, InvalidOperation, Overflow])
_PLAIN_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_PLAIN_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_PLAIN_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADER_NAMES = frozenset(field.name for field in HEADER)

TYPE_WORDS = {
    FieldType.TEXT: "a text",
    FieldType.INTEGER: "a whole number",
    FieldType.DECIMAL: "a decimal number, as a number or as text, never a float",
    FieldType.BOOLEAN: "true or false",
    FieldType.DATE: "a date such as 2026-01-31",
    FieldType.INSTANT: "an instant with its offset, such as 2026-01-31T12:00:00Z",
    FieldType.CHOICE: "a text",
    FieldType.REFERENCE: "the id of a record",
    FieldType.DOCUMENT: "an object or a list",
    FieldType.MULTI_CHOICE: "a list of texts",
}
"""What a value of each type looks like, in words for a person."""


class _UnfitError(Exception):
    """A value does not fit its field: carries the problem's code and message."""

    def __init__(self, code: str, message: str, allowed: tuple[str, ...] = ()) -> None:
        self.code = code
        self.message = message
        self.allowed = allowed
        super().__init__(message)


class RecordChecker:
    """The checks of one entity, prepared once and then applied to many rows.

    ``by_command`` lets computed fields through: commands write them, people do not. ``seen`` is
    the entity as the writer sees it: of other fields no problem tells.
    """

    def __init__(
        self, entity: Entity, *, by_command: bool = False, seen: Entity | None = None
    ) -> None:
        self._entity = entity
        self._by_command = by_command
        self._declared = {field.name: field for field in entity.fields}
        self._fields = {field.name: field for field in entity.stored}
        self._seen = {field.name: field for field in (seen or entity).fields}
        self._settable = tuple(name for name, field in self._seen.items() if not field.computed)
        self._coerce = {field.name: bound(_COERCIONS[field.type], field) for field in entity.stored}

    def check(
        self, values: Record, *, partial: bool = False, line: int | None = None
    ) -> tuple[Record, list[Problem]]:
        """As :func:`check_values`; ``line`` is put into every problem."""
        clean: Record = {} if partial else dict.fromkeys(self._fields)
        problems: list[Problem] = []
        for name, value in values.items():
            field = self._seen.get(name)
            if field is None or (field.computed and not self._by_command):
                problems.append(self._unwelcome(name, line))
            elif partial and field.immutable:
                message = f"is set when the {self._entity.name} is created and never changes"
                problems.append(Problem("immutable_field", message, name, line=line))
            elif value is not None:
                try:
                    clean[name] = self._coerce[name](value)
                except _UnfitError as wrong:
                    problems.append(
                        Problem(wrong.code, wrong.message, name, allowed=wrong.allowed, line=line)
                    )
            else:
                clean[name] = None
        problems.extend(self._missing(values, clean, line, partial=partial))
        return clean, problems

    def _unwelcome(self, name: str, line: int | None) -> Problem:
        if name in _HEADER_NAMES or (name in self._seen and self._declared[name].computed):
            return Problem("computed_field", "is computed and cannot be set", name, line=line)
        if name in self._seen:
            return Problem("not_granted", "your roles do not let you set it", name, line=line)
        message = f"{self._entity.name} has no such field"
        return Problem("unknown_field", message, name, allowed=self._settable, line=line)

    def _missing(
        self, values: Record, clean: Record, line: int | None, *, partial: bool
    ) -> list[Problem]:
        problems: list[Problem] = []
        beyond = False
        for name, field in self._fields.items():
            if name not in values and not partial and field.default is not None:
                clean[name] = self._coerce[name](field.default)
            if not field.required or field.computed:
                continue
            if partial and (field.immutable or name not in values):
                continue
            may_set = name in self._seen and not self._seen[name].computed
            if not _is_empty(values.get(name, field.default) if may_set else field.default):
                continue
            if may_set:
                problems.append(Problem("required", "is required", name, line=line))
            else:
                beyond = True
        if beyond:
            message = f"a new {self._entity.name} needs more than your roles let you set"
            problems.append(Problem("not_granted", message, line=line))
        return problems


def _is_empty(value: object) -> bool:
    """Whether nothing is said; blanks say nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def fit_value(field: Field, value: object) -> tuple[object, Problem | None]:
    """A computed value as the field keeps it, or why it cannot."""
    if value is None:
        return None, None
    if field.type in (FieldType.INTEGER, FieldType.REFERENCE) and isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else value
    try:
        return _COERCIONS[field.type](field, value), None
    except _UnfitError as wrong:
        return None, Problem(wrong.code, wrong.message, field.name, wrong.allowed)


def half_amounts(entity: Entity, record: Record, line: int | None) -> list[Problem]:
    """Amounts without a currency, and currencies without an amount, of a whole record."""
    return [
        Problem("half_amount", "an amount and its currency go together", field.name, line=line)
        for field in entity.stored
        if field.currency_field
        and (record[field.name] is None) != (record[field.currency_field] is None)
    ]


def check_values(
    entity: Entity, values: Record, *, partial: bool = False
) -> tuple[Record, list[Problem]]:
    """The typed values of a new record, or with ``partial`` of changes to one, and all problems.

    Accepts JSON-like values: decimals as str, int or Decimal (never float), dates as
    ``YYYY-MM-DD``, instants as ISO 8601 with an offset. Defaults are filled in for a new record
    and every declared field is present in the answer, None when it was not given. Fields that
    are unknown, computed or (with ``partial``) immutable are problems; so is a decimal with more
    places than the field keeps: nothing is rounded here.
    """
    return RecordChecker(entity).check(values, partial=partial)


def read_value(field: Field, value: object) -> object:
    """One value of a filter or cursor, which may be text for any type; raises ValueError.

    The bounds of the field do not apply: a filter may ask for what cannot be.
    """
    field = replace(field, minimum=None, maximum=None)
    if isinstance(value, str):
        if field.type in (FieldType.INTEGER, FieldType.REFERENCE):
            if not _PLAIN_INTEGER.fullmatch(value):
                raise ValueError(f"must be {TYPE_WORDS[field.type]}")
            value = int(value)
        elif field.type is FieldType.BOOLEAN and value in ("true", "false"):
            value = value == "true"
        elif field.type is FieldType.MULTI_CHOICE:
            value = [word for word in value.split(",") if word]
    try:
        if field.type is FieldType.TEXT:
            return _clean_text(value)
        return _COERCIONS[field.type](field, value)
    except _UnfitError as wrong:
        raise ValueError(str(wrong)) from None


def _wrong_type(field: Field) -> _UnfitError:
    return _UnfitError("wrong_type", f"must be {TYPE_WORDS[field.type]}")


def _clean_text(value: object) -> str:
    if not isinstance(value, str):
        raise _UnfitError("wrong_type", "must be a text")
    if "\x00" in value:
        raise _UnfitError("forbidden_character", "must not contain the character NUL")
    if not value.isascii() and _SURROGATE.search(value):
        raise _UnfitError("forbidden_character", "must not contain a lone surrogate")
    return value


def _text(field: Field, value: object) -> str:
    clean = _clean_text(value)
    if len(clean) > field.max_length:
        raise _UnfitError(
            "too_long", f"has {len(clean)} characters; at most {field.max_length} are allowed"
        )
    if (field.unique or field.indexed) and len(clean) * 4 > LONGEST_INDEXED:
        size = len(clean.encode())
        if size > LONGEST_INDEXED:
            message = f"has {size:,} bytes; at most {LONGEST_INDEXED:,} fit into its index"
            raise _UnfitError("too_long", message)
    return clean


def _choice(field: Field, value: object) -> str:
    if not isinstance(value, str) or value not in field.choices:
        raise _UnfitError("unknown_choice", f"{value!r} is not allowed", field.choices)
    return value


def _multi_choice(field: Field, value: object) -> list[str] | None:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise _wrong_type(field)
    for word in value:
        _choice(field, word)
    # Nothing chosen is no value; the order of the words says nothing.
    return [word for word in field.choices if word in value] or None


def _within(field: Field, value: Decimal | int) -> None:
    if field.minimum is not None and value < field.minimum:
        raise _UnfitError("too_small", f"must be at least {field.minimum}")
    if field.maximum is not None and value > field.maximum:
        raise _UnfitError("too_large", f"must be at most {field.maximum}")


def _integer(field: Field, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(field)
    if not -BIGINT_MAX <= value <= BIGINT_MAX:
        raise _UnfitError("too_large", "must fit in 64 bits")
    _within(field, value)
    return value


def _decimal(field: Field, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise _wrong_type(field)
    if isinstance(value, str) and not _PLAIN_DECIMAL.fullmatch(value):
        raise _wrong_type(field)
    number = value if isinstance(value, Decimal) else Decimal(value)
    if not number.is_finite():
        raise _wrong_type(field)
    whole_digits = field.precision - field.scale
    if number and number.adjusted() >= whole_digits:
        raise _UnfitError("too_large", f"must have at most {whole_digits} digits before the point")
    try:
        clean = number.quantize(Decimal((0, (1,), -field.scale)), context=_EXACT)
    except (Inexact, InvalidOperation):
        raise _UnfitError(
            "scale_exceeded", f"{number} has more than {field.scale} decimal places"
        ) from None
    _within(field, clean)
    return clean or abs(clean)


def _boolean(field: Field, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(field)
    return value


def _date(field: Field, value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _PLAIN_DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise _UnfitError("wrong_type", f"{value} is not a date: {error}") from None
    raise _wrong_type(field)


def _instant(field: Field, value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise _wrong_type(field) from None
    if not isinstance(value, datetime):
        raise _wrong_type(field)
    if value.utcoffset() is None:
        raise _UnfitError("naive_instant", f"{value.isoformat()} lacks its offset from UTC")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise _wrong_type(field) from None


def _document(field: Field, value: object) -> object:
    if not isinstance(value, (dict, list)):
        raise _wrong_type(field)
    return _plain(field, value)


def _plain(field: Field, value: object, depth: int = 0) -> object:
    """A JSON-like value, checked to the leaves; a float becomes the decimal it was written as."""
    if depth > DEEPEST_DOCUMENT:
        raise _UnfitError("too_deep", f"is nested deeper than {DEEPEST_DOCUMENT}")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, list):
        return [_plain(field, item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_clean_text(key): _plain(field, item, depth + 1) for key, item in value.items()}
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if isinstance(number, Decimal) and number.is_finite():
        return number
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise _UnfitError("wrong_type", f"must hold plain values only, not {type(value).__name__}")


_COERCIONS: dict[FieldType, Callable[[Field, object], object]] = {
    FieldType.TEXT: _text,
    FieldType.INTEGER: _integer,
    FieldType.DECIMAL: _decimal,
    FieldType.BOOLEAN: _boolean,
    FieldType.DATE: _date,
    FieldType.INSTANT: _instant,
    FieldType.CHOICE: _choice,
    FieldType.REFERENCE: _integer,
    FieldType.DOCUMENT: _document,
    FieldType.MULTI_CHOICE: _multi_choice,
}
