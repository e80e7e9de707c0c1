"""Oracle's functions in PostgreSQL's words: one small builder for each kind of node.

Arguments come translated already. What has no builder here stays as it is, and the records room
refuses what it does not know.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.time import format_time

from counterfoil.core.problems import Problem, Refused

Kind = Literal["text", "number", "date", "instant", ""]
"""What a value is, as far as it is known."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2}|\d{1,2}/\d{1,2}/\d{4})([T ].{1,40})?", re.ASCII)
_MONTH_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(.*)", re.ASCII)
_SECONDS_OF_A_DAY = exp.Literal.number(86_400)
_POSTGRES = Dialect.get_or_raise("postgres")
_UNITS = {
    **dict.fromkeys(("MM", "MON", "MONTH"), "month"),
    **dict.fromkeys(("YYYY", "YY", "YEAR"), "year"),
    **dict.fromkeys(("Q",), "quarter"),
    **dict.fromkeys(("DD", "DDD", "J", "DAY"), "day"),
    **dict.fromkeys(("HH", "HH24", "HH12"), "hour"),
    **dict.fromkeys(("MI",), "minute"),
}


def call(name: str, *arguments: object) -> exp.Anonymous:
    """A function of PostgreSQL."""
    return exp.Anonymous(this=name, expressions=[one for one in arguments if one is not None])


def cast(node: object, kind: str) -> exp.Cast:
    """A value as another type."""
    return exp.Cast(this=node, to=exp.DataType.build(kind))


def kind_of(node: object) -> Kind:
    """What a translated value is."""
    if not isinstance(node, exp.Expr):
        return ""
    if isinstance(node, exp.Paren | exp.Neg | exp.Min | exp.Max):
        return kind_of(node.this)
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "number"
    if isinstance(node, exp.Count | exp.Sum | exp.Avg | exp.Mul | exp.Div):
        return "number"
    found: Kind = node.meta.get("kind", "")
    return found


def marked(node: exp.Expr, kind: Kind) -> exp.Expr:
    """The node, with what is known of its value."""
    node.meta["kind"] = kind
    return node


def fitted(value: exp.Expr, kind: Kind) -> exp.Expr:
    """A literal as it can be compared with a value of that kind; refuses (400) what cannot be.

    Ids are texts for callers and numbers here; a text of nothing is no value.
    """
    inner = value.this if isinstance(value, exp.Neg) else value
    if not isinstance(inner, exp.Literal) or kind == "":
        return value
    text = str(inner.this)
    if kind == "text" and not inner.is_string:
        return exp.Literal.string(f"-{text}" if inner is not value else text)
    if not inner.is_string or kind == "text":
        return value
    if text.strip() == "":
        return exp.Null()
    pattern = _NUMBER if kind == "number" else _MOMENT
    if not pattern.fullmatch(text.strip()):
        what = "a number" if kind == "number" else "a date such as 2026-01-31"
        problem = Problem("wrong_value", f"{text[:60]!r} is not {what}", "sql")
        raise Refused(problem, status=400)
    if kind == "number":
        return exp.Literal.number(text.strip())
    # Which of 02/01/2026 is the month would be for a server's settings to say.
    found = _MONTH_FIRST.fullmatch(text.strip())
    if found is None:
        return value
    month, day, year, rest = found.groups()
    return exp.Literal.string(f"{year}-{int(month):02}-{int(day):02}{rest}")


def refuse_others(node: exp.Expr, *known: str) -> None:
    """Refuse (400) arguments of a function that would not be looked at."""
    others = [
        name
        for name, value in node.args.items()
        if (isinstance(value, exp.Expr) or (isinstance(value, list) and value))
        and name not in known
    ]
    if others:
        message = f"the {others[0].replace('_', ' ')} of {node.sql('oracle')[:60]} is not possible"
        raise Refused(Problem("bad_query", message, "sql"), status=400)


def compared(node: exp.Expr) -> exp.Expr:
    """A comparison, its literals fitted to the other side."""
    left, right = node.this, node.args["expression"]
    node.set("this", fitted(left, kind_of(right)))
    node.set("expression", fitted(right, kind_of(left)))
    return node


