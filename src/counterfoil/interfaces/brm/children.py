"""Collections in the select list: ``(SELECT Rate FROM PRICING.ContractRateObj)`` of CONTRACT_RATE.

What stands in brackets is a query of its own over the records whose object is the row. It is run
once for all rows, and told as a list in each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlglot import exp

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.reading import Query, read_query
from counterfoil.interfaces.brm.translating import translate
from counterfoil.interfaces.brm.values import written
from counterfoil.interfaces.brm.words import Dialect
from counterfoil.platform.records.selecting import MOST_ROWS
from counterfoil.platform.records.unit_of_work import UnitOfWork

MOST_CHILDREN = 5
_OWNER = "owner of the row"

Rows = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Child:
    """A collection: where it stands in the row, and its query without the owners."""

    place: int
    key: str
    query: Query
    reference: str


def take_children(query: Query) -> tuple[Query, list[Child]]:
    """The query with Ids in place of its collections, and these."""
    tree = query.tree
    children: list[Child] = []
    items: list[exp.Expr] = []
    for place, item in enumerate(tree.expressions):
        inner = item.unalias()
        if isinstance(inner, exp.Subquery) and place < len(query.items):
            child = _child(place, item, query.items[place])
            children.append(child)
            column = exp.column("Id")
            items.append(exp.Alias(this=column, alias=exp.to_identifier(child.key)))
        else:
            items.append(item)
    if not children:
        return query, []
    if len(children) > MOST_CHILDREN:
        raise _refused(f"more than {MOST_CHILDREN} collections are not possible")
    if any(tree.args.get(name) for name in ("group", "having", "distinct", "joins")):
        raise _refused("collections stand in a query over one entity, without groups")
    tree.set("expressions", items)
    return Query(tree, query.items), children


def _child(place: int, item: exp.Expr, text: str) -> Child:
    start, end = text.find("("), text.rfind(")")
    inner = read_query(text[start + 1 : end])
    source = inner.tree.args.get("from_")
    table = source.this if source is not None else None
    if not isinstance(table, exp.Table) or not table.db or inner.tree.args.get("joins"):
        message = "a query in the select list reads from an entity's object, as Activity.InvoiceObj"
        raise _refused(message)
    reference = table.name
    table.set("this", exp.to_identifier(table.db))
    table.set("db", None)
    for name in ("group", "having", "distinct", "limit", "offset"):
        if inner.tree.args.get(name):
            raise _refused(f"a collection cannot have {name}")
    if any(one.name.lower() == "rownum" for one in inner.tree.find_all(exp.Column)):
        raise _refused("a collection cannot have rownum: it would count the rows of all together")
    if any(one.find(exp.AggFunc) for one in inner.tree.expressions):
        raise _refused("a collection lists rows; sums stand in a query of their own, with GROUP BY")
    owner = exp.Alias(
        this=exp.column("Id", table=reference), alias=exp.to_identifier(_OWNER, quoted=True)
    )
    inner.tree.set("expressions", [owner, *inner.tree.expressions])
    key = item.alias or table.name
    return Child(place, key, Query(inner.tree, (_OWNER, *inner.items)), reference)


def read_children(
    uow: UnitOfWork, dialect: Dialect, child: Child, ids: Sequence[object], now: datetime
) -> Mapping[object, Rows]:
    """Owner to the rows of its collection."""
    tree = child.query.tree
    numbers = [exp.Literal.number(str(one)) for one in ids]
    mine = exp.In(this=exp.column("Id", table=child.reference), expressions=numbers)
    where = tree.args.get("where")
    condition = mine if where is None else exp.and_(mine, where.this)
    tree.set("where", exp.Where(this=condition))
    made = translate(Query(tree, child.query.items), dialect, now)
    found: dict[object, Rows] = {}
    rows = uow.select(made.statement).rows
    if len(rows) >= MOST_ROWS:
        message = f"the collections hold {MOST_ROWS:,} rows or more; ask for fewer rows at once"
        raise _refused(message)
    for owner, *values in rows:
        row = {key: written(value) for key, value in zip(made.keys[1:], values, strict=True)}
        found.setdefault(owner, []).append(dict(row))
    return found


def _refused(message: str) -> Refused:
    return Refused(Problem("bad_query", message, "sql"), status=400)
