"""DuckDB's lists and JSON in the words of Spark SQL.

list(x)            null, not empty, when there is nothing
list(x ORDER BY y)         sorted afterwards, beside y
list_sort(structs)         a null in the first two fields sorts last
x[y], list_select, list_position, len     counted from 1, null where there is nothing
unnest(x), unnest(y)       Spark takes one list only: one of pairs
json_extract_string(x, [paths])    path by path, a JSON pointer as a path
"""

import re
from collections.abc import Sequence
from itertools import product

from sqlglot import exp, parse_one

_OF_A_LIST = (exp.Filter, exp.ArraySort)
_NULLS_LAST = """
TRANSFORM(ARRAY_SORT(TRANSFORM(unsorted, one ->
              STRUCT(first_field IS NULL AS last, second_field IS NULL AS later, one AS kept))),
          two -> two.kept)
"""
_IN_ORDER = "TRANSFORM(ARRAY_SORT(unsorted), one -> one.kept)"
_PAIRS = "ZIP_WITH(left_list, right_list, (one, two) -> NAMED_STRUCT('one', one, 'two', two))"
_NAME = re.compile(r'\."([^"]*)"')
_CHOSEN = "TRANSFORM(places, place -> TRY_ELEMENT_AT(chosen, CAST(place AS INT)))"


def in_lists_of_spark(node: exp.Expr) -> exp.Expr:
    """The node, or what stands for it in Spark where it is about a list or JSON."""
    match node:
        case exp.ArrayAgg() | exp.Filter() | exp.ArraySort():
            return _null_when_empty(node)
        case exp.Length() if _is_list(node.this):
            return exp.ArraySize(this=node.this.copy())
        case exp.Cast(this=exp.Explode() as unnested):
            several = exp.DataType(this=exp.DType.ARRAY, expressions=[node.to.copy()], nested=True)
            return exp.Explode(this=exp.cast(unnested.this.copy(), several))
        case exp.Anonymous():
            return _function(node)
        case exp.JSONExtractScalar():
            paths = node.expression.find(exp.Array)
            if paths is not None:
                return _extracted(node.this, [path.name for path in paths.expressions])
    return node


def _is_list(node: exp.Expr) -> bool:
    return node.type is not None and node.type.this == exp.DType.ARRAY


def _filled(sql: str, **parts: exp.Expr) -> exp.Expr:
    """Spark's text with parts put in for the columns of their names."""
    tree = parse_one(sql, read="spark")
    for column in [each for each in tree.find_all(exp.Column) if each.name in parts]:
        column.replace(parts[column.name].copy())
    return tree


def count_from_one(tree: exp.Expr) -> None:
    """Say of what stands at a computed place of a list that places are counted from 1: sqlglot
    takes 1 off a place only if it sees that it is a whole number, whose type it then forgets."""
    for node in list(tree.find_all(exp.Bracket)):
        place = node.expressions[0]
        if place.type is not None:
            node.replace(exp.func("LIST_EXTRACT", node.this.copy(), place.copy()))


def _function(node: exp.Anonymous) -> exp.Expr:
    arguments = [argument.copy() for argument in node.expressions]
    match node.name.lower(), arguments:
        case "list_position", [several, wanted]:
            found = exp.func("ARRAY_POSITION", several, wanted)
            return exp.Nullif(this=found, expression=exp.Literal.number(0))
        case "list_extract", [several, place]:
            return exp.func("TRY_ELEMENT_AT", several, exp.cast(place, "INT"))
        case "list_select", [several, places]:
            return _filled(_CHOSEN, chosen=several, places=places)
    return node


def _null_when_empty(node: exp.Expr) -> exp.Expr:
    """A list with all that belongs to its making, its filter and its order."""
    inner = node
    while isinstance(inner, _OF_A_LIST):
        inner = inner.this
    if not isinstance(inner, exp.ArrayAgg) or isinstance(node.parent, _OF_A_LIST):
        return node
    made = node.copy()
    if isinstance(node, exp.ArraySort):
        made = _sorted_as_here(node)
    elif isinstance(inner.this, exp.Order):
        made = _in_order(node, inner.this)
    return exp.Nullif(this=made, expression=exp.Array())


