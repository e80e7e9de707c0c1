"""From a query in the dialect to a SELECT over our entities, which the records room runs.

Each entity named becomes a query that shows its used fields by their names in the dialect; object
paths such as ``AccountObj.Name`` become joins.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlglot import exp

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.functions import BUILDERS, Kind, marked, now_of
from counterfoil.interfaces.brm.reading import UNREADABLE, Query
from counterfoil.interfaces.brm.words import Dialect, Word, Wording
from counterfoil.platform.metadata import FieldType
from counterfoil.platform.records.selecting import MOST_ROWS

_CLAUSES = (
    *("expressions", "distinct", "from_", "joins", "where", "group", "having"),
    *("order", "limit", "offset"),
)
"""The parts of a SELECT that are looked at."""

MOST_SOURCES = 24
LONGEST_PATH = 6

_KINDS: dict[FieldType, Kind] = {
    FieldType.INTEGER: "number",
    FieldType.DECIMAL: "number",
    FieldType.REFERENCE: "number",
    FieldType.DATE: "date",
    FieldType.INSTANT: "instant",
    FieldType.TEXT: "text",
    FieldType.CHOICE: "text",
    FieldType.BOOLEAN: "text",
}


@dataclass(frozen=True, slots=True)
class Translated:
    """The statement, by which names its results go, and how many rows it asks for itself."""

    statement: exp.Select
    keys: tuple[str, ...]
    wanted: int | None


@dataclass(slots=True)
class Source:
    """An entity in FROM: what is used of it, and what is reached from it by object paths."""

    alias: str
    wording: Wording
    used: dict[str, Word] = field(default_factory=dict)
    reached: list[tuple[Word, "Source"]] = field(default_factory=list)
    paths: dict[str, "Source"] = field(default_factory=dict)
    join: exp.Join | None = None

    def column(self, word: Word) -> exp.Expr:
        """A field of it."""
        self.used[word.name] = word
        return marked(_column(word.name, self.alias), kind_of_word(word))


def translate(query: Query, dialect: Dialect, now: datetime) -> Translated:
    """The query over our entities; refuses (400, 404) what is unknown or not possible."""
    try:
        return Translation(query, dialect, now).result()
    except RecursionError:
        raise _refused("the query is nested too deeply") from None
    except UNREADABLE:
        raise _refused(
            "the query cannot be understood: does a function lack an argument?"
        ) from None


def listing(wording: Wording, dialect: Dialect, query: Query, now: datetime) -> Translated:
    """All fields of an entity, for the rows that the query's conditions let through."""
    words = list(wording.listed())
    tree = query.tree
    tree.set(
        "expressions", [exp.column(exp.to_identifier(word.name, quoted=True)) for word in words]
    )
    return translate(Query(tree, tuple(word.name for word in words)), dialect, now)


