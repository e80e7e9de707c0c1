"""The words in which a formula is refused."""

from difflib import get_close_matches

from sqlglot import exp

from counterfoil.core.formulas.vocabulary import Kind

KINDS = {
    Kind.NUMBER: "a number",
    Kind.TEXT: "a text",
    Kind.BOOLEAN: "a yes/no value",
    Kind.DATE: "a date",
    Kind.EMPTY: "null",
}
FUNCTIONS = (
    "abs",
    "cast",
    "ceil",
    "coalesce",
    "concat",
    "date_diff",
    "extract",
    "floor",
    "greatest",
    "least",
    "length",
    "lower",
    "nullif",
    "round",
    "starts_with",
    "trim",
    "upper",
)
"""The functions of every formula, as they are written."""

MOST_LISTED = 40
FORBIDDEN: tuple[tuple[type[exp.Expr] | tuple[type[exp.Expr], ...], str], ...] = (
    ((exp.Query, exp.Subquery, exp.Exists), "a formula cannot contain a query"),
    (exp.Window, "a formula sees one row at a time: no 'over (...)'"),
    (exp.AggFunc, "a formula sees one row at a time: no totals; use usage('meter', 'scope')"),
    ((exp.Parameter, exp.Placeholder), "parameters are not part of formulas"),
    (exp.Star, "'*' multiplies two values; it cannot stand alone"),
    ((exp.IntDiv,), "'//' is not part of formulas; write floor(a / b)"),
    ((exp.Pow, exp.BitwiseXor), "powers are not part of formulas"),
    (exp.Escape, "'escape' is not part of formulas"),
    (exp.ILike, "write lower(text) like 'pattern' where capitals do not matter"),
    (exp.TryCast, "write cast(...): it has no value where a text does not fit"),
    ((exp.CurrentDate, exp.CurrentTimestamp), "a formula cannot ask for today; use cycle.start"),
)


def refusal_of(tree: exp.Expr, lookups: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Code, message and allowed values for a notation that is not on the whitelist."""
    for classes, message in FORBIDDEN:
        if isinstance(tree, classes):
            return "not_allowed", message, ()
    if isinstance(tree, exp.Func) and not isinstance(tree, exp.Binary | exp.Connector):
        name = tree.sql_name().lower()
        known = (*lookups, *FUNCTIONS)
        message = f"there is no function {name!r} here{similar(name, known)}"
        return "unknown_function", message, known
    return "not_allowed", f"{snippet(tree)} is not part of formulas", ()


def snippet(tree: exp.Expr) -> str:
    """The beginning of a part of a formula, in its own notation."""
    try:
        text = tree.sql(comments=False, normalize_functions="lower")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        text = tree.key
    return f"'{text[:40]}…'" if len(text) > 40 else f"'{text}'"


def similar(name: str, known: tuple[str, ...]) -> str:
    """``; did you mean 'x'?`` when a known name looks like this one, otherwise nothing."""
    near = [other for other in get_close_matches(name, known) if other[:1] == name[:1]]
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(known: tuple[str, ...]) -> tuple[str, ...]:
    """The allowed names, unless they are too many to read."""
    return known if len(known) <= MOST_LISTED else ()
