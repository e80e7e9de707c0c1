"""Interfaces beside REST in the same server: each has paths of its own and answers them itself.

A door decides who may come in, and tells refusals and faults in the language of its callers; so
it stands before the gate of REST.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.asgi import read_call, response_of
from counterfoil.interfaces.http.exchange import MEGABYTE, Answer, Call, Desk, Handler
from counterfoil.interfaces.http.gate import request_id, with_request_id

log = logging.getLogger(__name__)

CREDENTIALS = ("authorization", "sessionid")
"""Headers by which callers say who they are."""

FAULT = Problem("internal_error", "something failed here; the log of the server has details")
"""What is told of a fault of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """An interface of its own: all requests to ``paths`` go to ``handler``, whatever the method.

    ``told`` makes the answer to a refusal, and to a fault of the program (status 500). ``limit``
    is how many bytes a body may have; without credentials in the headers, ``limit_of_strangers``.
    """

    paths: re.Pattern[str]
    handler: Handler
    told: Callable[[Refused], Answer]
    limit: int = 32 * MEGABYTE
    limit_of_strangers: int = 64 * 1024


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
        try:
            is_stranger = not any(name in request.headers for name in CREDENTIALS)
            limit = door.limit_of_strangers if is_stranger else door.limit
            call = await read_call(request, limit)
            return await to_thread.run_sync(self.worked, door, call, limiter=self.limiter)
        except Refused as refused:
            return door.told(refused)
        except ClientDisconnect:
            return Answer(HTTPStatus.BAD_REQUEST)

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
