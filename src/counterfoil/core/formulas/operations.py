"""Arithmetic, comparisons, conditions and functions: their types and what they refuse."""

from collections.abc import Mapping

from sqlglot import exp

from counterfoil.core.formulas.checking import CORE_RULES, Checker, Rule, sized
from counterfoil.core.formulas.vocabulary import BOOLEAN, EMPTY, SCALE, TEXT, Kind, Node, Type
from counterfoil.core.formulas.wording import snippet

Parts = tuple[Node, ...]
ARITHMETIC: Mapping[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
COMPARISON: Mapping[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
CHOICE: Mapping[type[exp.Expr], str] = {exp.Greatest: "greatest", exp.Least: "least"}
CALENDAR = ("year", "quarter", "month", "day", "dow", "isodow")
SPANS = ("day", "month", "year")


def _arithmetic(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if not checker.wants(tree, parts, Kind.NUMBER):
        return None
    return Node(ARITHMETIC[type(tree)], _result(ARITHMETIC[type(tree)], parts), parts)


def _result(operation: str, parts: Parts) -> Type:
    """Digits that hold every result, where 23 and 15 allow it."""
    left, right = (sized(part.type.whole, part.type.scale) for part in parts)
    scale = max(left.scale, right.scale)
    if operation == "*":
        return sized(left.whole + right.whole, left.scale + right.scale)
    if operation == "/":
        return sized(left.whole + right.scale, SCALE)
    if operation == "%":
        return sized(max(left.whole, right.whole), scale)
    return sized(max(left.whole, right.whole) + 1, scale)


def _negative(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if not checker.wants(tree, parts, Kind.NUMBER):
        return None
    return Node("negative", parts[0].type, parts)


def _comparison(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if any(part.type.kind is Kind.EMPTY for part in parts):
        message = f"{snippet(tree)} is never true; write 'is null' or 'is not null'"
        checker.refuse("wrong_type", message, tree)
        return None
    if checker.together(tree, parts) is None:
        return None
    ordered = type(tree) not in (exp.EQ, exp.NEQ)
    if ordered and not checker.wants(tree, parts, Kind.NUMBER, Kind.TEXT, Kind.DATE):
        return None
    return Node(COMPARISON[type(tree)], BOOLEAN, parts)


def _logic(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if not checker.wants(tree, parts, Kind.BOOLEAN):
        return None
    return Node(tree.key, BOOLEAN, parts)


def _is(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    """``x is null`` and, for a yes/no value, ``x is true`` and ``x is false``."""
    asked, word = parts
    if type(tree.expression) is exp.Null:
        return Node("is null", BOOLEAN, (asked,))
    if type(tree.expression) is exp.Boolean:
        if not checker.wants(tree, (asked,), Kind.BOOLEAN):
            return None
        return Node("is true" if word.value else "is false", BOOLEAN, (asked,))
    checker.refuse("not_allowed", "after 'is' stands null, not null, true or false", tree)
    return None


def _within(operation: str) -> Rule:
    """``x in (a, b)`` and ``x between a and b``: all of one kind."""

    def check(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
        if any(part.type.kind is Kind.EMPTY for part in parts):
            message = f"null has no place in {snippet(tree)}; write 'is null'"
            checker.refuse("wrong_type", message, tree)
            return None
        if len(parts) < 2:
            message = "'in' needs a list of values in brackets: in ('eu', 'us')"
            checker.refuse("not_allowed", message, tree)
            return None
        if checker.together(tree, parts) is None:
            return None
        return Node(operation, BOOLEAN, parts)

    names = ("this", "expressions") if operation == "in" else ("this", "low", "high")
    return Rule(check, names, (), names[:1])


def _case(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    """Parts: condition, value, condition, value, ..., value otherwise; before them the value
    that is compared, where there is one (``case size when 1 then ...``)."""
    plain = type(tree) is exp.If
    whens = [tree] if plain else tree.args["ifs"]
    other = tree.args.get("false" if plain else "default")
    conditions = [checker.check(when.this) for when in whens]
    values = [checker.check(when.args["true"]) for when in whens]
    values.append(checker.check(other) if other else Node("literal", EMPTY))
    known = tuple(node for node in conditions if node is not None)
    results = tuple(node for node in values if node is not None)
    if len(known) < len(conditions) or len(results) < len(values):
        return None
    if parts and checker.together(tree, (*parts, *known)) is None:
        return None
    if not parts and not checker.wants(tree, known, Kind.BOOLEAN):
        return None
    type_ = checker.together(tree, results)
    if type_ is None:
        return None
    pairs = [part for pair in zip(known, results, strict=False) for part in pair]
    return Node("switch" if parts else "case", type_, (*parts, *pairs, results[-1]))


def _coalesce(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    type_ = checker.together(tree, parts)
    return None if type_ is None else Node("coalesce", type_, parts)


def _nullif(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if checker.together(tree, parts) is None:
        return None
    return Node("nullif", parts[0].type, parts)


def _choice(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if not checker.wants(tree, parts, Kind.NUMBER, Kind.DATE):
        return None
    type_ = checker.together(tree, parts)
    return None if type_ is None else Node(CHOICE[type(tree)], type_, parts)


def _absolute(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if not checker.wants(tree, parts, Kind.NUMBER):
        return None
    return Node("abs", parts[0].type, parts)


def _round(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    digits = tree.args.get("decimals")
    text = "0" if digits is None else str(digits.this) if type(digits) is exp.Literal else ""
    if not (text.isascii() and text.isdigit() and int(text) <= SCALE) or len(text) > 2:
        message = f"round(number, decimals): decimals is a number from 0 to {SCALE}"
        checker.refuse("bad_arguments", message, tree)
        return None
    if not checker.wants(tree, parts, Kind.NUMBER):
        return None
    if int(text) >= parts[0].type.scale:
        return parts[0]
    return Node("round", sized(parts[0].type.whole + 1, int(text)), parts)


def _whole(operation: str) -> Rule:
    def check(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
        if not checker.wants(tree, parts, Kind.NUMBER):
            return None
        return Node(operation, sized(parts[0].type.whole + 1, 0), parts)

    return Rule(check, ("this",))


def _texts(operation: str, result: Type, *names: str) -> Rule:
    """A function of texts only."""

    def check(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
        if not checker.wants(tree, parts, Kind.TEXT):
            return None
        return Node(operation, result, parts)

    return Rule(check, names, (), names)


def _like(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    if not checker.wants(tree, parts, Kind.TEXT):
        return None
    like = Node("like", BOOLEAN, parts)
    return Node("not", BOOLEAN, (like,)) if tree.args.get("negate") else like


def _extract(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    unit = str(tree.this.this if isinstance(tree.this, exp.Expr) else tree.this).lower()
    if type(tree) is exp.Extract and unit not in CALENDAR:
        message = f"extract takes a part of a date, not {unit[:40]!r}"
        checker.refuse("bad_arguments", message, tree, CALENDAR)
        return None
    if not checker.wants(tree, parts, Kind.DATE):
        return None
    return Node("extract", sized(6, 0), parts, unit)


def _span(checker: Checker, tree: exp.Expr, parts: Parts) -> Node | None:
    """Complete days, months or years; the parser hands over the later date first."""
    given = tree.args.get("unit")
    unit = str(given.this).lower() if isinstance(given, exp.Expr) else ""
    if unit not in SPANS:
        message = "date_diff is written date_diff('day', from, to)"
        checker.refuse("bad_arguments", message, tree, SPANS)
        return None
    if not checker.wants(tree, parts, Kind.DATE):
        return None
    return Node("date_diff", sized(12, 0), (parts[1], parts[0]), unit)


BOTH = ("this", "expression")
RULES: Mapping[type[exp.Expr], Rule] = {
    **CORE_RULES,
    **dict.fromkeys(ARITHMETIC, Rule(_arithmetic, BOTH, (), BOTH)),
    **dict.fromkeys(COMPARISON, Rule(_comparison, BOTH, (), BOTH)),
    **dict.fromkeys((exp.And, exp.Or), Rule(_logic, BOTH, (), BOTH)),
    **dict.fromkeys(CHOICE, Rule(_choice, ("this", "expressions"))),
    exp.Not: Rule(_logic, ("this",)),
    exp.Neg: Rule(_negative, ("this",)),
    exp.Is: Rule(_is, BOTH, (), BOTH),
    exp.In: _within("in"),
    exp.Between: _within("between"),
    exp.Case: Rule(_case, ("this",), ("ifs", "default"), ("ifs",)),
    exp.If: Rule(_case, (), ("this", "true", "false"), ("this", "true")),
    exp.Coalesce: Rule(_coalesce, ("this", "expressions")),
    exp.Nullif: Rule(_nullif, BOTH, (), BOTH),
    exp.Abs: Rule(_absolute, ("this",)),
    exp.Round: Rule(_round, ("this",), ("decimals",)),
    exp.Floor: _whole("floor"),
    exp.Ceil: _whole("ceil"),
    exp.Lower: _texts("lower", TEXT, "this"),
    exp.Upper: _texts("upper", TEXT, "this"),
    exp.Trim: _texts("trim", TEXT, "this"),
    exp.Length: _texts("length", sized(10, 0), "this"),
    exp.StartsWith: _texts("starts_with", BOOLEAN, *BOTH),
    exp.Like: Rule(_like, BOTH, ("negate",), BOTH),
    exp.Concat: _texts("concat", TEXT, "expressions"),
    exp.DPipe: _texts("concat", TEXT, *BOTH),
    exp.Extract: Rule(_extract, ("expression",), ("this",), BOTH),
    exp.DateDiff: Rule(_span, BOTH, ("unit",), BOTH),
}
