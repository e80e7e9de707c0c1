"""The administrator's bearer token. Only its SHA-256 is ever kept; without it nothing answers."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from counterfoil.core.problems import Problem
from counterfoil.interfaces.http.asgi import send_answer
from counterfoil.interfaces.http.problem_answers import problem_answer

DIGEST_FILE = "admin-token.sha256"
OPEN_PATHS = frozenset({"/healthz"})


@dataclass(frozen=True, slots=True, repr=False)
class AdminToken:
    """A token known by its SHA-256 (hexadecimal)."""

    digest: str

    @staticmethod
    def of(token: str) -> "AdminToken":
        """The token with that text."""
        return AdminToken(hashlib.sha256(token.encode()).hexdigest())

    def admits(self, authorization: bytes) -> bool:
        """Whether an ``Authorization`` header carries this token, in constant time."""
        scheme, _, token = authorization.strip().partition(b" ")
        given = hashlib.sha256(token.strip()).hexdigest()
        return hmac.compare_digest(given, self.digest) and scheme.lower() == b"bearer"


def load_admin_token(
    home: Path, from_environment: str | None, *, renew: bool = False
) -> tuple[AdminToken, str | None]:
    """The token to ask for, and its text when it was made just now and has to be shown once.

    ``from_environment`` wins. Otherwise the digest stands in the home folder; where it does not,
    or with ``renew``, a token of 256 random bits is made.
    """
    if from_environment:
        return AdminToken.of(from_environment), None
    path = home / DIGEST_FILE
    if path.exists() and not renew:
        return AdminToken(path.read_text(encoding="ascii").strip()), None
    text = secrets.token_urlsafe(32)
    token = AdminToken.of(text)
    home.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token.digest + "\n")
    draft.replace(path)
    return token, text


class TokenGate:
    """Lets only requests with the token through to the application behind it."""

    def __init__(self, app: ASGIApp, token: AdminToken) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        is_admitted = len(given) == 1 and self.token.admits(given[0])
        if is_admitted or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            await self.app(scope, receive, send)
            return
        problem = Problem(
            "unauthorized", "send the administrator's token as 'Authorization: Bearer <token>'"
        )
        headers = {"www-authenticate": 'Bearer realm="counterfoil"', "connection": "close"}
        await send_answer(problem_answer([problem], 401, scope["path"], headers), send)