def matched(node: exp.Expr) -> exp.Expr:
    """LIKE compares texts, whatever the value is."""
    if kind_of(node.this) not in ("text", ""):
        node.set("this", as_text(node.this))
    return node


def as_text(value: exp.Expr) -> exp.Expr:
    """A value as text; a number without the zeros that only fill its column."""
    if kind_of(value) == "number":
        value = call("trim_scale", cast(value, "decimal"))
    return cast(value, "text")


def listed(node: exp.Expr) -> exp.Expr:
    """IN and BETWEEN: every value fitted to the first."""
    kind = kind_of(node.this)
    for name in ("low", "high"):
        if node.args.get(name) is not None:
            node.set(name, fitted(node.args[name], kind))
    if node.args.get("expressions"):
        node.set("expressions", [fitted(one, kind) for one in node.args["expressions"]])
    return node


def moved(node: exp.Expr) -> exp.Expr:
    """Days added to a moment, and the days between two moments, as Oracle counts them."""
    left, right = node.this, node.args["expression"]
    if isinstance(node, exp.Add) and kind_of(left) == "number" and _is_moment(right):
        left, right = right, left
    if _is_moment(left) and _is_moment(right) and isinstance(node, exp.Sub):
        if kind_of(left) == kind_of(right) == "date":
            return marked(node, "number")
        apart = exp.Paren(this=exp.Sub(this=_epoch(left), expression=_epoch(right)))
        days = exp.Div(this=apart, expression=_SECONDS_OF_A_DAY.copy(), typed=True, safe=False)
        return marked(exp.Paren(this=days), "number")
    if not _is_moment(left) or kind_of(right) != "number":
        kind = kind_of(left)
        return marked(node, kind)
    whole = not any(
        isinstance(one, exp.Div) or (isinstance(one, exp.Literal) and "." in str(one.this))
        for one in right.walk()
    )
    seconds = exp.Mul(this=exp.Paren(this=right), expression=_SECONDS_OF_A_DAY.copy())
    span = call("make_interval", *(exp.Literal.number(0) for _ in range(6)), seconds)
    kind = kind_of(left) if whole else "instant"
    later = type(node)(this=left, expression=span)
    return marked(cast(later, "date" if kind == "date" else "timestamptz"), kind)


def _is_moment(node: exp.Expr) -> bool:
    return kind_of(node) in ("date", "instant")


def _epoch(node: exp.Expr) -> exp.Expr:
    return exp.Extract(this=exp.var("epoch"), expression=cast(node, "timestamptz"))


def part_of(node: exp.Expr) -> exp.Expr:
    """EXTRACT (YEAR FROM a date)."""
    return marked(node, "number")


def divided(node: exp.Expr) -> exp.Expr:
    """A quotient keeps its fraction."""
    node.set("this", cast(node.this, "decimal"))
    return exp.Div(this=node.this, expression=node.args["expression"], typed=True, safe=False)


def told(node: exp.Expr) -> exp.Expr:
    """TO_CHAR, with a format or without."""
    refuse_others(node, "this", "format")
    pattern = node.args.get("format")
    value = as_text(node.this) if pattern is None else call("to_char", node.this, pattern)
    return marked(value, "text")


def read_day(node: exp.Expr) -> exp.Expr:
    """TO_DATE and a literal date; with a time in its format it is a moment, as in Oracle."""
    pattern = _pattern(node, "YYYY-MM-DD")
    if any(part in str(pattern.this) for part in ("HH", "MI", "SS")):
        return marked(call("to_timestamp", node.this, pattern), "instant")
    return marked(call("to_date", node.this, pattern), "date")


def read_instant(node: exp.Expr) -> exp.Expr:
    """TO_TIMESTAMP and a literal timestamp."""
    if isinstance(node.this, exp.Literal) and _MOMENT.fullmatch(str(node.this.this)):
        return marked(cast(node.this, "timestamptz"), "instant")
    return marked(
        call("to_timestamp", node.this, _pattern(node, "YYYY-MM-DD HH24:MI:SS")), "instant"
    )


