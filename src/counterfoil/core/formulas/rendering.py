"""Checked formulas as DuckDB expressions that are exact and never raise.

DuckDB divides decimals as DOUBLE and stops at 38 digits. Here numbers keep their DECIMAL type by
explicit casts; a product that may not fit 38 digits is computed from the whole and the broken
parts of its factors; a quotient by long division of integers. Both are rounded half-up to 15
decimals. What cannot be computed is NULL.

Whatever may leave the range of its type stands directly within a ``try``, on parts that cannot:
DuckDB computes equal parts of an expression once, outside of a ``try`` further out, and would
raise there.
"""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from counterfoil.core.formulas.vocabulary import EMPTY, SCALE, WHOLE, Kind, Node, Reference, Type
from counterfoil.core.money.exact_sql import decimal15, raw

MOST = WHOLE + SCALE
"""Digits of DuckDB's widest decimal, and of the integers it is divided by."""
LONG = 80
"""Characters of an expression from which on it is written once and named."""
SQL_NAMES = {Kind.TEXT: "VARCHAR", Kind.BOOLEAN: "BOOLEAN", Kind.DATE: "DATE"}
RESULT = Type(Kind.NUMBER, MOST, SCALE)

ColumnOf = Callable[[Reference], str]


def rendered(root: Node, column_of: ColumnOf) -> str:
    """The whole formula; a number as DECIMAL(38,15)."""
    renderer = Renderer(column_of)
    wanted = RESULT if root.type.kind is Kind.NUMBER else root.type
    return f"try({renderer.fit(root, wanted)})"


def sql_type(type_: Type) -> str:
    """The engine's name of a type."""
    if type_.kind is Kind.NUMBER:
        return f"DECIMAL({type_.precision},{type_.scale})"
    return SQL_NAMES[type_.kind]


def decimal_cast(sql: str, whole: int, scale: int) -> str:
    """A number in the type of so many digits."""
    return f"CAST({sql} AS DECIMAL({max(whole, 1) + scale},{scale}))"


def _tried(sql: str, type_: Type, *, always: bool = False) -> str:
    """``sql`` in a type; within a ``try`` when the type is the widest, hence perhaps too narrow."""
    text = f"CAST({sql} AS {sql_type(type_)})"
    return f"try({text})" if always or type_.whole == WHOLE else text


def _widest(types: list[Type]) -> Type:
    """The type that holds values of all of them; within the limits there always is one."""
    known = [type_ for type_ in types if type_.kind is not Kind.EMPTY]
    if not known or known[0].kind is not Kind.NUMBER:
        return known[0] if known else EMPTY
    scale = max(type_.scale for type_ in known)
    return Type(Kind.NUMBER, max(type_.whole for type_ in known) + scale, scale)


