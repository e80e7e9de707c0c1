"""From SQL text to a syntax tree, and the names its results go by.

The text is in the flavour of Oracle, as scripts for BillingPlatform have it.
"""

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

from counterfoil.core.problems import Problem, Refused

LONGEST = 32_000
"""Characters of a query at most."""

ORACLE = Dialect.get_or_raise("oracle")
_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)
_MOST_BRACKETS = 60
UNREADABLE = (
    SqlglotError,
    RecursionError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
)
"""What reading raises on texts that are no SQL, or hardly; not all of it is meant to."""


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT, and the text of each item of its select list as it was written."""

    tree: exp.Select
    items: tuple[str, ...]


def read_query(text: str) -> Query:
    """The one SELECT that a text is; refuses (400) others, at a place in the text."""
    tokens = _tokens(text)
    try:
        trees = [tree for tree in ORACLE.parse(text) if tree is not None]
    except ParseError as error:
        raise _refused(_told(error, text)) from None
    except UNREADABLE:
        raise _refused("cannot be read as a query") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Select):
        raise _refused("has to be exactly one SELECT")
    return Query(trees[0], _items(text, tokens))


def _tokens(text: str) -> list[Token]:
    if not text.strip():
        raise _refused("is empty")
    if len(text) > LONGEST:
        raise _refused(f"has {len(text)} characters; at most {LONGEST} are read")
    if any(not one.isprintable() and one not in "\n\r\t" for one in text):
        raise _refused("has a character that cannot be printed")
    try:
        tokens = ORACLE.tokenize(text)
    except UNREADABLE:
        raise _refused("cannot be read: is a text in single quotes not closed?") from None
    depth = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > _MOST_BRACKETS:
            raise _refused("is nested too deeply")
    return tokens


def _items(text: str, tokens: list[Token]) -> tuple[str, ...]:
    """The select list cut at its commas, without what is within brackets."""
    items: list[str] = []
    depth = 0
    start: int | None = None
    for token in tokens:
        if start is None:
            if token.token_type in (TokenType.SELECT, TokenType.DISTINCT):
                continue
            start = token.start
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth == 0 and token.token_type in (TokenType.COMMA, TokenType.FROM):
            items.append(text[start : token.start].strip())
            if token.token_type is TokenType.FROM:
                break
            start = token.end + 1
    return tuple(items)


def _told(error: ParseError, text: str) -> str:
    found = error.errors[0] if error.errors else {}
    line, column = found.get("line"), found.get("col")
    if not line or not column or not text:
        return "cannot be read as a query"
    near = str(found.get("highlight") or "")[:60]
    return f"cannot be read at line {line}, column {column}, near {near!r}"


def _refused(message: str) -> Refused:
    return Refused(Problem("bad_query", f"the query {message}", "sql"), status=400)
