"""Who asks, as long as only the administrator does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.authentication import AdminToken
from counterfoil.platform.metadata import FULL_ACCESS, Access
from counterfoil.platform.records.database import Database


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name that stands in the history, and what may be done."""

    actor: str
    access: Access
    session_id: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class SignedIn:
    """A session that has begun."""

    token: str
    expires_at: datetime
    caller: Caller


class Entrance:
    """Where everyone comes in who asks an organisation something over the network."""

    def __init__(self, database: Database, admin_token: AdminToken) -> None:
        self._database = database
        self._admin_token = admin_token

    def caller(self, headers: Mapping[str, str], *, now: datetime) -> Caller:
        """Who sends a request with these headers."""
        scheme, _, given = headers.get("authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        return self.caller_of_token(given.strip(), now=now)

    def caller_of_token(self, token: str, *, now: datetime) -> Caller:
        """Who a token belongs to."""
        del now
        if not self._admin_token.admits(f"Bearer {token}".encode("utf-8", "replace")):
            raise unauthorized()
        return Caller("admin", FULL_ACCESS)

    def sign_in(
        self,
        username: str,
        password: str,
        code: str | None = None,
        *,
        now: datetime,
        source: str = "rest",
    ) -> SignedIn:
        """Begin a session."""
        del username, code, source
        return SignedIn(
            password, now + timedelta(hours=12), self.caller_of_token(password, now=now)
        )


def unauthorized(message: str = "") -> Refused:
    """The refusal (401) of someone who is not known."""
    return Refused(Problem("unauthorized", message or "sign in"), status=401)
