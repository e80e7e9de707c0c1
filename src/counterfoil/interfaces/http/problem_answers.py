"""Every error as ``application/problem+json`` (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import PROBLEM_JSON, Answer

MOST_ERRORS = 1000
"""More errors than this are counted in ``detail`` but not listed one by one."""


def problem_answer(
    problems: Sequence[Problem],
    status: int,
    instance: str,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The problem document for those problems; ``instance`` is the path asked for."""
    first = problems[0]
    detail = first.message
    if len(problems) > 1:
        detail += f" (and {len(problems) - 1} more)"
    document = {
        "type": f"urn:counterfoil:problem:{first.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": instance,
        "errors": [described_error(problem) for problem in problems[:MOST_ERRORS]],
    }
    return Answer(status, msgspec.json.encode(document), PROBLEM_JSON, dict(headers or {}))


def refusal_answer(refused: Refused, instance: str) -> Answer:
    """The problem document of a refusal, with the status it carries."""
    # Only records that commands make are refused in this way, and those can be read.
    headers = {"allow": "GET, HEAD"} if refused.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
    headers |= retry_header(refused)
    return problem_answer(refused.problems, refused.status, instance, headers)


def retry_header(refused: Refused) -> dict[str, str]:
    """The header that says when to ask again, where the refusal knows."""
    return {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}


def described_error(problem: Problem) -> dict[str, object]:
    """One entry of ``errors``; what is empty is left out."""
    error: dict[str, object] = {"code": problem.code, "message": problem.message}
    if problem.field:
        error["field"] = problem.field
    if problem.allowed:
        error["allowed"] = problem.allowed
    if problem.file:
        error["file"] = problem.file
    if problem.line is not None:
        error["line"] = problem.line
    return error
