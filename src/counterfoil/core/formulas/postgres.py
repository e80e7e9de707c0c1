"""Checked formulas as PostgreSQL expressions, with the same values as those for the engine.

PostgreSQL's numeric keeps all digits of sums and products; a quotient is made of integers, so
that it is rounded once. What leaves the range of a formula's numbers is NULL, and no value of
the data raises.
"""

from collections.abc import Callable

from counterfoil.core.formulas.rendering import (
    LONG,
    RESULT,
    ColumnOf,
    Renderer,
    sql_type,
)
from counterfoil.core.formulas.vocabulary import SCALE, WHOLE, Kind, Node, Reference, Type

SMALLEST = f"0.{1:0{SCALE}}"
"""The unit of the last decimal."""

_NUMBER_TEXT = r"^ *[-+]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40}) *$"
_DATE_TEXT = r"^ *\d{4}-\d{1,2}-\d{1,2} *$"


def rendered_for_postgres(root: Node, column_of: ColumnOf) -> str:
    """The whole formula; a number as numeric(38,15)."""
    wanted = RESULT if root.type.kind is Kind.NUMBER else root.type
    return PostgresRenderer(column_of).fit(root, wanted)


class PostgresRenderer(Renderer):
    """Renders what PostgreSQL does otherwise than the engine."""

    def render(self, node: Node) -> str:
        """SQL whose value has exactly the node's type."""
        own = _OWN.get(node.operation)
        return super().render(node) if own is None else own(self, node)

    def named(self, sql: str, use: Callable[[str], str], *, always: bool = False) -> str:
        """What ``use`` makes of an expression that it writes several times.

        OFFSET 0 keeps the planner from writing it several times after all.
        """
        if len(sql) <= LONG and not always:
            return use(sql)
        self._named += 1
        name = f"formula_{self._named}"
        return f"(SELECT {use(name)} FROM (SELECT {sql} AS {name} OFFSET 0) AS {name}_of)"

    def bounded(self, sql: str, type_: Type, *, always: bool = False) -> str:
        """``sql`` in a type; no value where that is the widest, or perhaps too narrow."""
        if type_.whole < WHOLE and not always:
            return f"CAST({sql} AS {sql_type(type_)})"
        return self.named(
            sql,
            lambda value: (
                f"(CASE WHEN abs({value}) < {10**type_.whole}"
                f" THEN CAST({value} AS {sql_type(type_)}) END)"
            ),
        )

    def literal(self, node: Node) -> str:
        """A constant; of a text the type is said as well."""
        text = super().literal(node)
        return f"CAST({text} AS VARCHAR)" if node.type.kind is Kind.TEXT else text

    def reference(self, node: Node) -> str:
        """The caller's column, in the declared type."""
        if not isinstance(node.value, Reference):
            raise TypeError("a reference node holds no reference")
        return f"CAST({self._column_of(node.value)} AS {sql_type(node.type)})"

    def compared(self, node: Node) -> str:
        """Texts are compared by their characters, whatever the database's language is."""
        left, right = self.fitted(node.parts)
        if node.parts[0].type.kind is Kind.TEXT:
            left = f'({left} COLLATE "C")'
        return f"({left} {node.operation} {right})"

    def between(self, node: Node) -> str:
        """Both bounds belong to it."""
        asked, low, high = self.fitted(node.parts)
        if node.parts[0].type.kind is Kind.TEXT:
            asked = f'({asked} COLLATE "C")'
        return f"({asked} BETWEEN {low} AND {high})"

    def like(self, node: Node) -> str:
        """Without a character that takes the meaning from the next one."""
        asked, pattern = (self.render(part) for part in node.parts)
        return f"({asked} LIKE {pattern} ESCAPE '')"

    def cast(self, node: Node) -> str:
        """A conversion that the formula asks for; no value where a text does not fit."""
        part = node.parts[0]
        if node.type.kind is Kind.TEXT or part.type.kind is Kind.EMPTY:
            return self._told(node)
        text = self.render(part)
        if node.type.kind is Kind.DATE:
            return self.named(text, _date_of_text)
        if part.type.kind is Kind.TEXT:
            text = self.named(
                text,
                lambda value: (
                    f"(CASE WHEN {value} ~ '{_NUMBER_TEXT}' THEN CAST({value} AS NUMERIC) END)"
                ),
            )
        return self.bounded(f"round({text}, {node.type.scale})", node.type, always=True)

    def _told(self, node: Node) -> str:
        part = node.parts[0]
        if part.type.kind is Kind.EMPTY:
            return f"CAST(NULL AS {sql_type(node.type)})"
        return super().cast(node)

    def rounded(self, node: Node) -> str:
        """Half away from zero, exactly."""
        return self.bounded(f"round({self.number(node.parts[0])}, {node.type.scale})", node.type)

    def whole(self, node: Node) -> str:
        """Floor and ceil."""
        return self.bounded(f"{node.operation}({self.number(node.parts[0])})", node.type)

    def extract(self, node: Node) -> str:
        """Year, month, day and day of the week of a date."""
        text = self.fit(node.parts[0], Type(Kind.DATE))
        return f"CAST(extract({node.value} FROM {text}) AS {sql_type(node.type)})"

    def span(self, node: Node) -> str:
        """Complete days, months or years from one date to another; negative backwards."""
        start, end = (self.fit(part, Type(Kind.DATE)) for part in node.parts)
        if node.value == "day":
            return f"CAST({end} - {start} AS {sql_type(node.type)})"
        parts = 12 if node.value == "year" else 1

        def use(one: str, two: str) -> str:
            return f"CAST({_complete_months(one, two)} / {parts} AS {sql_type(node.type)})"

        return self.named(start, lambda one: self.named(end, lambda two: use(one, two)))

    def added(self, node: Node) -> str:
        """Sum or difference, in the type of the result."""
        left, right = (self.number(part, node.type) for part in node.parts)
        return self.bounded(f"({left} {node.operation} {right})", node.type)

    def product(self, node: Node) -> str:
        """Exact, then rounded half-up to 15 decimals when it has more."""
        left, right = (self.number(part) for part in node.parts)
        return self.bounded(f"round({left} * {right}, {node.type.scale})", node.type)

    def quotient(self, node: Node) -> str:
        """Rounded half-up to 15 decimals; no value where the divisor is zero."""
        left, right = (self.number(part) for part in node.parts)

        def use(x: str, y: str) -> str:
            # floor(2 * 10^15 * |x| / |y| + 1) / 2, all of it whole numbers.
            count = f"div({2 * 10**SCALE} * abs({x}) + abs({y}), 2 * abs(nullif({y}, 0)))"
            return f"(sign({x}) * sign({y}) * {count} * {SMALLEST})"

        divided = self.named(left, lambda x: self.named(right, lambda y: use(x, y)))
        return self.bounded(divided, node.type, always=True)