class Translation:
    """One query on its way."""

    def __init__(self, query: Query, dialect: Dialect, now: datetime, sources: int = 0) -> None:
        self._query = query
        self._tree = query.tree
        self._dialect = dialect
        self._now = now
        self._sources: dict[str, Source] = {}
        self._count = sources

    def result(self) -> Translated:
        """The statement of the query."""
        tree = self._tree
        _refuse_others(tree, _CLAUSES)
        self._read_from()
        self._expand_star()
        if not tree.expressions:
            raise _refused("the query selects nothing")
        aliases = {
            one.alias.lower(): place for place, one in enumerate(tree.expressions) if one.alias
        }
        keys = self._keys()
        limits = self._row_limits()
        items = [self._term(one.unalias()) for one in tree.expressions]
        made = exp.Select(
            expressions=[
                exp.Alias(this=one, alias=exp.to_identifier(f"c{place}"))
                for place, one in enumerate(items, start=1)
            ]
        )
        for clause in ("where", "group", "having", "distinct"):
            if tree.args.get(clause) is not None:
                made.set(clause, self._term(tree.args[clause]))
        made.set("order", self._order(items, aliases))
        wanted = min(limits, default=None)
        limit = MOST_ROWS if wanted is None else min(wanted, MOST_ROWS)
        made.set("limit", exp.Limit(expression=exp.Literal.number(limit)))
        if tree.args.get("offset") is not None:
            made.set("offset", tree.args["offset"])
        self._write_from(made)
        return Translated(made, keys, wanted)

    # -- FROM --------------------------------------------------------------------------------

    def _read_from(self) -> None:
        start = self._tree.args.get("from_")
        if start is None:
            raise _refused("the query needs a FROM")
        self._add_source(start.this, None)
        for join in self._tree.args.get("joins") or ():
            self._add_source(join.this, join)
            if join.args.get("using") or join.args.get("method"):
                raise _refused("joins need ON here")

    def _add_source(self, table: exp.Expr, join: exp.Join | None) -> None:
        if not isinstance(table, exp.Table) or not table.name or table.args.get("db"):
            raise _refused("FROM takes entities only")
        _refuse_others(table, ("this", "alias"))
        if isinstance(table.args.get("alias"), exp.TableAlias):
            _refuse_others(table.args["alias"], ("this",))
        # 404 would mean to callers that there are no rows.
        wording = self._dialect.entity(table.name, missing=400)
        name = (table.alias or table.name).lower()
        if name in self._sources:
            raise _refused(f"{name[:60]} stands in FROM twice")
        self._sources[name] = self._new_source(wording)
        self._sources[name].join = join

    def _new_source(self, wording: Wording) -> Source:
        self._count += 1
        if self._count > MOST_SOURCES:
            raise _refused(f"the query reads from more than {MOST_SOURCES} entities")
        return Source(f"t{self._count}", wording)

    def _write_from(self, made: exp.Select) -> None:
        # The ON clauses may lead to further records, so they are translated before any is written.
        for source in self._sources.values():
            join = source.join
            if join is not None and join.args.get("on") is not None:
                join.set("on", self._term(join.args["on"]))
        joins: list[exp.Join] = []
        for place, source in enumerate(self._sources.values()):
            shown = _shown(source)
            if place == 0:
                made.set("from_", exp.From(this=shown))
            elif source.join is not None:
                source.join.set("this", shown)
                joins.append(source.join)
            joins += self._reached(source)
        made.set("joins", joins)

    def _reached(self, source: Source) -> list[exp.Join]:
        joins: list[exp.Join] = []
        for word, target in source.reached:
            on = exp.EQ(
                this=_column(word.name, source.alias), expression=_column("Id", target.alias)
            )
            target.used.setdefault("Id", target.wording.demand("Id"))
            joins.append(exp.Join(this=_shown(target), side="LEFT", on=on))
            joins += self._reached(target)
        return joins

    # -- names -------------------------------------------------------------------------------

    def _expand_star(self) -> None:
        """``*`` alone stands for every field of the one entity."""
        items = self._tree.expressions
        if not any(isinstance(one, exp.Star) for one in items):
            return
        if len(items) != 1 or len(self._sources) != 1:
            raise _refused("* can only stand alone, and for one entity")
        words = list(next(iter(self._sources.values())).wording.listed())
        names = [exp.to_identifier(word.name, quoted=True) for word in words]
        self._tree.set("expressions", [exp.column(name) for name in names])
        self._query = Query(self._tree, tuple(word.name for word in words))

    def _keys(self) -> tuple[str, ...]:
        """Alias where there is one, else the text as written, without the name of a table."""
        keys: list[str] = []
        written = self._query.items
        for place, item in enumerate(self._tree.expressions):
            text = written[place] if place < len(written) else item.sql("oracle")
            key = item.alias or self._without_table(item, text)
            keys.append(text if key in keys else key)
        return tuple(keys)

    def _without_table(self, item: exp.Expr, text: str) -> str:
        if isinstance(item, exp.Column):
            text = text.replace('"', "")
        head, dot, rest = text.partition(".")
        if isinstance(item, exp.Column | exp.Dot) and dot and head.strip().lower() in self._sources:
            return rest.strip()
        return text

    def _named(self, node: exp.Expr) -> exp.Expr:
        """A column, or a path through objects."""
        parts = [part.name for part in node.parts]  # type: ignore[attr-defined]
        if len(parts) > 1 and parts[0].lower() in self._sources:
            source, parts = self._sources[parts[0].lower()], parts[1:]
        else:
            source = self._owner(parts[0])
        if len(parts) > LONGEST_PATH:
            raise _refused(f"a path leads through more than {LONGEST_PATH} references")
        for name in parts[:-1]:
            source = self._follow(source, name)
        return source.column(source.wording.demand(parts[-1]))

    def _owner(self, name: str) -> Source:
        """The one entity in FROM with that field or object."""
        if name.lower() == "rownum":
            message = "ROWNUM can stand in WHERE only, joined by AND, as in rownum <= 100"
            raise _refused(message)
        found = [
            one
            for one in self._sources.values()
            if one.wording.word(name) is not None or one.wording.leading(name) is not None
        ]
        if len(found) > 1:
            raise _refused(f"{name[:60]} is in several entities; name one, as in a.{name[:60]}")
        first = next(iter(self._sources.values()))
        if not found and len(self._sources) == 1:
            first.wording.demand(name)
        if not found:
            problem = Problem("unknown_field", "no entity in FROM has such a field", name[:100])
            raise Refused(problem, status=400)
        return found[0]

    def _follow(self, source: Source, name: str) -> Source:
        key = name.lower()
        if key not in source.paths:
            word = source.wording.leading(name)
            if word is None:
                message = f"{source.wording.name} has no reference of that name"
                objects = tuple(
                    one.name.removesuffix("Id") + "Obj"
                    for one in source.wording.listed()
                    if one.target
                )
                raise Refused(Problem("unknown_field", message, name[:100], objects), status=400)
            source.column(word)
            target = self._new_source(self._dialect.entity(word.target))
            source.paths[key] = target
            source.reached.append((word, target))
        return source.paths[key]

    # -- terms -------------------------------------------------------------------------------

    def _term(self, node: exp.Expr) -> exp.Expr:
        """A node with everything below it in the words of PostgreSQL."""
        if isinstance(node, exp.Column | exp.Dot):
            return self._named(node)
        if isinstance(node, exp.CurrentTimestamp | exp.Systimestamp | exp.CurrentDate):
            return now_of(self._now)
        if isinstance(node, exp.In) and isinstance(node.args.get("query"), exp.Subquery):
            return self._among(node)
        if isinstance(node, exp.Select | exp.Subquery | exp.SetOperation | exp.Exists):
            raise _refused("a query within a query is not possible here")
        for name, value in list(node.args.items()):
            if isinstance(value, exp.Expr):
                node.set(name, self._term(value))
            elif isinstance(value, list):
                node.set(
                    name, [self._term(one) if isinstance(one, exp.Expr) else one for one in value]
                )
        build = BUILDERS.get(type(node))
        return build(node) if build else node

    def _among(self, node: exp.In) -> exp.Expr:
        """IN (SELECT one field …): a query of its own, which knows nothing of this one."""
        inner = node.args["query"].this
        if not isinstance(inner, exp.Select) or len(inner.expressions) != 1:
            raise _refused("IN takes a SELECT of one field")
        translation = Translation(Query(inner, ()), self._dialect, self._now, self._count)
        made = translation.result()
        self._count = translation._count
        if made.wanted is None:
            made.statement.set("limit", None)
        if made.wanted is None and inner.args.get("offset") is None:
            made.statement.set("order", None)
        among = exp.Subquery(this=made.statement)
        return exp.In(this=self._term(node.this), query=among)

    def _order(self, items: Sequence[exp.Expr], aliases: dict[str, int]) -> exp.Order | None:
        """What was asked for, then what makes the order stable."""
        keys: list[exp.Expr] = []
        asked = self._tree.args.get("order")
        for one in asked.expressions if asked is not None else ():
            key = one.this
            place = aliases.get(key.name.lower()) if isinstance(key, exp.Column) else None
            if place is not None and len(key.parts) == 1:
                one.set("this", exp.Literal.number(place + 1))
                keys.append(one)
            else:
                keys.append(self._term(one))
        if self._tree.args.get("distinct") or self._tree.args.get("group"):
            keys += [exp.Ordered(this=exp.Literal.number(n + 1)) for n in range(len(items))]
        elif not any(one.find(exp.AggFunc) for one in items):
            for source in self._sources.values():
                keys.append(exp.Ordered(this=source.column(source.wording.demand("Id"))))
        return exp.Order(expressions=keys) if keys else None

    # -- how many ----------------------------------------------------------------------------

    def _row_limits(self) -> list[int]:
        """All limits of the query; conditions on ROWNUM are taken out of WHERE."""
        limits: list[int] = []
        limit = self._tree.args.get("limit")
        if limit is not None:
            options = limit.args.get("limit_options")
            if options is not None and (
                options.args.get("percent") or options.args.get("with_ties")
            ):
                raise _refused("PERCENT and WITH TIES are not possible here")
            given = limit.args.get("expression") or limit.args.get("count")
            limits.append(1 if given is None else _whole(given))
        offset = self._tree.args.get("offset")
        if offset is not None:
            _whole(offset.this or offset.expression)
        where = self._tree.args.get("where")
        if where is not None:
            kept: list[exp.Expr] = []
            for condition in _conjuncts(where.this):
                found = _rownum_limit(condition)
                if found is None:
                    kept.append(condition)
                else:
                    limits.append(found)
            if len(kept) < len(_conjuncts(where.this)):
                self._refuse_counted_rows()
                self._tree.set("where", exp.Where(this=exp.and_(*kept)) if kept else None)
        return limits

    def _refuse_counted_rows(self) -> None:
        has_groups = self._tree.args.get("group") is not None
        if has_groups or any(one.find(exp.AggFunc) for one in self._tree.expressions):
            raise _refused("ROWNUM together with sums and groups is not possible here")


