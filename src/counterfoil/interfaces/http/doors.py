"""Interfaces beside REST in the same server: each has paths of its own and answers them itself.

A door decides who may come in, and tells refusals and faults in the language of its callers; so
it stands before the gate of REST.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.asgi import read_call, response_of
from counterfoil.interfaces.http.exchange import MEGABYTE, Answer, Call, Desk, Handler
from counterfoil.interfaces.http.gate import request_id, with_request_id
from counterfoil.platform.access.callers import bearer

log = logging.getLogger(__name__)

LIMIT_OF_STRANGERS = 64 * 1024
"""Bytes of a body that are read from somebody who is not known."""

THREADS_OF_STRANGERS = 4
"""Requests of people who are not known that are worked on at the same time, sign-ins among them:
a password takes 64 MB and a core for a while. Nobody who is known ever waits for those."""

FAULT = Problem("internal_error", "something failed here; the log of the server has details")
"""What is told of a fault of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """An interface of its own: all requests to ``paths`` go to ``handler``, whatever the method.

    ``told`` makes the answer to a refusal, and to a fault of the program (status 500). ``session``
    finds the token of a session in the headers or the beginning of a body, where a request may
    name one otherwise than as Bearer. ``limit`` is how many bytes a body may have; before it is
    known who asks, ``limit_of_strangers``.
    """

    paths: re.Pattern[str]
    handler: Handler
    told: Callable[[Refused], Answer]
    session: Callable[[Mapping[str, str], bytes], str] = lambda _headers, _beginning: ""
    limit: int = 32 * MEGABYTE
    limit_of_strangers: int = LIMIT_OF_STRANGERS

    def token(self, headers: Mapping[str, str], beginning: bytes) -> str:
        """The token that a request names; empty where it names none."""
        return self.session(headers, beginning) or bearer(headers.get("authorization", ""))


def too_deep() -> Refused:
    """The refusal (400) of a body that is nested deeper than anything that means something."""
    return Refused(Problem("too_deep", "the body is nested too deeply"), status=400)


class Doors:
    """Leads requests to the doors that their paths belong to, and all others further."""

    def __init__(
        self, app: ASGIApp, doors: Sequence[Door], desk: Desk, limiter: CapacityLimiter
    ) -> None:
        self.app = app
        self.doors = doors
        self.desk = desk
        self.limiter = limiter
        self.strangers = CapacityLimiter(THREADS_OF_STRANGERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for door in self.doors:
                if door.paths.fullmatch(scope["path"]):
                    scope["request_id"] = request_id(scope)
                    answer = await self.answer(door, Request(scope, receive))
                    answering = with_request_id(send, scope["request_id"])
                    await response_of(answer)(scope, receive, answering)
                    return
        await self.app(scope, receive, send)

    async def answer(self, door: Door, request: Request) -> Answer:
        """Read the body, then work in a thread, so that the event loop stays free."""

        async def admit(beginning: bytes) -> int:
            """Let more than a little come from somebody who is known; refuses (401, 413) others."""
            look = partial(self.admitted, door, request.headers, beginning)
            return await to_thread.run_sync(look, limiter=self.strangers)

        try:
            call = await read_call(request, door.limit_of_strangers, admit)
            token = door.token(call.headers, call.body[: door.limit_of_strangers])
            limiter = self.limiter if token else self.strangers
            return await to_thread.run_sync(self.worked, door, call, limiter=limiter)
        except Refused as refused:
            return door.told(refused)
        except ClientDisconnect:
            return Answer(HTTPStatus.BAD_REQUEST)

    def admitted(self, door: Door, headers: Mapping[str, str], beginning: bytes) -> int:
        """How many bytes the body of a request may have."""
        entrance, now = self.desk.entrance, self.desk.organisation.clock()
        token = door.token(headers, beginning)
        if token:
            entrance.caller_of_token(token, now=now)
        elif "authorization" in headers:
            entrance.caller(headers, now=now)
        else:
            return door.limit_of_strangers
        return door.limit

    def worked(self, door: Door, call: Call) -> Answer:
        """The handler's answer; whatever fails in it is told without its inside."""
        try:
            return door.handler(self.desk, call)
        except Refused:
            raise
        except RecursionError:
            raise too_deep() from None
        except Exception:
            log.exception("%s %s failed", call.method, call.path)
            return door.told(Refused(FAULT, status=HTTPStatus.INTERNAL_SERVER_ERROR))