def _date_of_text(text: str) -> str:
    """A text as a date where it is one; nothing is tried that could fail."""
    year, month, day = (
        f"CAST(split_part(trim({text}), '-', {number}) AS INTEGER)" for number in (1, 2, 3)
    )
    last = f"extract(day FROM make_date({year}, {month}, 1) + INTERVAL '1 month - 1 day')"
    return (
        f"(CASE WHEN {text} ~ '{_DATE_TEXT}' THEN"
        f" CASE WHEN {year} > 0 AND {month} BETWEEN 1 AND 12 THEN"
        f" CASE WHEN {day} BETWEEN 1 AND {last} THEN make_date({year}, {month}, {day})"
        " END END END)"
    )


def _complete_months(start: str, end: str) -> str:
    """Months after which the day of the month is reached; the last day of a shorter one counts."""
    early, late = f"least({start}, {end})", f"greatest({start}, {end})"
    months = (
        f"CAST((extract(year FROM {late}) - extract(year FROM {early})) * 12"
        f" + extract(month FROM {late}) - extract(month FROM {early}) AS INTEGER)"
    )
    reached = f"CAST({early} + {months} * INTERVAL '1 month' AS DATE) <= {late}"
    return (
        f"(CASE WHEN {start} > {end} THEN -1 ELSE 1 END"
        f" * ({months} - CASE WHEN {reached} THEN 0 ELSE 1 END))"
    )


_OWN: dict[str, Callable[[PostgresRenderer, Node], str]] = {
    "literal": PostgresRenderer.literal,
    "reference": PostgresRenderer.reference,
    **dict.fromkeys(("<", "<=", ">", ">="), PostgresRenderer.compared),
    "between": PostgresRenderer.between,
    "like": PostgresRenderer.like,
    "cast": PostgresRenderer.cast,
    "round": PostgresRenderer.rounded,
    **dict.fromkeys(("floor", "ceil"), PostgresRenderer.whole),
    "extract": PostgresRenderer.extract,
    "date_diff": PostgresRenderer.span,
    **dict.fromkeys(("+", "-"), PostgresRenderer.added),
    "*": PostgresRenderer.product,
    "/": PostgresRenderer.quotient,
}
