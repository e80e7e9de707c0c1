"""DuckDB's statements in the words of Spark SQL, to the same digits.

For sites whose usage already lies in Spark tables. sqlglot translates names and syntax; what it
does not see is arithmetic, so this module finds out the type of every column (DuckDB tells) and
rewrites what the two engines compute differently:

  HUGEINT            DECIMAL(38,0)
  a // b of these    (a - a % b) / b: Spark's integer division ends at 64 bits
  trunc(x)           x - x % 1: Spark's trunc is about dates
  CAST(decimal AS BIGINT)   rounded as DuckDB does, where Spark would cut off
  date - date        a number of days, not an interval
  lists, JSON        see ``spark_lists``
  UNION BY NAME      by place
  epoch_us, timezone         of an instant, which SETTINGS put in UTC
  isodow             weekday from Monday, 1
  greatest(x)        x
  WINDOW w AS        written out: Spark knows no ``OVER (w ROWS …)``, and reads ``OVER w - x``
                     as a window that is named ``w-x``
  row_number() OVER ()      an order must be named, be it that of a constant

With ``SETTINGS`` a decimal keeps its scale, and a result that needs more than 38 digits is an error
instead of one with fewer decimals.
"""

from collections.abc import Iterable, Iterator, Mapping

from sqlglot import exp, parse_one
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from counterfoil.platform.engine.duck import open_engine, sql_name
from counterfoil.platform.engine.spark_lists import (
    count_from_one,
    in_lists_of_spark,
    unnested_together,
)

SETTINGS: Mapping[str, str] = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.session.timeZone": "UTC",
}
"""Without these the amounts would not be exact."""

Columns = Mapping[str, str]
"""The columns of a relation: name to DuckDB type."""

_DATE = exp.DataType.Type.DATE
_WHOLE = frozenset(exp.DataType.SIGNED_INTEGER_TYPES) - {exp.DataType.Type.INT128}
_HUGE = exp.DataType.build("DECIMAL(38, 0)")
# Leaves a quotient 28 digits before the point: (38,0) / (20,0) has type (38,10). By a wider divisor
# (38,0) they are 20, which is enough.
_DIVISOR = exp.DataType.build("DECIMAL(20, 0)")
_TOO_WIDE = 10**20


def spark_statements(
    statements: Iterable[tuple[str, str]], inputs: Mapping[str, Columns]
) -> Iterator[tuple[str, str]]:
    """Name and SELECT in Spark SQL of each of DuckDB's ``statements`` (name, SELECT), in order.

    ``inputs`` are the relations that the statements begin with.
    """
    schema = {name: dict(columns) for name, columns in inputs.items()}
    with open_engine(threads=1) as engine:
        for name, columns in schema.items():
            nothing = ", ".join(f"CAST(NULL AS {kind}) AS {c}" for c, kind in columns.items())
            engine.run(f"CREATE TABLE {sql_name(name)} AS SELECT {nothing} WHERE false")
        for name, sql in statements:
            yield name, in_spark_sql(sql, schema)
            engine.run(f"CREATE TABLE {sql_name(name)} AS {sql}")
            described = engine.rows(f"DESCRIBE {sql_name(name)}")
            schema[name] = {str(row[0]): str(row[1]) for row in described}


def in_spark_sql(sql: str, schema: Mapping[str, Columns]) -> str:
    """One SELECT of DuckDB over relations of these columns, in Spark SQL."""
    shape: dict[str, object] = {name: dict(columns) for name, columns in schema.items()}
    tree = parse_one(sql, read="duckdb")
    count_from_one(tree)
    tree = qualify(tree, schema=shape, dialect="duckdb", quote_identifiers=False)
    for instant in [one for one in tree.find_all(exp.Anonymous) if one.name == "epoch_us"]:
        instant.replace(exp.cast(instant.copy(), "BIGINT"))
    tree = annotate_types(tree, schema=shape, dialect="duckdb")
    for part in list(tree.find_all(exp.CTE)):
        part.set("materialized", None)
    for select in list(tree.find_all(exp.Select)):
        _write_windows_out(select)
        unnested_together(select)
    # From the leaves up, so that what is rewritten goes into what is rewritten around it.
    for node in reversed(list(tree.bfs())):
        changed = _rewritten(node)
        if changed is not node:
            changed.type = node.type
            if node is tree:
                tree = changed
            else:
                node.replace(changed)
    return tree.sql("spark", pretty=True, copy=False)


def _rewritten(node: exp.Expr) -> exp.Expr:
    changed = in_lists_of_spark(node)
    if changed is not node:
        return changed
    match node:
        case exp.IntDiv():
            return _whole_quotient(node)
        case exp.Trunc():
            return _cut_off(node.this)
        case exp.Cast():
            return _cast(node)
        case exp.Sub() if _is(node.this, _DATE) and _is(node.expression, _DATE):
            return exp.DateDiff(this=node.this.copy(), expression=node.expression.copy())
        case exp.DataType() if node.this == exp.DataType.Type.INT128:
            return _HUGE.copy()
        case exp.Window(this=exp.RowNumber()) if not node.args.get("order"):
            return _in_any_order(node)
        case exp.Anonymous():
            return _function(node)
        case exp.SetOperation() if node.args.get("by_name"):
            return _by_place(node)
        case exp.DayOfWeekIso():
            weekday = exp.func("WEEKDAY", node.this.copy())
            return exp.Paren(this=exp.Add(this=weekday, expression=exp.Literal.number(1)))
        case exp.Greatest(this=exp.Expr() as only) if not node.expressions:
            return only.copy()
    return node


