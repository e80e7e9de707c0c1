"""A formula as a value: what it says, what it reads, its SQL, and itself with values put in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from counterfoil.core.formulas.checking import Checker
from counterfoil.core.formulas.operations import RULES
from counterfoil.core.formulas.postgres import rendered_for_postgres
from counterfoil.core.formulas.reading import Source, read_source
from counterfoil.core.formulas.rendering import rendered
from counterfoil.core.formulas.vocabulary import Kind, Node, Reference, Value, Vocabulary
from counterfoil.core.problems import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reference stands in the text: characters ``start`` up to before ``end``, from 0."""

    start: int
    end: int
    reference: Reference


@dataclass(frozen=True, slots=True)
class Formula:
    """A checked formula; its ``references`` are in the order of their first appearance."""

    text: str
    returns: Kind
    references: tuple[Reference, ...]
    places: tuple[Place, ...] = field(repr=False)
    root: Node = field(repr=False)

    def calls(self, name: str) -> tuple[Reference, ...]:
        """The references that are lookups by this name, such as ``amount``."""
        return tuple(ref for ref in self.references if ref.name == name and ref.arguments)

    def sql(self, column_of: Callable[[Reference], str]) -> str:
        """The formula as one DuckDB expression: DECIMAL(38,15), VARCHAR, BOOLEAN or DATE.

        ``column_of`` names the column (no subquery) that holds a reference's value. The result
        is NULL where there is no value: something needed is missing, a division by zero, a
        number of more than 23 whole digits. It never raises for a value of the data.
        """
        return rendered(self.root, column_of)

    def postgres_sql(self, column_of: Callable[[Reference], str]) -> str:
        """The formula as one PostgreSQL expression, with the same values as :meth:`sql`."""
        return rendered_for_postgres(self.root, column_of)

    def told(self, values: Mapping[Reference, Value]) -> str:
        """The text with every reference replaced by its value; one without stays a name."""
        told, after = [], 0
        for place in self.places:
            value = self.text[place.start : place.end]
            if place.reference in values:
                value = written(values[place.reference])
            told += [self.text[after : place.start], value]
            after = place.end
        return "".join([*told, self.text[after:]])


def written(value: Value) -> str:
    """A value as formulas write it: ``1200.5``, ``'eu'``, ``true``, ``date '2026-01-31'``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    return "'" + value.replace("'", "''") + "'"


def parse_formula(
    text: str, *, returns: Kind, vocabulary: Vocabulary, field: str = "formula"
) -> tuple[Formula | None, list[Problem]]:
    """Check a formula that must yield ``returns``; either the formula or problems, never both.

    ``field`` is where the formula stands, for the problems. Never raises, whatever the text is.
    """
    source, problem = read_source(text, field)
    if source is None:
        return None, [problem] if problem else []
    checker = Checker(source, vocabulary, field, RULES)
    root = checker.check(source.tree)
    if root is not None:
        checker.must_return(root, returns)
    if root is None or checker.problems:
        return None, checker.problems
    places = tuple(
        Place(start, _end(source, end, reference), reference)
        for start, end, reference in sorted(checker.found, key=lambda found: found[0])
    )
    references = tuple(dict.fromkeys(place.reference for place in places))
    return Formula(text, returns, references, places, root), []


def _end(source: Source, end: int, reference: Reference) -> int:
    """End of a reference in the text: of a lookup the closing bracket after its arguments."""
    if not reference.arguments:
        return end
    return next(close for close in source.closings if close >= end) + 1
