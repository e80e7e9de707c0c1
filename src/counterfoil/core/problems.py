"""Problems are values: what is wrong, where it stands, and what would have been allowed.

Pure functions return problems beside their results. A command that must refuse raises
:class:`Refused` with all of them at once, so that a person mends a file in one go.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    ``code`` is a stable snake_case word (``unknown_currency``), ``message`` is for a person,
    ``field`` is the dotted path of the offending field, ``allowed`` lists the accepted values,
    ``file`` and ``line`` (from 1) say where the input stands, when it came from a file.
    """

    code: str
    message: str
    field: str = ""
    allowed: tuple[str, ...] = ()
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        parts = [part for part in (place, self.field, self.message) if part]
        text = ": ".join(parts)
        if self.allowed:
            text += f" (allowed: {', '.join(self.allowed)})"
        return text


def line_among(rows: Sequence[object], place: int) -> int | None:
    """The line of the row at a place (from 0) among several: from 1, none for a single one."""
    return place + 1 if len(rows) > 1 else None


MOST_IN_WORDS = 1000
"""Problems in the text of a refusal; its ``problems`` are all of them."""


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault of the program
    """An input was refused as a whole; nothing was changed.

    ``status`` is the HTTP status of the same answer: 400 malformed, 404 not found, 409 conflict,
    422 invalid, 429 too often. ``retry_after`` is in how many seconds the same may be accepted.
    """

    def __init__(
        self,
        problems: Sequence[Problem] | Problem,
        status: int = 422,
        retry_after: int | None = None,
    ) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.status = status
        self.retry_after = retry_after
        # An input may have hundreds of thousands, each with all that would have been allowed.
        super().__init__("\n".join(str(problem) for problem in self.problems[:MOST_IN_WORDS]))


def demand_reason(reason: str | None) -> None:
    """Refuse to go on where nobody says why."""
    if not (reason or "").strip():
        raise Refused(Problem("required", "is required: say why", "reason"))
