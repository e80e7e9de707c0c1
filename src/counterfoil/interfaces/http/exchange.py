"""What goes in and out of an interface over HTTP, as values: a call, an answer, a handler.

Handlers are plain synchronous functions from a :class:`Call` to an :class:`Answer`; only ``asgi``
and ``handling`` know about ASGI.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from counterfoil.bootstrap import Organisation
from counterfoil.business.usage.gathering import Gatherer
from counterfoil.platform.access.callers import NOBODY, Caller, Entrance

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

MEGABYTE = 1 << 20

SECONDS_OF_A_QUERY = 30
"""How long a statement may take that looks for records by conditions of the caller's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read completely.

    ``headers`` have lower-case names. ``upload`` is the file a streamed body was written to
    (``body`` is empty then); ``body_digest`` is the SHA-256 of the body either way. ``caller`` is
    who asks, ``request_id`` what stands in the history and in the answer's ``X-Request-Id``;
    ``client`` is the address on the network that asks.
    """

    method: str
    path: str
    variables: Mapping[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    body_digest: str = ""
    upload: Path | None = None
    caller: Caller = NOBODY
    request_id: str = ""
    client: str = ""

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
    """One response: status, the encoded body, its media type and further headers.

    ``file`` is sent in place of the body, and unless it is ``kept`` removed with the folder made
    for it.
    """

    status: int
    body: bytes = b""
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """What endpoints work with: the organisation, the gatherer of single usage events, where
    callers come in, and what refuses those who ask too often at a door."""

    organisation: Organisation
    gatherer: Gatherer
    entrance: Entrance
    pace: Callable[[Caller], None] = lambda _caller: None

    def acting(self, call: Call, source: str) -> "Desk":
        """The desk at which everything is done in the name of the caller."""
        database = self.organisation.database.acting(
            actor=call.caller.actor, source=source, request_id=call.request_id
        )
        return replace(self, organisation=replace(self.organisation, database=database))


def named_file(name: str, shown: str = "attachment") -> dict[str, str]:
    """The header that names the file of an answer, whatever characters its name has.

    ``shown`` is ``inline`` where a browser may show it.
    """
    plain = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)
    header = f'{shown}; filename="{plain}"'
    if plain != name:
        header += f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return {"content-disposition": header}


Handler = Callable[[Desk, Call], Answer]
