"""The query string of a list as filters, sort order and page."""

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.pages import Filter

DEFAULT_LIMIT = 50
MOST_PER_PAGE = 1000

OPERATORS = {
    "ne": "ne",
    "lt": "lt",
    "lte": "le",
    "gt": "gt",
    "gte": "ge",
    "in": "in",
    "contains": "contains",
    "is_null": "is_null",
}
"""The suffix after ``field__`` and the operator of the records room it stands for."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list request asks for; the records room checks fields and values."""

    filters: tuple[Filter, ...]
    sort: tuple[str, ...]
    limit: int
    cursor: str | None
    fields: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    @property
    def related(self) -> bool:
        """Whether it asks for anything of related records, or for some fields only."""
        names = (*(one.field for one in self.filters), *self.sort)
        return bool(self.fields or self.include) or any("." in name for name in names)


def parse_list_query(query: Sequence[tuple[str, str]]) -> ListQuery:
    """Read ``field=…``, ``field__gte=…``, ``sort``, ``limit``, ``cursor``, ``fields``,
    ``include``; refuses (422) others."""
    controls = {
        "sort": "id",
        "limit": str(DEFAULT_LIMIT),
        "cursor": "",
        "fields": "",
        "include": "",
    }
    filters: list[Filter] = []
    problems: list[Problem] = []
    for name, text in query:
        field, separator, suffix = name.partition("__")
        if name in controls:
            controls[name] = text
        elif separator and suffix not in OPERATORS:
            message = f"there is no comparison {suffix!r}"
            problems.append(Problem("unknown_operator", message, field, tuple(OPERATORS)))
        else:
            filters.append(Filter(field, OPERATORS[suffix] if separator else "eq", text))
    limit = page_length(controls["limit"])
    if limit is None:
        message = f"{controls['limit']!r} is not a whole number from 1 to {MOST_PER_PAGE}"
        problems.append(Problem("invalid_limit", message, "limit"))
    if problems or limit is None:
        raise Refused(problems)
    sort, fields, include = (
        tuple(part.strip() for part in controls[name].split(",") if part.strip())
        for name in ("sort", "fields", "include")
    )
    cursor = controls["cursor"] or None
    return ListQuery(tuple(filters), sort or ("id",), limit, cursor, fields, include)


def page_length(text: str) -> int | None:
    """A page length in records, or None when the text is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_PER_PAGE))):
        return None
    length = int(text)
    return length if 1 <= length <= MOST_PER_PAGE else None
