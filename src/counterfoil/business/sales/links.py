"""Links by which a quote is accepted without signing in: signed, bound to a document and a time."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from counterfoil.core.problems import Problem, Refused

_TOKEN = re.compile(r"([0-9]{1,18})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """What a token says: of which quote it is, until when, and its signature."""

    quote: int
    expires_at: datetime
    signature: str


def new_key() -> str:
    """A key to sign the links of one quote with: 256 random bits."""
    return secrets.token_urlsafe(32)


def token_of(key: str, quote: int, expires_at: datetime, document_hash: str) -> str:
    """The token of a link: the quote, the second it expires, and their HMAC with the document."""
    seconds = int(expires_at.timestamp())
    return f"{quote}.{seconds}.{_signature(key, quote, seconds, document_hash)}"


def read_token(token: str) -> Link:
    """What a token says; refuses (404) what is none. Nothing of it is verified yet."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise unknown_link()
    try:
        expires_at = datetime.fromtimestamp(int(found[2]), UTC)
    except (ValueError, OverflowError, OSError):
        raise unknown_link() from None
    return Link(int(found[1]), expires_at, found[3])


def is_signed(link: Link, key: str, document_hash: str) -> bool:
    """Whether a link was signed with the key for the document, compared in constant time."""
    seconds = int(link.expires_at.timestamp())
    signature = _signature(key, link.quote, seconds, document_hash)
    return hmac.compare_digest(signature, link.signature)


def unknown_link() -> Refused:
    """The refusal of a link that is none; what was wrong with it is not told."""
    return Refused(Problem("unknown_link", "this link is not valid", "token"), 404)


def _signature(key: str, quote: int, seconds: int, document_hash: str) -> str:
    """In base64url; texts are compared, as several decode to the same bytes."""
    message = f"quote {quote} {seconds} {document_hash}".encode()
    digest = hmac.new(key.encode(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