class Renderer:
    """Renders nodes; numbers the names it gives to expressions that are used more than once."""

    def __init__(self, column_of: ColumnOf) -> None:
        self._column_of = column_of
        self._named = 0

    def render(self, node: Node) -> str:
        """SQL whose value has exactly the node's type."""
        if node.operation in SIMPLE:
            texts = [self.render(part) for part in node.parts]
            return SIMPLE[node.operation].format(*texts)
        return RENDERERS[node.operation](self, node)

    def fit(self, node: Node, wanted: Type) -> str:
        """The node's value in another type of the same kind; null in any type."""
        if node.type.kind is Kind.EMPTY:
            return f"CAST(NULL AS {sql_type(wanted)})" if wanted != EMPTY else "NULL"
        text = self.render(node)
        return text if node.type == wanted else f"CAST({text} AS {sql_type(wanted)})"

    def fitted(self, nodes: tuple[Node, ...]) -> list[str]:
        """All values in the one type that holds them."""
        wanted = _widest([node.type for node in nodes])
        return [self.fit(node, wanted) for node in nodes]

    def named(self, sql: str, use: Callable[[str], str], *, always: bool = False) -> str:
        """What ``use`` makes of an expression that it writes several times.

        Repeating a long one at every level would double the text each time: it becomes the
        argument of a lambda. So does, ``always``, one that may leave the range of its type.
        """
        if len(sql) <= LONG and not always:
            return use(sql)
        self._named += 1
        name = f"formula_{self._named}"
        return f"list_transform([{sql}], lambda {name}: {use(name)})[1]"

    def literal(self, node: Node) -> str:
        """A constant, with its type said."""
        if node.type.kind is Kind.EMPTY:
            return "NULL"
        if node.type.kind is Kind.TEXT:
            return "'" + str(node.value).replace("'", "''") + "'"
        if node.type.kind is Kind.DATE:
            return f"DATE '{node.value}'"
        if node.type.kind is Kind.BOOLEAN:
            return "true" if node.value else "false"
        return f"CAST({node.value:f} AS {sql_type(node.type)})"

    def reference(self, node: Node) -> str:
        """The caller's column, in the declared type."""
        if not isinstance(node.value, Reference):
            raise TypeError("a reference node holds no reference")
        return f"TRY_CAST({self._column_of(node.value)} AS {sql_type(node.type)})"

    def compared(self, node: Node) -> str:
        """``=``, ``<`` and the like."""
        left, right = self.fitted(node.parts)
        return f"({left} {node.operation} {right})"

    def within(self, node: Node) -> str:
        """``in``: a list of any length."""
        asked, *listed = self.fitted(node.parts)
        return f"({asked} IN ({', '.join(listed)}))"

    def between(self, node: Node) -> str:
        """Both bounds belong to it."""
        asked, low, high = self.fitted(node.parts)
        return f"({asked} BETWEEN {low} AND {high})"

    def case(self, node: Node) -> str:
        """Conditions in turn."""
        *pairs, other = node.parts
        whens = [
            f"WHEN {self.render(condition)} THEN {self.fit(value, node.type)}"
            for condition, value in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        return f"(CASE {' '.join(whens)} ELSE {self.fit(other, node.type)} END)"

    def switch(self, node: Node) -> str:
        """One value compared with others in turn."""
        asked, *pairs, other = node.parts
        texts = self.fitted((asked, *pairs[::2]))
        whens = [
            f"WHEN {when} THEN {self.fit(value, node.type)}"
            for when, value in zip(texts[1:], pairs[1::2], strict=True)
        ]
        return f"(CASE {texts[0]} {' '.join(whens)} ELSE {self.fit(other, node.type)} END)"

    def coalesce(self, node: Node) -> str:
        """The first value there is."""
        return f"coalesce({', '.join(self.fit(part, node.type) for part in node.parts)})"

    def nullif(self, node: Node) -> str:
        """No value where both are equal."""
        left, right = self.fitted(node.parts)
        if node.type.kind is not Kind.NUMBER:
            return f"nullif({left}, {right})"
        return f"CAST(nullif({left}, {right}) AS {sql_type(node.type)})"

    def choice(self, node: Node) -> str:
        """Greatest or least, with no value where one part has none (the engine would skip it)."""
        first, *others = (self.fit(part, node.type) for part in node.parts)
        sign = ">=" if node.operation == "greatest" else "<="
        for other in others:
            first = self._chosen(first, sign, other)
        return first

    def _chosen(self, left: str, sign: str, right: str) -> str:
        def use(one: str, two: str) -> str:
            return (
                f"(CASE WHEN {one} {sign} {two} THEN {one} WHEN {two} {sign} {one} THEN {two} END)"
            )

        return self.named(left, lambda one: self.named(right, lambda two: use(one, two)))

    def joined(self, node: Node) -> str:
        """Texts one after the other; no value where one is missing."""
        return f"({' || '.join(self.fit(part, node.type) for part in node.parts)})"

    def cast(self, node: Node) -> str:
        """A conversion that the formula asks for; no value where a text does not fit."""
        part = node.parts[0]
        text = self.fit(part, node.type) if part.type is EMPTY else self.render(part)
        if node.type.kind is not Kind.TEXT:
            return f"TRY_CAST({text} AS {sql_type(node.type)})"
        if part.type.kind is not Kind.NUMBER:
            return f"CAST({text} AS VARCHAR)"
        digits = f"CAST({decimal_cast(text, part.type.whole, part.type.scale)} AS VARCHAR)"
        return f"rtrim(rtrim({digits}, '0'), '.')" if part.type.scale else digits

    def rounded(self, node: Node) -> str:
        """A cast to fewer decimals rounds half away from zero, exactly."""
        return _tried(self.number(node.parts[0]), node.type)

    def whole(self, node: Node) -> str:
        """Floor and ceil."""
        return _tried(f"{node.operation}({self.number(node.parts[0])})", node.type)

    def extract(self, node: Node) -> str:
        """Year, month, day and day of the week of a date."""
        text = self.fit(node.parts[0], Type(Kind.DATE))
        return f"try(CAST(extract({node.value} FROM {text}) AS {sql_type(node.type)}))"

    def span(self, node: Node) -> str:
        """Complete days, months or years from one date to another; negative backwards."""
        start, end = (self.fit(part, Type(Kind.DATE)) for part in node.parts)
        return f"try(CAST(date_sub('{node.value}', {start}, {end}) AS {sql_type(node.type)}))"

    def number(self, node: Node, type_: Type | None = None) -> str:
        """A factor or summand in a number type, its own unless told."""
        own = node.type if node.type.kind is Kind.NUMBER else Type(Kind.NUMBER, 1, 0)
        return self.fit(node, type_ or own)

    def added(self, node: Node) -> str:
        """Sum or difference, in the type of the result."""
        left, right = (self.number(part, node.type) for part in node.parts)
        return _tried(f"{left} {node.operation} {right}", node.type)

    def negative(self, node: Node) -> str:
        """The other sign."""
        return f"(-{self.fit(node.parts[0], node.type)})"

    def absolute(self, node: Node) -> str:
        """Without sign."""
        return f"abs({self.fit(node.parts[0], node.type)})"

    def remainder(self, node: Node) -> str:
        """What is left of a division into wholes; has the sign of the dividend."""
        left, right = (self.number(part, node.type) for part in node.parts)
        return f"({left} % nullif({right}, 0))"

    def product(self, node: Node) -> str:
        """Exact, then rounded half-up to 15 decimals when it has more."""
        left, right = node.parts
        if left.type.precision < right.type.precision:
            left, right = right, left
        a, b = self._sizes(left), self._sizes(right)
        texts = self.number(left), self.number(right)
        if a.precision + b.precision <= MOST:
            return _tried(f"{_whole_digits(texts[0], a, b)} * {texts[1]}", node.type)
        return self.named(
            texts[0],
            lambda x: self.named(texts[1], lambda y: _wide_product(x, a, y, b, node.type)),
        )

    def quotient(self, node: Node) -> str:
        """Rounded half-up to 15 decimals; no value where the divisor is zero."""
        left, right = node.parts
        inverse = _inverse(right)
        if inverse is not None:
            return self.product(Node("*", node.type, (left, inverse)))
        a, b = self._sizes(left), self._sizes(right)
        shift = SCALE - a.scale + b.scale

        def use(x: str, y: str) -> str:
            # All digits that fit are moved in front of the point before the first division.
            before = min(shift, MOST - a.precision)
            dividend = f"({raw(f'abs({x})', a.scale)} * {10**before}::HUGEINT)"
            divisor = raw(f"abs(nullif({y}, 0))", b.scale)
            count = self.named(
                dividend,
                lambda n: self.named(divisor, lambda d: self._divided(n, d, b, shift - before)),
            )
            sign = f"CASE WHEN ({x} < 0) <> ({y} < 0) THEN -1 ELSE 1 END"
            signed = f"({sign} * {count})"
            return _tried(self.named(signed, decimal15), node.type, always=True)

        texts = self.number(left), self.number(right)
        return self.named(texts[0], lambda x: self.named(texts[1], lambda y: use(x, y)))

    def _divided(self, dividend: str, divisor: str, size: Type, rest: int) -> str:
        """HUGEINT quotient, half-up, of ``dividend`` * 10**rest, some digits at a time."""

        def step(quotient: str, remainder: str, rest: int) -> str:
            if not rest:
                half = f"CASE WHEN {remainder} >= {divisor} - {remainder} THEN 1 ELSE 0 END"
                return f"({quotient} + {half})"
            digits = min(rest, max(MOST - size.precision, 5))
            power = f"{10**digits}::HUGEINT"
            return self.named(
                f"({remainder} * {power})",
                lambda m: self.named(
                    f"({quotient} * {power} + {m} // {divisor})",
                    lambda q: self.named(f"({m} % {divisor})", lambda r: step(q, r, rest - digits)),
                    always=True,
                ),
                always=True,
            )

        return step(f"({dividend} // {divisor})", f"({dividend} % {divisor})", rest)

    def _sizes(self, node: Node) -> Type:
        return node.type if node.type.kind is Kind.NUMBER else Type(Kind.NUMBER, 1, 0)


def _inverse(divisor: Node) -> Node | None:
    """The literal whose product is the same as the quotient: 0.01 for 100; None for most."""
    if divisor.operation != "literal" or not isinstance(divisor.value, Decimal):
        return None
    if not divisor.value or abs(divisor.value) < Decimal("0.00000001"):
        return None
    inverse = 1 / Fraction(divisor.value)
    scale = next((n for n in range(SCALE + 1) if (inverse * 10**n).denominator == 1), None)
    if scale is None:
        return None
    whole = len(str(int(inverse)))
    text = format(int(inverse * 10**scale), f"0{scale + 1}d")
    value = Decimal(f"{text[: len(text) - scale]}.{text[len(text) - scale :]}")
    return Node("literal", Type(Kind.NUMBER, whole + scale, scale), (), value)


# DuckDB multiplies two numbers of at most so many digits in 64 bits, however many come out.
_NARROW = 18


def _whole_digits(x: str, a: Type, b: Type) -> str:
    """The factor ``x`` of type ``a``, wide enough that all digits of its product with ``b`` fit."""
    if max(a.precision, b.precision) <= _NARROW < a.precision + b.precision:
        return f"CAST({x} AS DECIMAL({_NARROW + 1},{a.scale}))"
    return x


def _wide_product(x: str, a: Type, y: str, b: Type, result: Type) -> str:
    """x * y from whole and broken parts: all of one sign, so that only the last is rounded.

    With x = X + u and y = Y + v the parts X*Y, X*v and Y*u have at most 15 decimals; rounding u*v
    half away from zero to 15 is rounding the product.
    """
    whole_x, whole_y = (
        decimal_cast(f"trunc({x})", max(a.whole, _NARROW + 1), 0),
        decimal_cast(f"trunc({y})", b.whole, 0),
    )
    parts = [f"CAST({whole_x} * {whole_y} AS {sql_type(result)})"]
    broken_x = f"CAST({x} - {whole_x} AS DECIMAL({_NARROW + 1},{a.scale}))" if a.scale else ""
    broken_y = f"CAST({y} - {whole_y} AS DECIMAL({b.scale},{b.scale}))" if b.scale else ""
    if broken_x:
        parts.append(f"CAST({broken_x} * {whole_y} AS {sql_type(result)})")
    if broken_y:
        parts.append(f"CAST({whole_x} * {broken_y} AS {sql_type(result)})")
    if broken_x and broken_y:
        parts.append(f"CAST({broken_x} * {broken_y} AS {sql_type(result)})")
    return _tried(" + ".join(parts), result)


SIMPLE = {
    "and": "({} AND {})",
    "or": "({} OR {})",
    "not": "(NOT {})",
    "is null": "({} IS NULL)",
    "is true": "({} IS TRUE)",
    "is false": "({} IS FALSE)",
    "lower": "lower({})",
    "upper": "upper({})",
    "trim": "trim({})",
    "length": "CAST(length({}) AS DECIMAL(10,0))",
    "starts_with": "starts_with({}, {})",
    "like": "({} LIKE {})",
}
RENDERERS: dict[str, Callable[[Renderer, Node], str]] = {
    "literal": Renderer.literal,
    "reference": Renderer.reference,
    **dict.fromkeys(("=", "<>", "<", "<=", ">", ">="), Renderer.compared),
    "in": Renderer.within,
    "between": Renderer.between,
    "case": Renderer.case,
    "switch": Renderer.switch,
    "coalesce": Renderer.coalesce,
    "nullif": Renderer.nullif,
    **dict.fromkeys(("greatest", "least"), Renderer.choice),
    "concat": Renderer.joined,
    "cast": Renderer.cast,
    "round": Renderer.rounded,
    **dict.fromkeys(("floor", "ceil"), Renderer.whole),
    "extract": Renderer.extract,
    "date_diff": Renderer.span,
    **dict.fromkeys(("+", "-"), Renderer.added),
    "negative": Renderer.negative,
    "abs": Renderer.absolute,
    "%": Renderer.remainder,
    "*": Renderer.product,
    "/": Renderer.quotient,
}
