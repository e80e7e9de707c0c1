"""A collector's declaration: how the records of one source become usage events.

The notation is described in ``docs/usage.md``. :func:`parse_declaration` checks a definition
completely when it is saved, so that an import never meets a wrong one.
"""

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from counterfoil.business.usage.presets import PRESETS, with_preset
from counterfoil.core.periods.zones import known_time_zone
from counterfoil.core.problems import Problem

EVENT_FIELDS = ("event_id", "source", "time", "identifier", "meter", "quantity")
"""The fields of a usage event that a declaration maps."""

RULE_KEYS = ("column", "template", "constant", "content_hash", "seconds_between")
"""Where a field's text may come from: exactly one of these."""

DECLARATION_KEYS = (
    "format",
    "encoding",
    "delimiter",
    "quote",
    "header",
    "columns",
    "null_values",
    "decimal_mark",
    "time_zone",
    "time_formats",
    "source",
    "fields",
    "value_maps",
    "minimum_quantity",
    "maximum_quantity",
    "reject",
    "skip",
    "attributes",
)
"""All keys of a declaration."""

ATTRIBUTES = ("rest", "none")
"""Which other fields of the record are kept with the event."""

EPOCH_FORMATS = ("epoch_seconds", "epoch_milliseconds")
"""Time formats besides patterns such as ``%Y-%m-%d %H:%M:%S``."""

_DIRECTIVES = frozenset("aAbBdmyYHIpMSfgnzjcxX%")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_REASON = re.compile(r"[a-z][a-z0-9_]{0,59}")
_LARGEST_MAP = 1000


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A part of a template: the first column that has a value, else ``otherwise`` (or nothing)."""

    columns: tuple[str, ...]
    otherwise: str | None = None


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Where the text of one event field comes from.

    ``parts`` are literal texts and placeholders, joined; ``mapped`` translates the joined text
    (texts that are not in it stay as they are). ``content_hash`` and ``seconds_between`` (two
    columns with times) stand instead of parts.
    """

    parts: tuple[str | Placeholder, ...] = ()
    mapped: Mapping[str, str] = field(default_factory=dict)
    content_hash: bool = False
    seconds_between: tuple[str, str] | None = None

    def columns(self) -> tuple[str, ...]:
        """The columns this rule reads."""
        named = [c for part in self.parts if isinstance(part, Placeholder) for c in part.columns]
        return (*named, *(self.seconds_between or ()))


