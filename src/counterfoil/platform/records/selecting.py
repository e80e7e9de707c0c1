"""SELECT statements of others: checked node by node, over what the actor may see, read only.

A statement is a syntax tree in the words of the catalogue: tables are entities, columns are fields.
Only the kinds of nodes, functions and types named here may occur in it. Each table becomes a
query of its own that holds the readable fields of the records the actor sees, and nothing else.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import psycopg
from psycopg import errors
from sqlalchemy import Connection, Select
from sqlglot import exp
from sqlglot.errors import SqlglotError

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue
from counterfoil.platform.records.refusals import refusing

MOST_ROWS = 10_000
MOST_CHARACTERS = 64_000_000
"""Of all values of a result together."""
AT_A_TIME = 100
"""Rows fetched at a time."""
SECONDS = 15
"""How long a statement may take."""
DEEPEST = 120

FUNCTIONS = frozenset(
    (
        *("abs", "ceil", "coalesce", "concat", "date_trunc", "floor", "greatest", "least", "left"),
        *("length", "lower", "ltrim", "make_interval", "mod", "nullif", "right", "round", "rtrim"),
        *("sign", "strpos", "substr", "to_char", "to_date", "to_number", "to_timestamp", "trim"),
        *("trim_scale", "trunc", "upper"),
    )
)
"""Functions of PostgreSQL that only compute, and never more than they are given."""

TYPES = frozenset(
    {exp.DType.TEXT, exp.DType.DECIMAL, exp.DType.BIGINT, exp.DType.DATE, exp.DType.TIMESTAMPTZ}
)
"""What a value may be cast to."""

_CLAUSES: tuple[type[exp.Expr], ...] = (
    *(exp.Select, exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered),
    *(exp.Limit, exp.Offset, exp.Distinct, exp.Table, exp.TableAlias, exp.Subquery, exp.Alias),
)
_VALUES: tuple[type[exp.Expr], ...] = (
    *(exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Star, exp.DataType),
)
_OPERATIONS: tuple[type[exp.Expr], ...] = (
    *(exp.And, exp.Or, exp.Not, exp.Paren, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE),
    *(exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape, exp.Exists),
    *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Neg, exp.Case, exp.If, exp.Cast),
    *(exp.Sum, exp.Count, exp.Avg, exp.Min, exp.Max, exp.Anonymous, exp.Extract, exp.Var),
)
_ALLOWED = frozenset((*_CLAUSES, *_VALUES, *_OPERATIONS))

PARTS = frozenset({"epoch", "year", "quarter", "month", "day", "hour", "minute", "second"})
"""What may be extracted from a moment."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows of a statement, each with its values in the order of the select list."""

    rows: list[tuple[object, ...]]


def check_statement(statement: exp.Select, catalogue: Catalogue) -> None:
    """Refuse (400) whatever is not allowed in a statement; (404) entities that are not seen."""
    for node, depth in _nodes(statement):
        if depth > DEEPEST:
            raise _impossible("such deep nesting")
        found = _what_is_impossible(node)
        if found is not None:
            raise _impossible(found)
        if isinstance(node, exp.Table):
            catalogue.entity(node.name)
    _check_columns(statement, catalogue)


def _check_columns(statement: exp.Select, catalogue: Catalogue) -> None:
    """Refuse (400) columns that no table has and no alias names.

    PostgreSQL would take ``a.text`` for the function ``text`` of the row ``a``.
    """
    known = {alias.alias for alias in statement.find_all(exp.Alias)}
    for table in statement.find_all(exp.Table):
        known.update(field.name for field in catalogue.entity(table.name).readable)
    for column in statement.find_all(exp.Column):
        if column.name not in known and not isinstance(column.this, exp.Star):
            name = f"{column.table}.{column.name}" if column.table else f'"{column.name}"'
            raise Refused(Problem("bad_query", f"column {name} does not exist"), status=400)


def _what_is_impossible(node: exp.Expr) -> str | None:
    if type(node) not in _ALLOWED:
        return node.key.replace("_", " ")
    if isinstance(node, exp.Anonymous) and str(node.this).lower() not in FUNCTIONS:
        return f"the function {str(node.this)[:60]}"
    if isinstance(node, exp.Cast) and node.to.this not in TYPES:
        return f"the type {node.to.sql()[:60]}"
    if isinstance(node, exp.Var) and not (
        isinstance(node.parent, exp.Extract) and node.name.lower() in PARTS
    ):
        return f"{node.name[:60]}"
    if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
        return "* outside of count"
    if isinstance(node, exp.Column) and node.args.get("join_mark"):
        return "a join by (+)"
    if isinstance(node, exp.Literal) and "\x00" in str(node.this):
        return "the character NUL"
    if isinstance(node, exp.Table) and (
        node.args.get("db") or not isinstance(node.this, exp.Identifier)
    ):
        return "what is no entity in FROM"
    return None


