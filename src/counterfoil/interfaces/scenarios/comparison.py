"""Expected against produced: every listed field, every invoice and every line, to the cent.

Produced invoices and lines are mappings with the field names of the notation; their decimals are
in the form that is shown. Their order does not matter; each must be expected once. What is left
over on either side is a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from counterfoil.interfaces.scenarios.scenario import Expected, ExpectedInvoice, ExpectedLine

SHOWN = ("charge", "subscription", "kind", "from", "to", "quantity", "amount")
"""The fields by which a line is named in a difference."""


@dataclass(frozen=True, slots=True)
class ProducedInvoice:
    """An invoice as a bill run or preview made it: its fields and its lines."""

    fields: Mapping[str, object]
    lines: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True)
class Produced:
    """All that a bill run or preview made: invoices, and why accounts were skipped."""

    invoices: tuple[ProducedInvoice, ...] = ()
    problems: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected; ``line`` is where it is expected in the file."""

    line: int
    message: str
    expected: str = field(default="")
    got: str = field(default="")

    def __str__(self) -> str:
        parts = [self.message]
        if self.expected or self.got:
            parts.append(f"expected {self.expected or 'nothing'}, got {self.got or 'nothing'}")
        return ": ".join(parts)


def compare(expected: Expected, produced: Produced) -> list[Difference]:
    """All differences, in the order of the file; none when everything is as expected."""
    differences: list[Difference] = []
    pairs, missing, surplus = pair_up(
        [(invoice.fields, _line_fields(invoice)) for invoice in expected.invoices],
        [(invoice.fields, invoice.lines) for invoice in produced.invoices],
    )
    for wanted, made in pairs:
        differences += _compare_invoice(expected.invoices[wanted], produced.invoices[made])
    for wanted in missing:
        invoice = expected.invoices[wanted]
        shown = _show_invoice(invoice.fields)
        differences.append(Difference(invoice.line, "invoice missing", shown))
    for made in surplus:
        got = _show_invoice(produced.invoices[made].fields)
        differences.append(Difference(expected.line, "invoice not expected", got=got))
    differences += _compare_rows(expected.problems, produced.problems, "problem", expected.line)
    return sorted(differences, key=lambda difference: difference.line)


def _compare_invoice(expected: ExpectedInvoice, made: ProducedInvoice) -> list[Difference]:
    where = f"invoice of {made.fields.get('account')}"
    differences = _compare_fields(expected.line, where, expected.fields, made.fields)
    if expected.lines is not None:
        differences += _compare_rows(expected.lines, made.lines, f"{where}: line", expected.line)
    return differences


def _compare_rows(
    expected: Sequence[ExpectedLine],
    produced: Sequence[Mapping[str, object]],
    what: str,
    place: int,
) -> list[Difference]:
    differences: list[Difference] = []
    pairs, missing, surplus = pair_up(
        [(row.fields, ()) for row in expected], [(row, ()) for row in produced]
    )
    for wanted, made in pairs:
        row = expected[wanted]
        named = f"{what} {_show(produced[made])}"
        differences += _compare_fields(row.line, named, row.fields, produced[made])
    for wanted in missing:
        row = expected[wanted]
        differences.append(Difference(row.line, f"{what} missing", _show(row.fields)))
    for made in surplus:
        differences.append(Difference(place, f"{what} not expected", got=_show(produced[made])))
    return differences


def _compare_fields(
    line: int, where: str, expected: Mapping[str, object], made: Mapping[str, object]
) -> list[Difference]:
    return [
        Difference(line, f"{where}: {name}", show_value(value), show_value(made.get(name)))
        for name, value in expected.items()
        if value != made.get(name)
    ]


Compared = tuple[Mapping[str, object], Sequence[Mapping[str, object]]]
"""An invoice's fields with those of its lines, or a line's fields with nothing."""


def pair_up(
    expected: Sequence[Compared], produced: Sequence[Compared]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Pair each expected row with the produced one that fits best, perfect fits first.

    Returns pairs of positions, positions of expected rows left over, and of produced rows left
    over. Rows without any equal field, or of another account, are never paired.
    """
    scores = []
    for wanted, row in enumerate(expected):
        for made, other in enumerate(produced):
            score = _fit(row, other)
            if score > 0:
                scores.append((-score, wanted, made))
    pairs: list[tuple[int, int]] = []
    free_expected, free_produced = set(range(len(expected))), set(range(len(produced)))
    for _, wanted, made in sorted(scores):
        if wanted in free_expected and made in free_produced:
            pairs.append((wanted, made))
            free_expected.remove(wanted)
            free_produced.remove(made)
    return sorted(pairs), sorted(free_expected), sorted(free_produced)


def _fit(expected: Compared, produced: Compared) -> int:
    """How many fields agree, of the row and of its lines; 2 more for all of the row's own."""
    fields, lines = expected
    other_fields, other_lines = produced
    for name in ("account", "charge"):
        if name in fields and fields[name] != other_fields.get(name):
            return 0
    equal = sum(1 for name, value in fields.items() if value == other_fields.get(name))
    within = sum(
        1
        for row in lines
        if any(
            all(value == other.get(name) for name, value in row.items()) for other in other_lines
        )
    )
    return equal + within + (2 if equal == len(fields) else 0)


def _line_fields(invoice: ExpectedInvoice) -> list[Mapping[str, object]]:
    return [line.fields for line in invoice.lines or ()]


def show_value(value: object) -> str:
    """A value as it would stand in a scenario file; empty when there is none."""
    if value is None:
        return ""
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _show_invoice(fields: Mapping[str, object]) -> str:
    names = ("account", "kind", "total", "currency")
    return " ".join(show_value(fields[name]) for name in names if fields.get(name) is not None)


def _show(fields: Mapping[str, object]) -> str:
    shown = [name for name in SHOWN if fields.get(name) is not None] or list(fields)
    return " ".join(f"{name} {show_value(fields[name])}" for name in shown)
