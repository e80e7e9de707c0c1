"""How often a caller may ask: a bucket of tokens each, filled at a steady rate."""

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from starlette.types import ASGIApp, Receive, Scope, Send

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.asgi import send_answer
from counterfoil.interfaces.http.problem_answers import problem_answer
from counterfoil.platform.access.callers import NOBODY

VARIABLE = "COUNTERFOIL_RATE_LIMIT"
MOST_CALLERS = 10_000
"""Buckets remembered; a caller forgotten begins with a full one again."""

_NOTATION = re.compile(r"(?P<rate>\d{1,6})/s(?:, burst (?P<burst>\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many requests a second in the long run, and ``burst`` at once."""

    per_second: int
    burst: int


OPEN_TO_OTHERS = RateLimit(50, 500)
"""The limit of a server that other machines reach, unless it is told another one."""


def read_rate_limit(text: str) -> RateLimit | None:
    """``50/s``, ``50/s, burst 500`` or ``off``; refuses anything else."""
    if text == "off":
        return None
    found = _NOTATION.fullmatch(text)
    if found is None or not int(found["rate"]) or found["burst"] == "0":
        message = f"{text!r} is no rate; write 50/s, or 50/s, burst 500, or off"
        raise Refused(Problem("bad_rate_limit", message, VARIABLE))
    rate = int(found["rate"])
    return RateLimit(rate, int(found["burst"] or 10 * rate))


class Buckets:
    """The tokens of every caller; ``clock`` tells seconds and never goes back."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float]) -> None:
        self.limit = limit
        self.clock = clock
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take one token; 0.0, or the seconds until there is one when the bucket is empty."""
        now = self.clock()
        tokens, since = self._filled.pop(caller, (float(self.limit.burst), now))
        tokens = min(self.limit.burst, tokens + (now - since) * self.limit.per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self.limit.per_second
        self._filled[caller] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._filled) > MOST_CALLERS:
            self._filled.popitem(last=False)
        return wait


class RateGate:
    """Answers 429 with Retry-After to callers who ask too often; stands behind the caller gate."""

    def __init__(
        self,
        app: ASGIApp,
        limit: RateLimit | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.app = app
        self.buckets = None if limit is None else Buckets(limit, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("caller", NOBODY)
        if self.buckets is None or caller is NOBODY:
            await self.app(scope, receive, send)
            return
        wait = self.buckets.take(caller.actor)
        if not wait:
            await self.app(scope, receive, send)
            return
        limit = self.buckets.limit
        message = f"more than {limit.per_second} requests a second, {limit.burst} at once"
        headers = {"retry-after": str(math.ceil(wait)), "connection": "close"}
        problem = Problem("too_many_requests", message)
        await send_answer(problem_answer([problem], 429, scope["path"], headers), send)