def run_statement(
    connection: Connection,
    catalogue: Catalogue,
    statement: exp.Select,
    seen_rows: Callable[[str], Select[Any]],
) -> Selected:
    """The rows of a checked statement, at most :data:`MOST_ROWS`.

    ``seen_rows`` gives the SELECT for what the actor sees of an entity.
    """
    driver = cast("psycopg.Connection[object]", connection.connection.driver_connection)

    def source(entity: str) -> str:
        seen = seen_rows(entity)
        compiled = seen.compile(connection)
        sql = psycopg.ClientCursor(driver).mogrify(str(compiled), compiled.params)
        # A fence: no condition of the statement is tried on rows that the actor does not see.
        return sql if seen.whereclause is None else f"{sql} OFFSET 0"

    sql = render_statement(statement, source)
    with refusing(catalogue), _told_as_a_query(), reading_only(driver):
        return Selected(_fetched(driver, sql))


def _fetched(driver: psycopg.Connection[object], sql: str) -> list[tuple[object, ...]]:
    """The rows, some at a time, so that no result fills the memory or takes for ever."""
    rows: list[tuple[object, ...]] = []
    room, until = MOST_CHARACTERS, time.monotonic() + SECONDS
    with driver.cursor(name="selected") as cursor:
        cursor.execute(sql.encode())
        while part := cast("list[tuple[object, ...]]", cursor.fetchmany(AT_A_TIME)):
            rows += part
            room -= sum(_length(value) for row in part for value in row)
            if room < 0:
                message = "the result is too large; ask for fewer or shorter values"
                raise Refused(Problem("query_too_large", message), status=400)
            if time.monotonic() > until:
                raise too_slow()
    return rows


def _length(value: object) -> int:
    return 8 if value is None or isinstance(value, int | date) else len(str(value))


def too_slow(seconds: int = SECONDS) -> Refused:
    """The refusal of a statement that takes too long."""
    message = f"the query takes longer than {seconds} seconds; ask for less at once"
    return Refused(Problem("query_too_slow", message), status=400)


@contextmanager
def _told_as_a_query() -> Iterator[None]:
    """What is wrong with a statement itself as a refusal."""
    try:
        yield
    except errors.QueryCanceled:
        raise too_slow() from None
    except (errors.ProgrammingError, errors.NotSupportedError) as error:
        message = error.diag.message_primary or "the query cannot be run"
        raise Refused(Problem("bad_query", message), status=400) from None
    except errors.OperationalError as error:
        # Too complex, too large for its memory: of the statement, not of the server.
        if error.sqlstate is None or not error.sqlstate.startswith(("53", "54")):
            raise
        raise Refused(Problem("query_too_large", "the query is too complex"), 400) from None


@contextmanager
def reading_only(driver: psycopg.Connection[object]) -> Iterator[None]:
    """A part of the transaction that can neither write nor take long, and leaves nothing behind."""
    driver.execute("SAVEPOINT reading_only")
    try:
        driver.execute("SET TRANSACTION READ ONLY")
        driver.execute(f"SET LOCAL statement_timeout = '{SECONDS}s'".encode())
        # All rows will be fetched, though by a cursor.
        driver.execute("SET LOCAL cursor_tuple_fraction = 1")
        yield
    finally:
        # What was set since the savepoint is undone with it.
        driver.execute("ROLLBACK TO SAVEPOINT reading_only")
        driver.execute("RELEASE SAVEPOINT reading_only")


def render_statement(statement: exp.Select, source: Callable[[str], str]) -> str:
    """The statement for PostgreSQL, over one query per entity that it names."""
    tree = statement.copy()
    named: dict[str, str] = {}
    for table in tree.find_all(exp.Table):
        seen = named.setdefault(table.name, f"seen_{len(named)}")
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
        table.set("this", exp.to_identifier(seen))
    tree.set("limit", exp.Limit(expression=exp.Literal.number(_most_rows(tree))))
    queries = ", ".join(
        f"{seen} AS NOT MATERIALIZED ({source(entity)})" for entity, seen in named.items()
    )
    try:
        text = tree.sql(dialect="postgres", identify=True)
    except (SqlglotError, RecursionError, ValueError):
        raise _impossible("this") from None
    return f"WITH {queries} {text}" if queries else text


def _most_rows(tree: exp.Select) -> int:
    limit = tree.args.get("limit")
    if limit is None:
        return MOST_ROWS
    asked = limit.args.get("expression")
    if not isinstance(asked, exp.Literal) or asked.is_string or not str(asked.this).isdigit():
        raise _impossible("a limit that is no whole number")
    return min(int(asked.this), MOST_ROWS)


def _nodes(statement: exp.Select) -> list[tuple[exp.Expr, int]]:
    """Every node and how deep it lies; without recursion, for trees of any depth."""
    found: list[tuple[exp.Expr, int]] = []
    pending: list[tuple[exp.Expr, int]] = [(statement, 0)]
    while pending:
        node, depth = pending.pop()
        found.append((node, depth))
        pending.extend((child, depth + 1) for child in node.iter_expressions())
    return found


def _impossible(what: str) -> Refused:
    return Refused(Problem("not_in_a_query", f"{what} is not possible in a query here"), status=400)