def kind_of_word(word: Word) -> Kind:
    """What the values of a field are."""
    return "text" if word.constant is not None or word.values else _KINDS.get(word.field.type, "")


def _shown(source: Source) -> exp.Subquery:
    """The query that shows an entity's used fields by their names in the dialect."""
    wording = source.wording
    used = source.used or {"Id": wording.demand("Id")}
    made = exp.Select(
        expressions=[
            exp.Alias(this=_value(word), alias=exp.to_identifier(name, quoted=True))
            for name, word in used.items()
        ]
    )
    made.set("from_", exp.From(this=_table(wording.entity.name, "base")))
    joins: list[exp.Join] = []
    needed = {word.join for word in used.values()}
    for join in reversed(tuple(wording.joins.values())):
        if join.name not in needed:
            continue
        owner, _, name = join.source.rpartition(".")
        needed.add(owner)
        on = exp.EQ(this=_column(join.key, join.name), expression=_column(name, owner or "base"))
        joins.insert(0, exp.Join(this=_table(join.entity, join.name), side="LEFT", on=on))
    made.set("joins", joins)
    conditions = [
        exp.EQ(this=_column(name, "base"), expression=exp.Literal.string(value))
        for name, value in wording.mapped.fixed.items()
    ]
    if conditions:
        made.set("where", exp.Where(this=exp.and_(*conditions)))
    return exp.Subquery(this=made, alias=exp.TableAlias(this=exp.to_identifier(source.alias)))


