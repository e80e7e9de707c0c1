"""What a formula may speak of: the types of values, and the variables and lookups of one place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum

SCALE = 15
"""Decimals that a number of a formula keeps at most."""
WHOLE = 23
"""Digits before the decimal point that a number of a formula has at most."""
SCOPES = ("subscription", "site", "account", "subtree", "root")
"""Where a lookup gathers its value."""

Value = Decimal | str | bool | date | None
"""The value of a reference; None where there is none."""

NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*){0,2}", re.ASCII)


class Kind(StrEnum):
    """What a formula or a part of it yields."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    EMPTY = "empty"  # the word null; no variable is declared so


@dataclass(frozen=True, slots=True)
class Type:
    """A kind; of a number also its digits in all (``precision``) and after the point."""

    kind: Kind
    precision: int = 0
    scale: int = 0

    @property
    def whole(self) -> int:
        """Digits before the decimal point."""
        return self.precision - self.scale


TEXT = Type(Kind.TEXT)
BOOLEAN = Type(Kind.BOOLEAN)
DATE = Type(Kind.DATE)
EMPTY = Type(Kind.EMPTY)


def number(precision: int = WHOLE + SCALE, scale: int = SCALE) -> Type:
    """The type of DECIMAL(precision, scale): at most 23 digits before the point, 15 after it.

    The narrower, the faster: declare what the column has.
    """
    if not (0 <= scale <= SCALE and 0 <= precision - scale <= WHOLE and precision > 0):
        raise ValueError(f"DECIMAL({precision},{scale}) is wider than a number of a formula")
    return Type(Kind.NUMBER, precision, scale)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a formula reads: a variable (no arguments) or a lookup with its arguments.

    ``Reference("account.country")``, ``Reference("usage", ("minutes", "root"))``. References are
    equal when name and arguments are.
    """

    name: str
    arguments: tuple[str, ...] = ()
    type: Type = field(default=EMPTY, compare=False)

    def __str__(self) -> str:
        if not self.arguments:
            return self.name
        quoted = ("'" + argument.replace("'", "''") + "'" for argument in self.arguments)
        return f"{self.name}({', '.join(quoted)})"


@dataclass(frozen=True, slots=True)
class Lookup:
    """A function that the caller answers before the formula runs: ``usage('minutes', 'root')``.

    The first argument names what is looked up: one of ``names``, or any name when that is None.
    ``scopes`` are the values of the second argument; without scopes there is none. ``types``
    holds the type of names for which it is not ``returns``.
    """

    returns: Type
    names: frozenset[str] | None = None
    scopes: tuple[str, ...] = ()
    types: Mapping[str, Type] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The variables (``quantity``, ``account.country``) and lookups allowed in one place."""

    variables: Mapping[str, Type] = field(default_factory=dict)
    lookups: Mapping[str, Lookup] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.variables, *self.lookups):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be written in a formula")


@dataclass(frozen=True, slots=True)
class Node:
    """One checked part of a formula: an operation on parts, with the type of its value."""

    operation: str
    type: Type
    parts: tuple["Node", ...] = ()
    value: Value | Reference = None
