"""Random tokens. Only their SHA-256 is ever kept: they have 256 bits, so no salt is needed."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from counterfoil.core.problems import Problem

SHORTEST_CHOSEN = 24
"""Characters of a token that somebody has chosen: nothing slows down who tries tokens."""

FEWEST_DIFFERENT = 8

_OBVIOUS = re.compile(
    r"admin(istrator)?|token|secret|password|passw0rd|change|counterfoil|example|default|test|"
    r"letmein|qwertz|qwerty|asdfgh|0?123456(789?0?)?|abcdef|bearer|[\W_]"
)


def digest_of(token: str) -> str:
    """The SHA-256 of a token, in hexadecimal: all that is stored of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_token(prefix: str) -> str:
    """A token of 256 random bits that says by its prefix what it is."""
    return prefix + secrets.token_urlsafe(32)


def token_problems(token: str, field: str) -> list[Problem]:
    """What is wrong with a token that somebody has chosen: too short, or easy to guess."""
    rest = _OBVIOUS.sub("", token.casefold())
    if len(token) < SHORTEST_CHOSEN:
        message = f"has {len(token)} characters, and has to have at least {SHORTEST_CHOSEN}"
    elif len(set(rest)) < FEWEST_DIFFERENT:
        message = "is too easy to guess"
    else:
        return []
    made = "leave it away, and one is made and shown once; or take that of `openssl rand -hex 32`"
    return [Problem("weak_token", f"{message}: {made}", field)]


@dataclass(frozen=True, slots=True, repr=False)
class AdminToken:
    """The administrator's token, known by its SHA-256 (hexadecimal)."""

    digest: str

    @staticmethod
    def of(token: str) -> "AdminToken":
        """The token with that text."""
        return AdminToken(digest_of(token))

    def is_meant(self, token: str) -> bool:
        """Whether the text is this token, in constant time."""
        return hmac.compare_digest(digest_of(token), self.digest)

    def admits(self, authorization: bytes) -> bool:
        """Whether an ``Authorization`` header carries this token, in constant time."""
        scheme, _, token = authorization.decode("latin-1").strip().partition(" ")
        given = token.strip().encode("latin-1").decode("utf-8", "surrogateescape")
        return self.is_meant(given) and scheme.lower() == "bearer"
