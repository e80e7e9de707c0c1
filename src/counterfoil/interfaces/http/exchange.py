"""What goes in and out of an interface over HTTP, as values: a call, an answer, a handler.

Handlers are plain synchronous functions from a :class:`Call` to an :class:`Answer`; only ``asgi``
and ``handling`` know about ASGI.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from counterfoil.bootstrap import Organisation
from counterfoil.business.usage.gathering import Gatherer

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read completely.

    ``headers`` have lower-case names. ``upload`` is the file a streamed body was written to
    (``body`` is empty then); ``body_digest`` is the SHA-256 of the body either way.
    """

    method: str
    path: str
    variables: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    body_digest: str = ""
    upload: Path | None = None

    @property
    def media_type(self) -> str:
        """The body's media type without parameters, in lower case; JSON when not stated."""
        return self.headers.get("content-type", JSON).split(";")[0].strip().lower()

    def fingerprint(self) -> str:
        """What has to be the same for two requests to be the same one (hexadecimal SHA-256)."""
        parts = (self.method, self.path, repr(self.query), self.media_type, self.body_digest)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """One response: status, the encoded body, its media type and further headers."""

    status: int
    body: bytes = b""
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Desk:
    """What endpoints work with: the organisation and the gatherer of single usage events."""

    organisation: Organisation
    gatherer: Gatherer


Handler = Callable[[Desk, Call], Answer]