def _pattern(node: exp.Expr, default: str) -> exp.Expr:
    given = node.args.get("format")
    if not isinstance(given, exp.Literal):
        return exp.Literal.string(default)
    words = format_time(
        str(given.this), _POSTGRES.INVERSE_TIME_MAPPING, _POSTGRES.INVERSE_TIME_TRIE
    )
    return exp.Literal.string(words or default)


def cut(node: exp.Expr) -> exp.Expr:
    """TRUNC: of a moment to its day or unit, of a number to its places."""
    value, unit = node.this, node.args.get("unit") or node.args.get("decimals")
    if isinstance(node, exp.Anonymous):
        value, unit = (*node.expressions, None)[:2]
    if kind_of(value) in ("date", "instant"):
        word = str(unit.this).upper() if isinstance(unit, exp.Literal) else "DD"
        whole = _UNITS.get(word)
        if whole is None:
            problem = Problem("bad_query", f"cannot cut to {word[:20]!r}", "sql", tuple(_UNITS))
            raise Refused(problem, status=400)
        cut_off = call("date_trunc", exp.Literal.string(whole), value)
        is_day = whole not in ("hour", "minute")
        return marked(cast(cut_off, "date"), "date") if is_day else marked(cut_off, "instant")
    return marked(call("trunc", cast(value, "decimal"), unit), "number")


def anonymous(node: exp.Expr) -> exp.Expr:
    """Functions the parser has no kind of node for."""
    return cut(node) if str(node.this).upper() == "TRUNC" else node


def first_given(node: exp.Expr) -> exp.Expr:
    """NVL and COALESCE: every value fitted to the first."""
    kind = kind_of(node.this)
    rest = [fitted(one, kind) for one in node.expressions]
    return marked(call("coalesce", node.this, *rest), kind)


def trimmed(node: exp.Expr) -> exp.Expr:
    """TRIM, LTRIM and RTRIM."""
    names = {"LEADING": "ltrim", "TRAILING": "rtrim"}
    name = names.get(str(node.args.get("position") or ""), "trim")
    return marked(call(name, node.this, node.args.get("expression")), "text")


def piece(node: exp.Expr) -> exp.Expr:
    """SUBSTR: from 1, where 0 is 1 as well, and a place below 0 counts from the end."""
    text, start, length = node.this, node.args.get("start"), node.args.get("length")
    inner = start.this if isinstance(start, exp.Neg) else start
    if isinstance(start, exp.Neg) and isinstance(inner, exp.Literal):
        text, start = call("right", text, inner), exp.Literal.number(1)
    elif isinstance(start, exp.Literal) and str(start.this) == "0":
        start = exp.Literal.number(1)
    return marked(call("substr", text, start, length), "text")


def number_in(node: exp.Expr) -> exp.Expr:
    """TO_NUMBER, with a format or without."""
    refuse_others(node, "this", "format")
    pattern = node.args.get("format")
    found = cast(node.this, "decimal") if pattern is None else call("to_number", node.this, pattern)
    return marked(found, "number")


def joined_text(node: exp.Expr) -> exp.Expr:
    """Texts side by side; nothing is an empty text, as in Oracle."""
    parts = node.expressions or [node.this, node.args["expression"]]
    texts = [as_text(one) if kind_of(one) == "number" else one for one in parts]
    return marked(call("concat", *texts), "text")


def furthest(node: exp.Expr) -> exp.Expr:
    """GREATEST and LEAST: nothing where one of the values is nothing, as in Oracle."""
    values = [node.this, *node.expressions]
    is_missing = exp.or_(*(exp.Is(this=one.copy(), expression=exp.Null()) for one in values))
    found = call("greatest" if isinstance(node, exp.Greatest) else "least", *values)
    case = exp.Case(ifs=[exp.If(this=is_missing, true=exp.Null())], default=found)
    return marked(case, kind_of(node.this))


