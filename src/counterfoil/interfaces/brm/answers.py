"""The bodies of answers: what callers of the dialect read, success and refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import msgspec

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.values import written
from counterfoil.interfaces.brm.writing import Written
from counterfoil.interfaces.http.exchange import Answer
from counterfoil.interfaces.http.problem_answers import retry_header

BLANK = " "
"""Clients trim what they read here, so that it is never empty."""

INVALID_SESSION = "INVALID_SESSION_ID"

_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    429: "Too many requests",
    500: "Internal error",
}
_BAD_REQUEST = frozenset({405, 409, 412, 413, 415, 422})
"""What clients know no word for is a bad request to them."""

MOST_ERRORS = 100
MOST_ALLOWED = 200


@dataclass(frozen=True, slots=True)
class Collection:
    """The rows that belong to a row."""

    rows: list[dict[str, object]]


def answer(body: Mapping[str, object], status: int = 200) -> Answer:
    """An answer with that JSON object."""
    return Answer(status, msgspec.json.encode(body))


def rows_answer(name: str, keys: Sequence[str], rows: Sequence[Sequence[object]]) -> Answer:
    """The rows of a query, every value a text; refuses (404) none at all."""
    if not rows:
        message = "no row matches"
        raise Refused(Problem("no_rows", message), status=HTTPStatus.NOT_FOUND)
    shown = [{key: _shown(one) for key, one in zip(keys, row, strict=True)} for row in rows]
    return answer({name: shown})


def _shown(value: object) -> object:
    return value.rows if isinstance(value, Collection) else written(value)


def written_answer(names: Sequence[str], results: Sequence[Written]) -> Answer:
    """One element per record, in the order of the request, under each of the names."""
    elements = [_element(one) for one in results]
    return answer(dict.fromkeys(names, elements))


def _element(one: Written) -> dict[str, object]:
    problem = one.problem
    if problem is None:
        return {
            "Id": written(one.id),
            "ErrorCode": "0",
            "ErrorText": BLANK,
            "ErrorMessage": BLANK,
            "ErrorElementField": BLANK,
            "success": True,
            "created": one.created,
        }
    text = _text(problem)
    return {
        "Id": written(one.id),
        "ErrorCode": problem.code.upper(),
        "ErrorText": text,
        "ErrorMessage": text,
        "ErrorElementField": problem.field or BLANK,
        "success": False,
        "created": False,
    }


def told(refused: Refused) -> Answer:
    """A request refused as a whole."""
    status = 400 if refused.status in _BAD_REQUEST else refused.status
    errors = [
        {
            "error_code": _code(one, status),
            "error_text": _text(one),
            "error_field": one.field,
            "allowed": list(one.allowed[:MOST_ALLOWED]),
        }
        for one in refused.problems[:MOST_ERRORS]
    ]
    body = {
        "error": _TITLES.get(status, HTTPStatus(status).phrase),
        "message": _text(refused.problems[0]),
        "errors": errors,
    }
    headers = retry_header(refused)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return replace(answer(body, status), headers=headers)


def _code(problem: Problem, status: int) -> str:
    return problem.code if status == 500 and problem.code.isupper() else problem.code.upper()


def _text(problem: Problem) -> str:
    text = f"{problem.field}: {problem.message}" if problem.field else problem.message
    if 0 < len(problem.allowed) <= 40:
        text += f" (allowed: {', '.join(problem.allowed)})"
    return text
