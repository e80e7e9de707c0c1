"""Quotes in YAML files: the same fields as over REST, with the line of every mistake."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from counterfoil.business.sales.notation import (
    LINE_FORM,
    QUOTE_FORM,
    USAGE_FORM,
    NewQuote,
    read_quotes,
)
from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Field, FieldType, Record

_KINDS: Mapping[FieldType, Kind] = {
    FieldType.INTEGER: Kind.INTEGER,
    FieldType.DECIMAL: Kind.DECIMAL,
    FieldType.DATE: Kind.DATE,
}
_SPECIAL = {
    "lines": Rule(kind=Kind.NODE, required=True),
    "quantities": Rule(kind=Kind.DECIMALS),
    "prices": Rule(kind=Kind.DECIMALS),
    "usage": Rule(kind=Kind.NODE),
    "attributes": Rule(kind=Kind.NAMED),
}


@dataclass(frozen=True, slots=True)
class FiledQuote:
    """A quote and where it and its lines stand in a file."""

    quote: NewQuote
    file: str
    entry: Entry
    lines: tuple[Entry, ...]

    def locate(self, problem: Problem) -> Problem:
        """A problem of the quote, whose line is the position of a line, at its place."""
        return _located(problem, self.file, self.entry, self.lines)


def parse_quotes(text: str, file: str) -> list[FiledQuote]:
    """The quotes of a file; refuses with every problem at once."""
    reader = Reader(file)
    node = reader.document(text)
    rules: Rules = {"quotes": Rule(kind=Kind.NODE, required=True)}
    whole = reader.entry(node, rules, "") if node else None
    read: list[tuple[Record, Entry, tuple[Entry, ...]]] = []
    for at, item in enumerate(reader.items(whole["quotes"], "quotes") if whole else ()):
        entry = reader.entry(item, _rules(QUOTE_FORM), f"quotes[{at}]")
        if entry is not None:
            rows, places = _lines(reader, entry, f"quotes[{at}].lines")
            read.append(({**_given(entry), "lines": rows}, entry, places))
    problems = list(reader.problems)
    quotes = []
    for row, entry, places in read if not problems else ():
        try:
            quotes.append(FiledQuote(read_quotes([row])[0], file, entry, places))
        except Refused as refused:
            problems += [_located(one, file, entry, places) for one in refused.problems]
    if problems:
        raise Refused(problems)
    return quotes


def _lines(reader: Reader, quote: Entry, path: str) -> tuple[list[Record], tuple[Entry, ...]]:
    rows: list[Record] = []
    places: list[Entry] = []
    for number, item in enumerate(reader.items(quote["lines"], path)):
        entry = reader.entry(item, _rules(LINE_FORM), f"{path}[{number}]")
        if entry is None:
            continue
        usage = [
            _given(one)
            for place, estimate in enumerate(reader.items(entry["usage"], f"{path}.usage"))
            if (one := reader.entry(estimate, _rules(USAGE_FORM), f"{path}.usage[{place}]"))
        ]
        rows.append({**_given(entry), "usage": usage})
        places.append(entry)
    return rows, tuple(places)


def _rules(form: Entity) -> Rules:
    return {field.name: _rule(field) for field in form.fields}


def _rule(field: Field) -> Rule:
    if field.name in _SPECIAL:
        return _SPECIAL[field.name]
    return Rule(kind=_KINDS.get(field.type, Kind.TEXT), required=field.required)


def _given(entry: Entry) -> Record:
    """The fields that stand in the file, as plain values."""
    return {
        name: value
        for name, value in entry.values.items()
        if value is not None and name not in ("lines", "usage")
    }


def _located(problem: Problem, file: str, quote: Entry, lines: tuple[Entry, ...]) -> Problem:
    if problem.line is None or problem.line > len(lines):
        return replace(problem, file=file, line=quote.line_of(problem.field.split(".")[0]))
    field = problem.field.removeprefix("lines.").split(".")[0]
    return replace(problem, file=file, line=lines[problem.line - 1].line_of(field))