def decoded(node: exp.Expr) -> exp.Expr:
    """DECODE as CASE; nothing is equal to nothing in it."""
    value, *rest = node.expressions
    default = rest.pop() if len(rest) % 2 else None
    pairs = zip(rest[::2], rest[1::2], strict=True)
    ifs = [exp.If(this=_same(value.copy(), when), true=then) for when, then in pairs]
    return exp.Case(ifs=ifs, default=default)


def _same(value: exp.Expr, other: exp.Expr) -> exp.Expr:
    if isinstance(other, exp.Null):
        return exp.Is(this=value, expression=other)
    return compared(exp.EQ(this=value, expression=other))


def if_given(node: exp.Expr) -> exp.Expr:
    """NVL2 as CASE."""
    given = exp.Not(this=exp.Is(this=node.this, expression=exp.Null()))
    return exp.Case(
        ifs=[exp.If(this=given, true=node.args["true"])], default=node.args.get("false")
    )


def months_later(node: exp.Expr) -> exp.Expr:
    """ADD_MONTHS."""
    zero = exp.Literal.number(0)
    later = exp.Add(this=node.this, expression=call("make_interval", zero, node.args["expression"]))
    return marked(cast(later, "date"), "date")


def now_of(now: datetime) -> exp.Expr:
    """SYSDATE and SYSTIMESTAMP: the moment of the request."""
    return marked(cast(exp.Literal.string(now.isoformat()), "timestamptz"), "instant")


def _exact(name: str, *more: str) -> Callable[[exp.Expr], exp.Expr]:
    """A function of numbers; PostgreSQL would take whole ones for floats."""

    def build(node: exp.Expr) -> exp.Expr:
        refuse_others(node, "this", *more)
        rest = [node.args.get(one) for one in more]
        return marked(call(name, cast(node.this, "decimal"), *rest), "number")

    return build


def _plain(name: str, kind: Kind, *more: str) -> Callable[[exp.Expr], exp.Expr]:
    def build(node: exp.Expr) -> exp.Expr:
        refuse_others(node, "this", "expressions", *more)
        rest = [node.args.get(one) for one in more]
        others = [*(one for one in rest if one is not None), *node.args.get("expressions", ())]
        return marked(call(name, node.this, *others), kind or kind_of(node.this))

    return build


BUILDERS: dict[type[exp.Expr], Callable[[exp.Expr], exp.Expr]] = {
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE), compared),
    **dict.fromkeys((exp.Like, exp.ILike), matched),
    **dict.fromkeys((exp.In, exp.Between), listed),
    **dict.fromkeys((exp.Add, exp.Sub), moved),
    **dict.fromkeys((exp.DPipe, exp.Concat), joined_text),
    exp.Div: divided,
    exp.ToChar: told,
    exp.StrToDate: read_day,
    exp.DateStrToDate: read_day,
    exp.StrToTime: read_instant,
    exp.DateTrunc: cut,
    exp.Trunc: cut,
    exp.TimestampTrunc: cut,
    exp.Anonymous: anonymous,
    exp.Coalesce: first_given,
    exp.Trim: trimmed,
    exp.DecodeCase: decoded,
    exp.Nvl2: if_given,
    exp.AddMonths: months_later,
    exp.ToNumber: number_in,
    exp.Extract: part_of,
    exp.Upper: _plain("upper", "text"),
    exp.Lower: _plain("lower", "text"),
    exp.Length: _plain("length", "number"),
    exp.Substring: piece,
    exp.StrPosition: _plain("strpos", "number", "substr"),
    exp.Nullif: _plain("nullif", "", "expression"),
    exp.Round: _exact("round", "decimals"),
    exp.Abs: _plain("abs", "number"),
    exp.Ceil: _exact("ceil"),
    exp.Floor: _exact("floor"),
    exp.Sign: _exact("sign"),
    exp.Mod: _plain("mod", "number", "expression"),
    exp.Greatest: furthest,
    exp.Least: furthest,
}
"""By the kind of node."""