@dataclass(frozen=True, slots=True)
class RecordRule:
    """Records to be skipped or rejected: those whose ``column`` is in (or not in) ``values``."""

    column: str
    values: tuple[str, ...]
    negated: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A checked declaration; ``json`` tells JSON lines from delimited text."""

    format: str
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    columns: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ()
    decimal_mark: str = "."
    time_zone: str = "UTC"
    time_formats: tuple[str, ...] = ()
    fields: Mapping[str, FieldRule] = field(default_factory=dict)
    value_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    minimum_quantity: Decimal | None = None
    maximum_quantity: Decimal | None = None
    reject: tuple[RecordRule, ...] = ()
    skip: tuple[RecordRule, ...] = ()
    attributes: str = "rest"

    @property
    def json(self) -> bool:
        """Whether a record is a JSON object."""
        return self.format in ("jsonl", "cloudevents")

    def used_columns(self) -> tuple[str, ...]:
        """All columns that the declaration reads, each once, in a stable order."""
        names = [c for rule in self.fields.values() for c in rule.columns()]
        names += [rule.column for rule in (*self.reject, *self.skip)]
        return tuple(dict.fromkeys(names))


class _Reading:
    """Collects problems while a definition is read; every method returns a usable default."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def fault(self, code: str, message: str, where: str, allowed: tuple[str, ...] = ()) -> None:
        self.problems.append(Problem(code, message, where, allowed))

    def text(self, value: object, where: str) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            self.fault("wrong_type", "must be text", where)
            return ""
        return str(value)

    def character(self, value: object, where: str) -> str:
        text = self.text(value, where)
        if len(text) != 1:
            self.fault("wrong_value", "must be one character", where)
            return ","
        return text

    def texts(self, value: object, where: str) -> tuple[str, ...]:
        if not isinstance(value, list):
            self.fault("wrong_type", "must be a list of texts", where)
            return ()
        return tuple(self.text(item, f"{where}.{index}") for index, item in enumerate(value))

    def translations(self, value: object, where: str) -> dict[str, str]:
        if not isinstance(value, dict):
            self.fault("wrong_type", "must map texts to texts", where)
            return {}
        if len(value) > _LARGEST_MAP:
            self.fault("too_many", f"more than {_LARGEST_MAP} entries", where)
            return {}
        return {str(key): self.text(item, f"{where}.{key}") for key, item in value.items()}

    def flag(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            self.fault("wrong_type", "must be true or false", where, ("true", "false"))
        return value is True

    def choice(self, value: object, where: str, allowed: tuple[str, ...]) -> str:
        if value not in allowed:
            self.fault("unknown_value", f"unknown value {value!r}", where, allowed)
            return allowed[0]
        return str(value)

    def known_keys(self, value: Mapping[str, object], where: str, allowed: tuple[str, ...]) -> None:
        for key in value:
            if key not in allowed:
                place = f"{where}.{key}" if where else str(key)
                self.fault("unknown_key", f"unknown key {key!r}", place, allowed)

    def encoding(self, value: object, where: str) -> str:
        name = self.text(value, where)
        try:
            return codecs.lookup(name).name
        except LookupError:
            usual = ("utf-8", "latin-1", "cp1252", "utf-16")
            self.fault("unknown_encoding", f"unknown encoding {name!r}", where, usual)
            return "utf-8"

    def zone(self, value: object, where: str) -> str:
        name = self.text(value, where)
        if not known_time_zone(name):
            usual = ("UTC", "Europe/Berlin", "America/New_York", "… any IANA name")
            self.fault("unknown_time_zone", f"unknown time zone {name!r}", where, usual)
            return "UTC"
        return name

    def quantity(self, value: object, where: str) -> Decimal:
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal(-1)
        if isinstance(value, bool) or not number.is_finite() or number < 0:
            self.fault("wrong_value", "must be a number not below 0", where)
            return Decimal(0)
        return number


def parse_declaration(definition: object) -> tuple[Declaration, list[Problem]]:
    """Check a collector's definition; the declaration is good only when there are no problems."""
    reading = _Reading()
    if not isinstance(definition, dict):
        reading.fault("wrong_type", "must be a mapping", "definition", DECLARATION_KEYS)
        return Declaration(format="csv"), reading.problems
    reading.known_keys(definition, "", DECLARATION_KEYS)
    formats = tuple(PRESETS)
    if definition.get("format") not in formats:
        message = "missing" if "format" not in definition else "unknown format"
        reading.fault("unknown_format", message, "format", formats)
        return Declaration(format="csv"), reading.problems
    complete = with_preset(definition)
    values: dict[str, object] = {"format": complete["format"]}
    for key, read in _READERS.items():
        if complete.get(key) is not None:
            values[key] = read(reading, complete[key], key)
    values["fields"] = _read_fields(reading, complete)
    declaration = Declaration(**values)  # type: ignore[arg-type]
    _check_whole(reading, declaration)
    return declaration, reading.problems


def _read_fields(reading: _Reading, definition: Mapping[str, object]) -> dict[str, FieldRule]:
    given = definition.get("fields", {})
    if not isinstance(given, dict):
        reading.fault("wrong_type", "must be a mapping", "fields", EVENT_FIELDS)
        return {}
    reading.known_keys(given, "fields", EVENT_FIELDS)
    rules = {
        name: _read_rule(reading, value, f"fields.{name}")
        for name, value in given.items()
        if name in EVENT_FIELDS
    }
    if definition.get("source") is not None:
        rules["source"] = FieldRule((reading.text(definition["source"], "source"),))
    for name in EVENT_FIELDS:
        if name != "source" and name not in rules:
            reading.fault("missing_field", "has no mapping", f"fields.{name}", RULE_KEYS)
    for name, rule in rules.items():
        if rule.content_hash and name != "event_id":
            reading.fault("wrong_value", "is for event_id only", f"fields.{name}.content_hash")
        if rule.seconds_between and name != "quantity":
            reading.fault("wrong_value", "is for quantity only", f"fields.{name}.seconds_between")
    return rules


def _read_rule(reading: _Reading, value: object, where: str) -> FieldRule:
    if isinstance(value, str) and value:
        return FieldRule((Placeholder((value,)),))
    if not isinstance(value, dict):
        reading.fault("wrong_type", "must be a column or a mapping", where, RULE_KEYS)
        return FieldRule()
    reading.known_keys(value, where, (*RULE_KEYS, "map"))
    if sum(key in value for key in RULE_KEYS) != 1:
        reading.fault("wrong_value", "must have exactly one origin", where, RULE_KEYS)
        return FieldRule()
    mapped = reading.translations(value["map"], f"{where}.map") if "map" in value else {}
    if "column" in value:
        column = reading.text(value["column"], f"{where}.column")
        return FieldRule((Placeholder((column,)),), mapped)
    if "constant" in value:
        return FieldRule((reading.text(value["constant"], f"{where}.constant"),), mapped)
    if "template" in value:
        return FieldRule(_read_template(reading, value["template"], f"{where}.template"), mapped)
    if "content_hash" in value:
        return FieldRule(content_hash=reading.flag(value["content_hash"], f"{where}.content_hash"))
    pair = reading.texts(value["seconds_between"], f"{where}.seconds_between")
    if len(pair) != 2:
        reading.fault("wrong_value", "must name two columns", f"{where}.seconds_between")
        return FieldRule()
    return FieldRule(seconds_between=(pair[0], pair[1]))


def _read_template(reading: _Reading, value: object, where: str) -> tuple[str | Placeholder, ...]:
    """``text {column} {first|second} {column|=otherwise} {column|}`` as parts."""
    parts: list[str | Placeholder] = []
    for index, piece in enumerate(_PLACEHOLDER.split(reading.text(value, where))):
        if index % 2 == 0:
            if "{" in piece or "}" in piece:
                reading.fault("wrong_value", "has a brace without its partner", where)
            if piece:
                parts.append(piece)
            continue
        *columns, last = piece.split("|")
        otherwise: str | None = None
        if columns and (not last or last.startswith("=")):
            otherwise = last.removeprefix("=")
        else:
            columns.append(last)
        if not all(columns):
            reading.fault("wrong_value", f"names no column in {{{piece}}}", where)
        parts.append(Placeholder(tuple(columns), otherwise))
    if not any(isinstance(part, Placeholder) for part in parts):
        reading.fault("wrong_value", "names no column; use constant instead", where)
    return tuple(parts)


def _read_record_rules(reading: _Reading, value: object, where: str) -> tuple[RecordRule, ...]:
    if not isinstance(value, list):
        reading.fault("wrong_type", "must be a list of rules", where)
        return ()
    rules = []
    allowed = ("column", "in", "not_in", *(("reason", "message") if where == "reject" else ()))
    for index, item in enumerate(value):
        place = f"{where}.{index}"
        if not isinstance(item, dict):
            reading.fault("wrong_type", "must be a mapping", place, allowed)
            continue
        reading.known_keys(item, place, allowed)
        if not item.get("column") or ("in" in item) == ("not_in" in item):
            reading.fault("wrong_value", "must have a column and one of in, not_in", place, allowed)
            continue
        kind = "in" if "in" in item else "not_in"
        reason = str(item.get("reason", "not_usage"))
        if not _REASON.fullmatch(reason):
            reading.fault("wrong_value", "must be a word in snake_case", f"{place}.reason")
        values = reading.texts(item[kind], f"{place}.{kind}")
        column = reading.text(item["column"], f"{place}.column")
        message = str(item.get("message", f"{column} is not that of a usage record"))
        rules.append(RecordRule(column, values, kind == "not_in", reason, message))
    return tuple(rules)


def _read_value_maps(reading: _Reading, value: object, where: str) -> dict[str, Mapping[str, str]]:
    if not isinstance(value, dict):
        reading.fault("wrong_type", "must map columns to value maps", where)
        return {}
    return {str(k): reading.translations(v, f"{where}.{k}") for k, v in value.items()}


def _read_time_formats(reading: _Reading, value: object, where: str) -> tuple[str, ...]:
    formats = reading.texts(value, where)
    for index, text in enumerate(formats):
        directives = re.findall(r"%-?.?", text)
        known = all(directive.lstrip("%-") in _DIRECTIVES for directive in directives)
        if text not in EPOCH_FORMATS and not (directives and known):
            allowed = (*EPOCH_FORMATS, "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S%z", "…")
            message = f"unknown time format {text!r}"
            reading.fault("unknown_time_format", message, f"{where}.{index}", allowed)
    return formats


def _check_whole(reading: _Reading, declaration: Declaration) -> None:
    if not declaration.header and not declaration.columns and not declaration.json:
        reading.fault("missing_field", "must name the columns of a file without header", "columns")
    if declaration.columns and declaration.header:
        reading.fault("wrong_value", "is for files without header (header: false)", "columns")
    if declaration.columns:
        for column in declaration.used_columns():
            if column not in declaration.columns:
                message = f"column {column!r} is not in columns"
                reading.fault("unknown_column", message, "fields", declaration.columns)
    low, high = declaration.minimum_quantity, declaration.maximum_quantity
    if low is not None and high is not None and high < low:
        reading.fault("wrong_value", "is below minimum_quantity", "maximum_quantity")


def _choice_of(*allowed: str) -> Callable[[_Reading, object, str], str]:
    def read(reading: _Reading, value: object, where: str) -> str:
        return reading.choice(value, where, allowed)

    return read


_READERS: Mapping[str, Callable[[_Reading, object, str], object]] = {
    "encoding": _Reading.encoding,
    "delimiter": _Reading.character,
    "quote": lambda reading, value, where: value and reading.character(value, where),
    "header": _Reading.flag,
    "columns": _Reading.texts,
    "null_values": _Reading.texts,
    "decimal_mark": _choice_of(".", ","),
    "time_zone": _Reading.zone,
    "time_formats": _read_time_formats,
    "value_maps": _read_value_maps,
    "minimum_quantity": _Reading.quantity,
    "maximum_quantity": _Reading.quantity,
    "reject": _read_record_rules,
    "skip": _read_record_rules,
    "attributes": _choice_of(*ATTRIBUTES),
}
