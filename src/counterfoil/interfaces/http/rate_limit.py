"""How often a caller may ask: a bucket of tokens each, filled at a steady rate."""

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from time import monotonic

from starlette.types import ASGIApp, Receive, Scope, Send

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.asgi import send_answer
from counterfoil.interfaces.http.problem_answers import problem_answer
from counterfoil.platform.access.callers import NOBODY, Caller

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
        self._lock = Lock()

    def take(self, caller: str) -> float:
        """Take one token; 0.0, or the seconds until there is one when the bucket is empty."""
        with self._lock:
            return self._take(caller, self.clock())

    def demand(self, caller: Caller) -> None:
        """Take one token; refuses (429) a caller whose bucket is empty."""
        wait = self.take(caller.actor)
        if wait:
            problem = Problem("too_many_requests", self.told(wait))
            status = HTTPStatus.TOO_MANY_REQUESTS
            raise Refused(problem, status=status, retry_after=math.ceil(wait))

    def told(self, wait: float) -> str:
        """Why a caller has to wait, and how long."""
        rate = f"{self.limit.per_second} requests a second, {self.limit.burst} at once"
        return f"more than {rate}; try again in {math.ceil(wait)} s"

    def _take(self, caller: str, now: float) -> float:
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
        limit: RateLimit | Buckets | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.app = app
        self.buckets = Buckets(limit, clock) if isinstance(limit, RateLimit) else limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("caller", NOBODY)
        if self.buckets is None or caller is NOBODY:
            await self.app(scope, receive, send)
            return
        wait = self.buckets.take(caller.actor)
        if not wait:
            await self.app(scope, receive, send)
            return
        headers = {"retry-after": str(math.ceil(wait)), "connection": "close"}
        problem = Problem("too_many_requests", self.buckets.told(wait))
        await send_answer(problem_answer([problem], 429, scope["path"], headers), send)
