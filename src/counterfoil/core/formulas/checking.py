"""From the parser's tree to checked, typed nodes: a whitelist, everything else is refused.

Numbers: every value has at most 23 whole digits and 15 decimals, so any two can be brought to
one DECIMAL(38,15). Products and quotients are rounded half-up to 15 decimals, nothing else is.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlglot import exp

from counterfoil.core.formulas.reading import DEEPEST, Source, at
from counterfoil.core.formulas.vocabulary import (
    BOOLEAN,
    DATE,
    EMPTY,
    SCALE,
    TEXT,
    WHOLE,
    Kind,
    Lookup,
    Node,
    Reference,
    Type,
    Vocabulary,
)
from counterfoil.core.formulas.wording import (
    FUNCTIONS,
    KINDS,
    listed,
    refusal_of,
    similar,
    snippet,
)
from counterfoil.core.problems import Problem

Check = Callable[["Checker", exp.Expr, tuple[Node, ...]], Node | None]

NUMBER_TEXT = re.compile(r"(\d*)\.?(\d*)", re.ASCII)
DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """How one class of the parser's nodes is checked: its parts first, then itself.

    ``parts`` are the arguments that are checked as formulas and handed to ``check`` in this
    order; ``own`` are arguments that ``check`` reads itself. Any other argument is refused, and the
    absence of one that is ``needed``: the parser is lenient with some functions.
    """

    check: Check
    parts: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    needed: tuple[str, ...] = ("this",)


HARMLESS = frozenset({"safe", "coalesce", "ignore_nulls", "typed", "date_part_boundary", "nested"})
"""Arguments in which the parser notes how its dialect behaves; the rendering does not read them."""


class Checker:
    """Checks one formula; gathers its problems and the places of its references."""

    def __init__(
        self,
        source: Source,
        vocabulary: Vocabulary,
        field: str,
        rules: Mapping[type[exp.Expr], Rule],
    ) -> None:
        self.vocabulary = vocabulary
        self.problems: list[Problem] = []
        self.found: list[tuple[int, int, Reference]] = []
        self._rules = rules
        self._source = source
        self._field = field
        self._depth = 0

    def refuse(
        self, code: str, message: str, node: exp.Expr, allowed: tuple[str, ...] = ()
    ) -> None:
        """Note a problem at the place of a node."""
        place = at(self.position(node))
        self.problems.append(Problem(code, f"{message} ({place})", self._field, allowed))

    def position(self, node: exp.Expr) -> int:
        """Where a node begins in the text: the first of its words that knows its place."""
        starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
        return int(min(starts, default=0))

    def is_written(self, node: exp.Expr) -> bool:
        """Whether a literal stands in the text where it claims to."""
        start, end = node.meta.get("start", 0), node.meta.get("end", -1)
        return self._source.text[start : end + 1] == str(node.this)

    def check(self, tree: exp.Expr) -> Node | None:
        """The checked node of a tree; None, with problems noted, when it is refused."""
        rule = self._rules.get(type(tree))
        if rule is None:
            code, message, allowed = refusal_of(tree, tuple(self.vocabulary.lookups))
            self.refuse(code, message, tree, allowed)
            return None
        if any(tree.args.get(name) is None for name in rule.needed):
            self.refuse("bad_formula", f"something is missing in {snippet(tree)}", tree)
            return None
        extra = [
            name
            for name, value in tree.args.items()
            if value and name not in (*rule.parts, *rule.own) and name not in HARMLESS
        ]
        if "query" in extra:
            self.refuse("not_allowed", "a formula cannot contain a query", tree)
            return None
        if extra:
            message = f"this form of {snippet(tree)} is not part of formulas"
            self.refuse("not_allowed", message, tree)
            return None
        if self._depth >= DEEPEST:
            message = f"more than {DEEPEST} operations stand within each other; use fewer"
            self.refuse("formula_too_deep", message, tree)
            return None
        self._depth += 1
        parts = self._parts(tree, rule)
        self._depth -= 1
        return None if parts is None else rule.check(self, tree, parts)

    def _parts(self, tree: exp.Expr, rule: Rule) -> tuple[Node, ...] | None:
        children: list[exp.Expr] = []
        for name in rule.parts:
            value = tree.args.get(name)
            children += value if isinstance(value, list) else [value] if value else []
        checked = [self.check(child) for child in children]
        parts = tuple(node for node in checked if node is not None)
        return parts if len(parts) == len(checked) else None

    def wants(self, tree: exp.Expr, parts: tuple[Node, ...], *kinds: Kind) -> bool:
        """Whether all parts are of one of the kinds; the word null fits anywhere."""
        for part in parts:
            if part.type.kind not in (*kinds, Kind.EMPTY):
                wanted = " or ".join(KINDS[kind] for kind in kinds).replace(
                    " or ", ", ", len(kinds) - 2
                )
                hint = self._hint(part.type.kind, kinds)
                message = f"{snippet(tree)} needs {wanted}, not {KINDS[part.type.kind]}{hint}"
                self.refuse("wrong_type", message, tree)
                return False
        return True

    def _hint(self, given: Kind, wanted: tuple[Kind, ...]) -> str:
        if given is Kind.TEXT and Kind.NUMBER in wanted:
            return "; write cast(... as decimal(18,6)) where a text holds a number"
        if given is Kind.DATE and Kind.NUMBER in wanted:
            return "; days between dates are date_diff('day', from, to)"
        return ""

    def together(self, tree: exp.Expr, parts: tuple[Node, ...]) -> Type | None:
        """The one type that holds the values of all parts; None when their kinds differ."""
        types = [part.type for part in parts if part.type.kind is not Kind.EMPTY]
        kinds = list(dict.fromkeys(type_.kind for type_ in types))
        if len(kinds) > 1:
            mixed = " with ".join(KINDS[kind] for kind in kinds[:2])
            self.refuse("wrong_type", f"{snippet(tree)} mixes {mixed}", tree)
            return None
        if not types:
            return EMPTY
        if kinds[0] is not Kind.NUMBER:
            return types[0]
        return sized(max(t.whole for t in types), max(t.scale for t in types))

    def must_return(self, root: Node, returns: Kind) -> None:
        """Refuse a formula that yields something else than what its place needs."""
        if root.type.kind is Kind.EMPTY:
            message = "the formula never has a value"
            self.problems.append(Problem("wrong_type", message, self._field))
        elif root.type.kind != returns:
            message = f"must yield {KINDS[returns]}, but yields {KINDS[root.type.kind]}"
            self.problems.append(Problem("wrong_type", message, self._field))

    def refer(self, tree: exp.Expr, reference: Reference, last: exp.Expr) -> Node:
        """Note that a reference stands from the beginning of ``tree`` to the end of ``last``."""
        start = self.position(tree)
        self.found.append((start, int(last.meta["end"]) + 1, reference))
        return Node("reference", reference.type, (), reference)


def sized(whole: int, scale: int) -> Type:
    """The number type for so many digits, within the limits of formulas."""
    whole, scale = min(max(whole, 1), WHOLE), min(scale, SCALE)
    return Type(Kind.NUMBER, whole + scale, scale)


def _paren(_checker: Checker, _tree: exp.Expr, parts: tuple[Node, ...]) -> Node | None:
    return parts[0]


def _literal(checker: Checker, tree: exp.Expr, _parts: tuple[Node, ...]) -> Node | None:
    text = str(tree.this)
    if tree.args.get("is_string"):
        return Node("literal", TEXT, (), text)
    digits = NUMBER_TEXT.fullmatch(text)
    if digits is None or not text.strip("."):
        message = f"the number {text[:40]!r} must be written with digits, like 1500 or 0.04"
        checker.refuse("not_allowed", message, tree)
        return None
    whole, scale = len(digits[1].lstrip("0")), len(digits[2])
    if whole > WHOLE or scale > SCALE:
        message = f"a number has at most {WHOLE} digits before the point and {SCALE} after it"
        checker.refuse("number_too_long", message, tree)
        return None
    return Node("literal", sized(whole, scale), (), Decimal(text))


def _boolean(_checker: Checker, tree: exp.Expr, _parts: tuple[Node, ...]) -> Node | None:
    return Node("literal", BOOLEAN, (), bool(tree.this))


def _null(_checker: Checker, _tree: exp.Expr, _parts: tuple[Node, ...]) -> Node | None:
    return Node("literal", EMPTY)


def _variable(checker: Checker, tree: exp.Expr, _parts: tuple[Node, ...]) -> Node | None:
    words = [word for key in ("db", "table", "this") if (word := tree.args.get(key))]
    if not all(isinstance(word, exp.Identifier) for word in words):
        checker.refuse("not_allowed", f"{snippet(tree)} is not part of formulas", tree)
        return None
    name = ".".join(str(word.this) for word in words).lower()
    type_ = checker.vocabulary.variables.get(name)
    if type_ is None:
        _unknown_variable(checker, tree, name)
        return None
    last = max(words, key=lambda word: int(word.meta["end"]))
    return checker.refer(tree, Reference(name, (), type_), last)


def _unknown_variable(checker: Checker, tree: exp.Expr, name: str) -> None:
    known = tuple(checker.vocabulary.variables)
    if name in checker.vocabulary.lookups:
        message = f"{name} needs its arguments in brackets: {name}('...')"
        checker.refuse("unknown_name", message, tree)
        return
    near = similar(name, known)
    message = f"there is no {name!r} here{near}"
    checker.refuse("unknown_name", message, tree, listed(known))


def _lookup(checker: Checker, tree: exp.Expr, _parts: tuple[Node, ...]) -> Node | None:
    name = str(tree.this).lower()
    lookup = checker.vocabulary.lookups.get(name)
    if lookup is None:
        known = (*checker.vocabulary.lookups, *FUNCTIONS)
        message = f"there is no function {name!r} here{similar(name, known)}"
        checker.refuse("unknown_function", message, tree, known)
        return None
    given = tree.expressions
    wanted = 2 if lookup.scopes else 1
    if len(given) != wanted or not all(_is_text(argument) for argument in given):
        shape = f"{name}('name', 'scope')" if lookup.scopes else f"{name}('name')"
        message = f"{name} is written {shape}, with texts in single quotes"
        checker.refuse("bad_arguments", message, tree)
        return None
    arguments = tuple(str(argument.this) for argument in given)
    if not _answers(checker, tree, name, lookup, arguments):
        return None
    type_ = lookup.types.get(arguments[0], lookup.returns)
    return checker.refer(tree, Reference(name, arguments, type_), given[-1])


def _answers(
    checker: Checker, tree: exp.Expr, name: str, lookup: Lookup, arguments: tuple[str, ...]
) -> bool:
    if lookup.names is not None and arguments[0] not in lookup.names:
        known = tuple(sorted(lookup.names))
        message = f"{name} does not know {arguments[0]!r}{similar(arguments[0], known)}"
        checker.refuse("unknown_name", message, tree, listed(known))
        return False
    if not arguments[0]:
        checker.refuse("bad_arguments", f"{name} needs a name", tree)
        return False
    if lookup.scopes and arguments[1] not in lookup.scopes:
        near = similar(arguments[1], lookup.scopes)
        message = f"{name} does not know the scope {arguments[1]!r}{near}"
        checker.refuse("unknown_scope", message, tree, lookup.scopes)
        return False
    return True


def _is_text(tree: exp.Expr) -> bool:
    return type(tree) is exp.Literal and bool(tree.args.get("is_string"))


def _cast(checker: Checker, tree: exp.Expr, _parts: tuple[Node, ...]) -> Node | None:
    to = _target(checker, tree)
    if to is None:
        return None
    if to.kind is Kind.DATE and _is_text(tree.this):
        return _day(checker, tree)
    part = checker.check(tree.this)
    if part is None or part.type == to:
        return part
    fitting = {
        Kind.NUMBER: (Kind.NUMBER, Kind.TEXT),
        Kind.DATE: (Kind.DATE, Kind.TEXT),
        Kind.TEXT: (Kind.TEXT, Kind.NUMBER, Kind.DATE, Kind.BOOLEAN),
    }
    if not checker.wants(tree, (part,), *fitting[to.kind]):
        return None
    return Node("cast", to, (part,))


def _target(checker: Checker, tree: exp.Expr) -> Type | None:
    """The type of a cast: decimal with its digits, text or date."""
    to = tree.args["to"]
    wanted = to.this if isinstance(to, exp.DataType) else None
    # The parser fills in decimal(18,3) where no digits are written.
    said = [size.this for size in to.expressions if checker.is_written(size.this)]
    sizes = [str(size) for size in said]
    if wanted in exp.DataType.TEXT_TYPES and not sizes:
        return TEXT
    if wanted == exp.DType.DATE and not sizes:
        return DATE
    if wanted == exp.DType.DECIMAL:
        digits = [
            int(size) for size in sizes if size.isascii() and size.isdigit() and len(size) < 3
        ]
        whole = digits[0] - digits[1] if len(digits) == len(sizes) == 2 else 0
        if 0 < whole <= WHOLE and digits[1] <= SCALE:
            return Type(Kind.NUMBER, digits[0], digits[1])
        message = (
            "write decimal with its digits in all and after the point, like decimal(18,6); "
            f"at most {WHOLE} before the point and {SCALE} after it"
        )
        checker.refuse("not_allowed", message, tree)
        return None
    message = "cast converts to decimal(digits, decimals), text or date only"
    checker.refuse("not_allowed", message, tree, ("decimal", "text", "date"))
    return None


def _day(checker: Checker, tree: exp.Expr) -> Node | None:
    text = str(tree.this.this)
    try:
        if DAY.fullmatch(text):
            return Node("literal", DATE, (), date.fromisoformat(text))
    except ValueError:
        pass
    checker.refuse("bad_date", f"{text[:40]!r} is no date like date '2026-01-31'", tree)
    return None


CORE_RULES: Mapping[type[exp.Expr], Rule] = {
    exp.Paren: Rule(_paren, ("this",)),
    exp.Literal: Rule(_literal, (), ("this", "is_string")),
    exp.Boolean: Rule(_boolean, (), ("this",)),
    exp.Null: Rule(_null, needed=()),
    exp.Column: Rule(_variable, (), ("this", "table", "db")),
    exp.Anonymous: Rule(_lookup, (), ("this", "expressions")),
    exp.Cast: Rule(_cast, (), ("this", "to")),
}
"""Values, references and casts; ``operations`` adds the rest of the whitelist."""
