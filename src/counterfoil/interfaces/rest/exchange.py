"""What goes in and out of an endpoint, as values: a call, an answer, and the endpoint itself.

Endpoints are plain synchronous functions from a :class:`Call` to an :class:`Answer`; only
``app`` knows about ASGI. Routing and the OpenAPI description are made from the same
:class:`Endpoint` values, so they cannot disagree.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from counterfoil.bootstrap import Organisation
from counterfoil.business.usage.gathering import Gatherer

API = "/api/v1"
"""Where every path of this version begins."""

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

MEGABYTE = 1 << 20

Method = Literal["GET", "POST", "PATCH"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A path or query parameter as documented. ``kind`` is a JSON schema type."""

    name: str
    help: str
    place: Literal["path", "query", "header"] = "query"
    required: bool = False
    kind: str = "string"
    format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One command or query besides the generic ones of the entities.

    ``path`` begins after :data:`API` and may hold ``{variables}``. ``bodies`` and ``answers``
    map media types to JSON schemas, ``examples`` to an example body. ``makes`` names the entities
    whose records come into being here. ``streamed`` bodies of any size go to a temporary file;
    others are read up to ``limit`` bytes. ``patient`` handlers mostly wait for a commit shared with
    others, and have threads of their own.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    help: str = ""
    parameters: tuple[Parameter, ...] = ()
    bodies: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    examples: Mapping[str, object] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    status: int = 200
    makes: tuple[str, ...] = ()
    streamed: bool = False
    patient: bool = False
    limit: int = 16 * MEGABYTE
