"""From text to a syntax tree: the limits of a formula, and what is refused before it is read."""

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

from counterfoil.core.problems import Problem

LONGEST = 4000
"""Characters of a formula at most."""
DEEPEST = 60
"""Levels of operations within operations at most; a sum of n terms has n levels."""

NOTATION = Dialect.get_or_raise("duckdb")
OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)
UNREADABLE = (
    SqlglotError,
    RecursionError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
)
"""What the parser raises on texts that are no formula; not all of it is meant to."""


@dataclass(frozen=True, slots=True)
class Source:
    """A formula's text, its tree, and the positions of its closing brackets."""

    text: str
    tree: exp.Expr
    closings: tuple[int, ...]


def read_source(text: str, field: str) -> tuple[Source | None, Problem | None]:
    """The one expression that a text is; otherwise the problem, at a place in the text."""
    problem = _limits(text, field)
    if problem:
        return None, problem
    try:
        tokens = NOTATION.tokenize(text)
    except UNREADABLE:
        message = "cannot be read: is a text in single quotes not closed?"
        return None, Problem("bad_formula", message, field)
    problem = _tokens(tokens, field)
    if problem:
        return None, problem
    try:
        trees = [tree for tree in NOTATION.parse_into(exp.Condition, text) if tree]
    except ParseError as error:
        return None, _syntax(error, text, field)
    except UNREADABLE:
        return None, Problem("bad_formula", "cannot be read as a formula", field)
    if len(trees) != 1:
        return None, Problem("bad_formula", "must be exactly one expression", field)
    closings = tuple(token.start for token in tokens if token.token_type is TokenType.R_PAREN)
    return Source(text, trees[0], closings), None


def at(position: int) -> str:
    """How a place in the text is told; ``position`` counts characters from 0."""
    return f"at character {position + 1}"


def _limits(text: str, field: str) -> Problem | None:
    if not text.strip():
        return Problem("empty_formula", "the formula is empty", field)
    if len(text) > LONGEST:
        message = f"has {len(text)} characters; a formula has at most {LONGEST}"
        return Problem("formula_too_long", message, field)
    for position, character in enumerate(text):
        if not character.isprintable() and character not in "\n\r\t":
            message = f"has a character that cannot be printed {at(position)}; write a plain space"
            return Problem("bad_formula", message, field)
    return None


def _tokens(tokens: list[Token], field: str) -> Problem | None:
    if not tokens:
        return Problem("empty_formula", "the formula is empty", field)
    depth = 0
    for token in tokens:
        if token.comments or token.token_type is TokenType.HINT:
            message = f"comments are not part of a formula ({at(token.end + 1)})"
            return Problem("not_allowed", message, field)
        if token.token_type is TokenType.SEMICOLON:
            message = f"must be one expression, without ';' ({at(token.start)})"
            return Problem("not_allowed", message, field)
        if token.token_type is TokenType.IDENTIFIER:
            message = (
                f"double quotes {at(token.start)}: write a name without quotes, "
                f"a text in single quotes ('{token.text}')"
            )
            return Problem("not_allowed", message, field)
        depth += (token.token_type in OPENING) - (token.token_type in CLOSING)
        if depth > DEEPEST:
            message = f"more than {DEEPEST} brackets stand within each other {at(token.start)}"
            return Problem("formula_too_deep", message, field)
    if depth > 0:
        return Problem("bad_formula", "cannot be read: a bracket is not closed", field)
    return None


def _syntax(error: ParseError, text: str, field: str) -> Problem:
    """Where the parser stopped; an error of it points at the last character it read."""
    for said in error.errors:
        line, column, near = said.get("line"), said.get("col"), said.get("highlight")
        if line and column and near:
            lines = text.splitlines(keepends=True)[: line - 1]
            position = sum(len(line) for line in lines) + column - len(near)
            what = "cannot be read"
            if str(said.get("description")).startswith("Required keyword"):
                what = "something is missing"
            message = f"{what} near {near[:40]!r} ({at(max(position, 0))})"
            return Problem("bad_formula", message, field)
    return Problem("bad_formula", "cannot be read as a formula", field)