def _value(word: Word) -> exp.Expr:
    """A field's value in the words of the dialect."""
    if word.constant is not None:
        return exp.Cast(this=exp.Literal.string(word.constant), to=exp.DataType.build("text"))
    column = _column(word.field.name, word.join or "base")
    if word.values:
        ifs = [
            _when(column, exp.Literal.string(ours), theirs) for theirs, ours in word.values.items()
        ]
        return exp.Case(ifs=ifs, default=column)
    if word.nothing:
        nothing = exp.Literal.number(word.nothing)
        return exp.Anonymous(this="coalesce", expressions=[column, nothing])
    if word.field.type is FieldType.BOOLEAN:
        return exp.Case(
            ifs=[_when(column, exp.true(), "1"), _when(column, exp.false(), "0")], default=None
        )
    return column


def _when(column: exp.Column, is_value: exp.Expr, then: str) -> exp.If:
    condition = exp.EQ(this=column.copy(), expression=is_value)
    return exp.If(this=condition, true=exp.Literal.string(then))


def _column(name: str, table: str) -> exp.Column:
    return exp.Column(
        this=exp.to_identifier(name, quoted=True), table=exp.to_identifier(table, quoted=True)
    )


def _table(entity: str, alias: str) -> exp.Table:
    return exp.Table(
        this=exp.to_identifier(entity), alias=exp.TableAlias(this=exp.to_identifier(alias))
    )


def _refuse_others(node: exp.Expr, known: Sequence[str]) -> None:
    """Refuse parts of a node that would not be looked at: nothing asked for is left out."""
    others = [name for name, value in node.args.items() if value and name not in known]
    if others:
        raise _refused(f"{others[0].strip('_')} is not possible in a query here")


def _conjuncts(node: exp.Expr) -> list[exp.Expr]:
    return list(node.flatten()) if isinstance(node, exp.And) else [node]


def _rownum_limit(condition: exp.Expr) -> int | None:
    """How many rows a condition such as ``rownum < 1000`` lets through."""
    left = condition.this
    if not isinstance(left, exp.Column) or left.name.lower() != "rownum":
        return None
    if isinstance(condition, exp.Between):
        if _whole(condition.args["low"]) > 1:
            return 0
        return _whole(condition.args["high"])
    if isinstance(condition, exp.LT):
        return max(_whole(condition.expression) - 1, 0)
    if isinstance(condition, exp.LTE):
        return _whole(condition.expression)
    if isinstance(condition, exp.EQ):
        return 1 if _whole(condition.expression) == 1 else 0
    return None


def _whole(node: object) -> int:
    text = str(node.this) if isinstance(node, exp.Literal) else ""
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return int(text)
    raise _refused("a number of rows has to be a whole number")


def _refused(message: str) -> Refused:
    return Refused(Problem("bad_query", message, "sql"), status=400)
