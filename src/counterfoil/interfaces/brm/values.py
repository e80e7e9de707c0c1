"""Values as the dialect writes and reads them: everything a text, flags 0 and 1, nothing empty."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.words import Word
from counterfoil.interfaces.http.notation import decode_json
from counterfoil.platform.metadata import FieldType
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.exact_json import encode_json, plain, plain_decimal

_UI_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_CLOCK = re.compile(r"[T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_FLAGS = {"0": False, "1": True, "false": False, "true": True}


def written(value: object) -> str:
    """A value of a result as text; nothing is an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds" if value.microsecond else "seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    if isinstance(value, dict | list):
        return encode_json(plain(value))
    return str(value)


def taken(word: Word, value: object) -> object:
    """A value as a record of ours holds it, from what a caller has sent; raises Refused.

    What it cannot be is left for the records room to say.
    """
    if isinstance(value, str) and (value.strip() == "" or value == word.nothing):
        return None
    if value is None or (isinstance(value, Mapping) and word.field.type is not FieldType.DOCUMENT):
        return None if value is None else _refuse(word, "has to be a single value")
    if word.nothing and written(value) == word.nothing:
        return None
    if word.values:
        return _of_theirs(word, value)
    reader = _READERS.get(word.field.type)
    return reader(word, value) if reader else value


def _of_theirs(word: Word, value: object) -> object:
    for theirs, ours in word.values.items():
        if written(value).lower() == theirs.lower():
            return ours
    message = f"{written(value)[:100]!r} is not allowed"
    raise Refused(Problem("unknown_choice", message, word.name, tuple(word.values)))


def _refuse(word: Word, message: str) -> object:
    raise Refused(Problem("wrong_type", message, word.name))


def _text(_word: Word, value: object) -> object:
    return value if isinstance(value, str | list) else written(value)


def _whole(word: Word, value: object) -> object:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    if not isinstance(value, str):
        return value
    try:
        return read_value(word.field, value.strip())
    except ValueError as error:
        return _refuse(word, str(error))


def _flag(_word: Word, value: object) -> object:
    if isinstance(value, bool):
        return value
    return _FLAGS.get(written(value).strip().lower(), value)


def _day(_word: Word, value: object) -> object:
    """A day, also from the beginning of an instant, or as 01/31/2026."""
    if not isinstance(value, str):
        return value
    found = _UI_DATE.fullmatch(value.strip())
    if found:
        return f"{found[3]}-{int(found[1]):02}-{int(found[2]):02}"
    text = value.strip()
    return text[:10] if _CLOCK.fullmatch(text[10:]) else text


def _document(word: Word, value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return decode_json(value.encode())
    except Refused:
        return _refuse(word, "has to be JSON")


def _words(_word: Word, value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


_READERS = {
    FieldType.TEXT: _text,
    FieldType.CHOICE: _text,
    FieldType.INTEGER: _whole,
    FieldType.REFERENCE: _whole,
    FieldType.BOOLEAN: _flag,
    FieldType.DATE: _day,
    FieldType.DOCUMENT: _document,
}
