"""The gate before everything: who asks is found out before any of the body is read."""

import re
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from counterfoil.core.problems import Refused
from counterfoil.interfaces.http.asgi import send_answer
from counterfoil.interfaces.http.problem_answers import problem_answer
from counterfoil.platform.access.callers import (
    ADMIN,
    NOBODY,
    Caller,
    Entrance,
    bearer,
    unauthorized,
)

THREADS = 4
"""Tokens and keys looked up at the same time, and as many passwords: a password takes 64 MB and a
core for a while, and nobody with a token shall wait for it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class CallerGate:
    """Lets only known callers through; ``open_paths`` are for everybody, by method and path."""

    def __init__(
        self,
        app: ASGIApp,
        entrance: Entrance,
        clock: Callable[[], datetime],
        open_paths: frozenset[tuple[str, str]],
    ) -> None:
        self.app = app
        self.entrance = entrance
        self.clock = clock
        self.open_paths = open_paths
        self.tokens, self.passwords = CapacityLimiter(THREADS), CapacityLimiter(THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = request_id(scope)
        answering = with_request_id(send, scope["request_id"])
        try:
            scope["caller"] = await self.caller(scope)
        except Refused as refused:
            headers = {"connection": "close"}
            if refused.status == HTTPStatus.UNAUTHORIZED:
                headers["www-authenticate"] = 'Bearer realm="counterfoil"'
            answer = problem_answer(refused.problems, refused.status, scope["path"], headers)
            await send_answer(answer, answering)
            return
        await self.app(scope, receive, answering)

    async def caller(self, scope: Scope) -> Caller:
        """Who asks; refuses (401) whom nobody knows."""
        if scope["type"] != "http":
            raise unauthorized()
        if (scope["method"], scope["path"]) in self.open_paths:
            return NOBODY
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            raise unauthorized()
        headers: Mapping[str, str] = {"authorization": given[0].decode("latin-1")}
        if self.entrance.is_admin(headers):
            return ADMIN
        look = partial(self.entrance.caller, headers, now=self.clock())
        limiter = self.tokens if bearer(headers["authorization"]) else self.passwords
        return await to_thread.run_sync(look, limiter=limiter)


def request_id(scope: Scope) -> str:
    """The id the caller has given the request, or a new one."""
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text):
            return str(text)
    return secrets.token_hex(12)


def with_request_id(send: Send, identity: str) -> Send:
    """The same way out, with the request's id in the headers of the answer."""

    async def answering(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-request-id", identity.encode())]
        await send(message)

    return answering