def _is(node: exp.Expr | None, *kinds: exp.DType) -> bool:
    return node is not None and node.type is not None and node.type.this in kinds


def _whole_quotient(node: exp.IntDiv) -> exp.Expr:
    left, right = node.this, node.expression
    if _is(left, *_WHOLE) and _is(right, *_WHOLE):
        return node
    if _most(right) < _TOO_WIDE:
        return _quotient(left, exp.cast(_bracketed(right), _DIVISOR.copy()))
    narrow = exp.TryCast(this=_bracketed(right), to=_DIVISOR.copy(), safe=True)
    wide = exp.cast(_bracketed(right), _HUGE.copy())
    return exp.Coalesce(this=_quotient(left, narrow), expressions=[_quotient(left, wide)])


def _quotient(left: exp.Expr, divisor: exp.Expr) -> exp.Expr:
    rest = exp.Mod(this=_bracketed(left), expression=divisor)
    whole = exp.Paren(this=exp.Sub(this=_bracketed(left), expression=rest))
    return exp.cast(exp.Paren(this=exp.Div(this=whole, expression=divisor.copy())), _HUGE.copy())


def _most(node: exp.Expr) -> int:
    """What a divisor is at most, as far as that can be seen: it is not negative."""
    match node:
        case exp.Paren():
            return _most(node.this)
        case exp.Literal(is_string=False) if node.name.isdecimal():
            return int(node.name)
        case exp.Cast() if not isinstance(node.this, exp.Column):
            return _most(node.this)
        case exp.Mul():
            return _most(node.left) * _most(node.right)
    whole = node.this if isinstance(node, exp.Cast) else node
    return 2**63 if _is(whole, *_WHOLE) else _TOO_WIDE


def _cut_off(number: exp.Expr) -> exp.Expr:
    one = exp.cast(exp.Literal.number(1), exp.DataType.build("DECIMAL(1, 0)"))
    rest = exp.Mod(this=_bracketed(number), expression=one)
    return exp.Paren(this=exp.Sub(this=_bracketed(number), expression=rest))


def _cast(node: exp.Cast) -> exp.Expr:
    tried = isinstance(node, exp.TryCast)
    if node.to.this in _WHOLE and _is(node.this, exp.DataType.Type.DECIMAL) and not tried:
        return exp.cast(exp.cast(node.this.copy(), _HUGE.copy()), node.to.copy())
    return node


def _bracketed(node: exp.Expr) -> exp.Expr:
    copy = node.copy()
    return copy if isinstance(copy, exp.Column | exp.Literal | exp.Paren) else exp.Paren(this=copy)


def _function(node: exp.Anonymous) -> exp.Expr:
    arguments = [argument.copy() for argument in node.expressions]
    match node.name.lower(), arguments:
        case "epoch_us", [instant]:
            return exp.func("UNIX_MICROS", exp.cast(instant, "TIMESTAMPTZ"))
        case "timezone", [zone, exp.AtTimeZone() as instant] if instant.args["zone"].name == "UTC":
            return exp.func("FROM_UTC_TIMESTAMP", exp.cast(instant.this, "TIMESTAMPTZ"), zone)
    return node


def _write_windows_out(select: exp.Select) -> None:
    windows = {window.name: window for window in select.args.get("windows") or ()}
    for node in list(select.find_all(exp.Window)):
        window = windows.get(node.alias)
        if window is None or node.find_ancestor(exp.Select) is not select:
            continue
        for part in ("partition_by", "order", "spec"):
            given = window.args.get(part)
            if given and not node.args.get(part):
                copies = [one.copy() for one in given] if isinstance(given, list) else given.copy()
                node.set(part, copies)
        node.set("alias", None)
    select.set("windows", None)


def _in_any_order(node: exp.Window) -> exp.Expr:
    numbered = node.copy()
    numbered.set("order", exp.Order(expressions=[exp.Literal.number(1)]))
    return numbered


def _by_place(node: exp.SetOperation) -> exp.Expr:
    """A union whose columns meet by name, as one in which they meet by their place."""
    sides = (node.left, node.right)
    names = list(dict.fromkeys(name for side in sides for name in side.named_selects))
    placed = node.copy()
    placed.set("by_name", None)
    for key, side in zip(("this", "expression"), sides, strict=True):
        columns = [
            exp.column(name) if name in side.named_selects else exp.alias_(exp.Null(), name)
            for name in names
        ]
        rows = exp.Subquery(this=side.copy(), alias=exp.TableAlias(this=exp.to_identifier("side")))
        placed.set(key, exp.select(*columns).from_(rows))
    return placed
