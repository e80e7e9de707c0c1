"""Random tokens. Only their SHA-256 is ever kept: they have 256 bits, so no salt is needed."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass


def digest_of(token: str) -> str:
    """The SHA-256 of a token, in hexadecimal: all that is stored of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_token(prefix: str) -> str:
    """A token of 256 random bits that says by its prefix what it is."""
    return prefix + secrets.token_urlsafe(32)


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