def _sorted_as_here(node: exp.ArraySort) -> exp.Expr:
    """Structs whose first or second field is null come last; Spark would put them first."""
    struct = node.find(exp.Struct)
    if struct is None:
        return node.copy()
    first, second = (
        exp.column(struct.expressions[place].this.copy(), table="one")
        for place in (0, min(1, len(struct.expressions) - 1))
    )
    return _filled(_NULLS_LAST, unsorted=node.this, first_field=first, second_field=second)


def _in_order(node: exp.Expr, order: exp.Order) -> exp.Expr:
    """A list by the order of one key, which is not null and of no two values the same."""
    (by,) = order.expressions
    pair = exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(name), expression=part.copy())
            for name, part in (("key", by.this), ("kept", order.this))
        ]
    )
    pairs = node.copy()
    for made in pairs.find_all(exp.ArrayAgg):
        made.set("this", pair)
    ordered = _filled(_IN_ORDER, unsorted=pairs)
    return exp.func("REVERSE", ordered) if by.args.get("desc") else ordered


def unnested_together(select: exp.Select) -> None:
    """Two lists that a SELECT takes apart side by side, as one list of pairs."""
    unnested = [one for one in select.expressions if isinstance(one.unalias(), exp.Explode)]
    if len(unnested) < 2:
        return
    left, right = (one.unalias().this for one in unnested)
    inner = select.copy()
    pairs = _filled(_PAIRS, left_list=left, right_list=right)
    kept = [one.copy() for one in select.expressions if one not in unnested]
    inner.set("expressions", [*kept, exp.alias_(exp.Explode(this=pairs), "pair")])
    inner.set("distinct", None)
    pairs_of = inner.subquery("unnested")
    columns = [
        exp.alias_(
            exp.column(one.alias_or_name, table="unnested")
            if one not in unnested
            else exp.Dot(
                this=exp.column("pair", table="unnested"),
                expression=exp.to_identifier("one" if one is unnested[0] else "two"),
            ),
            one.alias_or_name,
        )
        for one in select.expressions
    ]
    outer = exp.select(*columns).from_(pairs_of)
    for part in ("from_", "joins", "where"):
        select.set(part, outer.args.get(part))
    select.set("expressions", columns)


def _extracted(document: exp.Expr, paths: Sequence[str]) -> exp.Expr:
    """A list of what stands at the paths of a JSON document."""
    return exp.Array(expressions=[_at(document, path) for path in paths])


def _at(document: exp.Expr, path: str) -> exp.Expr:
    """What stands at a path; a number in a JSON pointer is a place in a list, or a name."""
    found = [
        exp.func("GET_JSON_OBJECT", document.copy(), exp.Literal.string(each), dialect="")
        for each in _json_paths(path)
    ]
    return exp.Coalesce(this=found[0], expressions=found[1:]) if len(found) > 1 else found[0]


def _json_paths(path: str) -> list[str]:
    steps = [[f"['{name}']"] for name in _names(path)]
    if path.startswith("/"):
        for step, name in zip(steps, _names(path), strict=True):
            if name.isdecimal():
                step.append(f"[{int(name)}]")
    return ["$" + "".join(chosen) for chosen in product(*steps)]


def _names(path: str) -> list[str]:
    """The names in one of DuckDB's paths: ``$."a"."b"`` or ``/a/b``."""
    if not path.startswith("/"):
        return _NAME.findall(path)
    return [name.replace("~1", "/").replace("~0", "~") for name in path[1:].split("/")]


def is_path_of_spark(path: str) -> bool:
    """Whether Spark has words for a path: it knows no quotes within names, and takes some others
    for something else."""
    names = _names(path)
    return all(name.strip() == name and name not in ("", "*") and "'" not in name for name in names)
