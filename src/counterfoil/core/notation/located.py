"""Reading YAML by declared rules: exact texts in, typed values and line-numbered problems out.

YAML's own guessing of types is not used. A scalar keeps the characters of the file until the
rule of its field turns them into a value, so that an amount never passes through a float and an
identifier ``007`` stays what it is.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any

import yaml

from counterfoil.core.problems import Problem

Moment = date | datetime
"""A day as it stands in the file, or an aware UTC instant."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader where PyYAML was built with it: ten times as fast, the same nodes."""

EXACT = Context(prec=1000)
DECIMAL = re.compile(r"-?\d{1,100}(\.\d{1,100})?", re.ASCII)
INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
NOTHING = ("", "~", "null")


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "text"
    TEXTS = "texts"  # a list of texts
    CONDITIONS = "conditions"  # a mapping of names to one text, or a list, or {prefix: ...}
    DECIMAL = "decimal"
    DECIMALS = "decimals"  # a mapping of text to decimal
    NAMED = "named"  # a mapping of names to texts
    INTEGER = "integer"
    BOOLEAN = "boolean"  # true or false
    DATE = "date"
    MOMENT = "moment"  # a date, or an instant with its offset from UTC
    NODE = "node"  # read on by the caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the value of one field is read.

    ``minimum`` and ``maximum`` bound integers and decimals, ``max_length`` bounds texts (which
    must not be empty), ``digits`` and ``places`` the digits of a decimal in all and after the
    point.
    """

    kind: Kind = Kind.TEXT
    required: bool = False
    default: object = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    digits: int = 38
    places: int = 15


Rules = Mapping[str, Rule]


@dataclass(frozen=True, slots=True)
class Entry:
    """A mapping of the file, read by its rules, and the line it begins on (from 1)."""

    line: int
    values: dict[str, Any]
    lines: dict[str, int]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def line_of(self, name: str) -> int:
        """Line of a field's value; the entry's own line when the field is absent."""
        return self.lines.get(name, self.line)


class Reader:
    """Reads nodes of one file and gathers every problem instead of stopping at the first."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def refuse(
        self, code: str, message: str, line: int, field: str, allowed: tuple[str, ...] = ()
    ) -> None:
        """Note a problem at a line."""
        self.problems.append(Problem(code, message, field, allowed, self.file, line))

    def document(self, text: str) -> yaml.Node | None:
        """The only document of a YAML text, as nodes; None (and a problem) when it is not YAML."""
        try:
            node: yaml.Node | None = yaml.compose(text, Loader=LOADER)
        except RecursionError:
            self.refuse("bad_yaml", "is nested too deeply", 1, "")
            return None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            said = getattr(error, "problem", None) or str(error)
            self.refuse("bad_yaml", f"not YAML: {said}", mark.line + 1 if mark else 1, "")
            return None
        if node is None:
            self.refuse("empty_file", "the file is empty", 1, "")
        return node

    def entry(self, node: yaml.Node, rules: Rules, field: str) -> Entry | None:
        """A mapping read by ``rules``; None when the node is no mapping."""
        line = line_of(node)
        if not isinstance(node, yaml.MappingNode):
            self.refuse("no_mapping", "must be a mapping of fields", line, field)
            return None
        given = self._fields(node, rules, field)
        values: dict[str, Any] = {}
        for name, rule in rules.items():
            place = f"{field}.{name}" if field else name
            value_node = given.get(name)
            value = None if value_node is None else self.value(value_node, rule, place)
            if value_node is None and rule.required:
                self.refuse("missing", "is missing", line, place)
            values[name] = rule.default if value is None else value
        return Entry(line, values, {name: line_of(node) for name, node in given.items()})

    def _fields(self, node: yaml.MappingNode, rules: Rules, field: str) -> dict[str, yaml.Node]:
        given: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            place = f"{field}.{name}" if field else str(name)
            if name not in rules:
                self.refuse("unknown_field", "unknown field", line_of(key), place, tuple(rules))
            elif name in given:
                self.refuse("double_field", "stands here twice", line_of(key), place)
            elif not _is_nothing(value):
                given[name] = value
        return given

    def items(self, node: yaml.Node | None, field: str) -> list[yaml.Node]:
        """The members of a list; none when the node is absent."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.refuse("no_list", "must be a list", line_of(node), field)
            return []
        return list(node.value)

    def value(self, node: yaml.Node, rule: Rule, field: str) -> Any:
        """The value of a node by its rule; None, with a problem noted, when it does not fit."""
        if rule.kind is Kind.NODE:
            return node
        if rule.kind is Kind.TEXTS:
            texts = [self.value(item, Rule(), field) for item in self.items(node, field)]
            return tuple(text for text in texts if text is not None)
        if rule.kind is Kind.DECIMALS:
            return self._decimals(node, field)
        if rule.kind is Kind.NAMED:
            return self._named(node, field)
        if rule.kind is Kind.CONDITIONS:
            return self._conditions(node, field)
        if not isinstance(node, yaml.ScalarNode):
            self.refuse("no_scalar", f"must be a {rule.kind}", line_of(node), field)
            return None
        return self.scalar(str(node.value), rule, line_of(node), field)

    def _decimals(self, node: yaml.Node, field: str) -> dict[str, Decimal] | None:
        if not isinstance(node, yaml.MappingNode):
            self.refuse("no_mapping", "must be a mapping of names to numbers", line_of(node), field)
            return None
        number = Rule(kind=Kind.DECIMAL, minimum=0)
        read: dict[str, Decimal] = {}
        for key, value in node.value:
            amount = self.value(value, number, f"{field}.{key.value}")
            if amount is not None:
                read[str(key.value)] = amount
        return read

    def _named(self, node: yaml.Node, field: str) -> dict[str, str] | None:
        if not isinstance(node, yaml.MappingNode):
            self.refuse("no_mapping", "must be a mapping of names to texts", line_of(node), field)
            return None
        read = {
            str(key.value): self.value(value, Rule(), f"{field}.{key.value}")
            for key, value in node.value
        }
        return {name: text for name, text in read.items() if text is not None}

    def _conditions(self, node: yaml.Node, field: str) -> dict[str, Any] | None:
        if not isinstance(node, yaml.MappingNode):
            self.refuse("no_mapping", "must be a mapping of names to values", line_of(node), field)
            return None
        read: dict[str, Any] = {}
        for key, value in node.value:
            name, place = str(key.value), f"{field}.{key.value}"
            if name in read:
                self.refuse("double_field", "stands here twice", line_of(key), place)
            elif isinstance(value, yaml.MappingNode):
                prefix = Rule(kind=Kind.NODE, required=True)
                entry = self.entry(value, {"prefix": prefix}, place)
                if entry is not None and entry["prefix"] is not None:
                    read[name] = {"prefix": self._texts(entry["prefix"], f"{place}.prefix")}
            else:
                read[name] = self._texts(value, place)
        return read

    def _texts(self, node: yaml.Node, field: str) -> list[str]:
        """One text or a list of them."""
        single = isinstance(node, yaml.ScalarNode)
        texts = [
            self.value(item, Rule(), field)
            for item in ([node] if single else self.items(node, field))
        ]
        if not texts:
            self.refuse("empty", "is empty", line_of(node), field)
        return [text for text in texts if text is not None]

    def scalar(self, text: str, rule: Rule, line: int, field: str) -> Any:
        """The value of a text by its rule; None, with a problem noted, when it does not fit."""
        if rule.choices and text not in rule.choices:
            self.refuse("unknown_value", f"unknown value {text!r}", line, field, rule.choices)
            return None
        if rule.kind is Kind.TEXT and not self._fits(text, rule, line, field):
            return None
        parse = PARSERS[rule.kind]
        try:
            value = parse(text)
        except ValueError as error:
            self.refuse(f"no_{rule.kind}", f"{text[:60]!r} is {error}", line, field)
            return None
        if isinstance(value, Decimal) and not self._keeps(value, rule, line, field):
            return None
        if rule.minimum is not None and value < rule.minimum:
            self.refuse("too_small", f"{text} is less than {rule.minimum}", line, field)
            return None
        if rule.maximum is not None and value > rule.maximum:
            self.refuse("too_large", f"{text} is more than {rule.maximum}", line, field)
            return None
        return value

    def _fits(self, text: str, rule: Rule, line: int, field: str) -> bool:
        """Whether a text is neither empty nor longer than its field."""
        if not text.strip():
            self.refuse("empty", "is empty", line, field)
        elif rule.max_length is not None and len(text) > rule.max_length:
            self.refuse("too_long", f"has more than {rule.max_length} characters", line, field)
        else:
            return True
        return False

    def _keeps(self, value: Decimal, rule: Rule, line: int, field: str) -> bool:
        """Whether a decimal can be kept with all its digits: nothing is rounded here."""
        exponent = value.normalize(EXACT).as_tuple().exponent
        places = max(-int(exponent), 0)
        if places > rule.places:
            message = f"{value} has more than {rule.places} decimal places"
            self.refuse("too_many_places", message, line, field)
        elif value and value.adjusted() >= rule.digits - rule.places:
            message = f"{value} has more than {rule.digits - rule.places} digits before the point"
            self.refuse("too_large", message, line, field)
        else:
            return True
        return False


def line_of(node: yaml.Node) -> int:
    """The line a node begins on, from 1."""
    return int(node.start_mark.line) + 1


def excerpt(text: str, node: yaml.Node) -> str:
    """The part of a YAML text that a node covers, at the same line and column as in the whole.

    What precedes it is blank, so a reader of the excerpt reports the line numbers of the whole.
    """
    start, end = node.start_mark, node.end_mark
    return "\n" * start.line + " " * start.column + text[start.index : end.index]


def _is_nothing(node: yaml.Node) -> bool:
    plain = isinstance(node, yaml.ScalarNode) and not node.style
    return plain and node.value in NOTHING


def _parse_text(text: str) -> str:
    return text


def _parse_decimal(text: str) -> Decimal:
    if not DECIMAL.fullmatch(text):
        raise ValueError("not a decimal number such as 29.95")
    return Decimal(text)


def _parse_integer(text: str) -> int:
    if not INTEGER.fullmatch(text):
        raise ValueError("not a whole number")
    return int(text)


def _parse_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("neither true nor false")
    return text == "true"


def _parse_date(text: str) -> date:
    try:
        if DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("not a date such as 2024-02-29")


def _parse_moment(text: str) -> Moment:
    if DAY.fullmatch(text):
        return _parse_date(text)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = datetime.min  # noqa: DTZ901 - naive on purpose: refused below
    if instant.tzinfo is None:
        raise ValueError("neither a date nor an instant such as 2024-02-29T10:00:00Z")
    return instant.astimezone(UTC)


PARSERS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.TEXT: _parse_text,
    Kind.DECIMAL: _parse_decimal,
    Kind.INTEGER: _parse_integer,
    Kind.BOOLEAN: _parse_boolean,
    Kind.DATE: _parse_date,
    Kind.MOMENT: _parse_moment,
}
