"""The endpoints of REST as values, beside the calls and answers that all interfaces share.

Endpoints are plain synchronous functions from a :class:`Call` to an :class:`Answer`. Routing and
the OpenAPI description are made from the same :class:`Endpoint` values, so they cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import (
    JSON,
    MEGABYTE,
    PROBLEM_JSON,
    Answer,
    Call,
    Desk,
    Handler,
)
from counterfoil.platform.metadata import Field, FieldType
from counterfoil.platform.metadata.validation import read_value

__all__ = [
    "API",
    "JSON",
    "MEGABYTE",
    "PROBLEM_JSON",
    "Answer",
    "Audience",
    "Call",
    "Desk",
    "Endpoint",
    "Handler",
    "Method",
    "Parameter",
    "day_asked",
]

API = "/api/v1"
"""Where every path of this version begins."""

Method = Literal["GET", "POST", "PATCH"]

Audience = Literal["granted", "signed_in", "anyone"]
"""Who may use an endpoint: who was granted its command, every caller, or everybody."""


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
    whose records come into being here. ``streamed`` bodies go to a temporary file, of any size
    or at most ``largest`` bytes; others are read up to ``limit`` bytes. ``command`` is the name
    under which roles grant it, none for administrators only; ``audience`` opens it to whoever is
    signed in, or to all. ``subject`` names the entity of the record in the path, which the caller
    has to see. ``patient`` handlers mostly wait for a commit shared with others, and have threads
    of their own.
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
    largest: int | None = None
    patient: bool = False
    command: str = ""
    audience: Audience = "granted"
    subject: str = ""
    limit: int = 16 * MEGABYTE


def day_asked(call: Call, name: str) -> date | None:
    """A day in the query, or None where it is not given. Refuses (422) what is no day."""
    given = dict(call.query).get(name)
    try:
        day = Field(name=name, type=FieldType.DATE)
        return None if given is None else cast("date", read_value(day, given))
    except ValueError as error:
        raise Refused(Problem("wrong_value", str(error), name)) from None
