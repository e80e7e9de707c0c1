"""Who asks: from the headers of a request to a caller, and from a password to a session.

Every interface comes in here. What was wrong with a credential is not told.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.access.keys import PREFIX as KEY_PREFIX
from counterfoil.platform.access.openid import IdentityProvider
from counterfoil.platform.access.passwords import is_password
from counterfoil.platform.access.roles import compile_access, limit_access, load_roles
from counterfoil.platform.access.sessions import LASTS, begin_session
from counterfoil.platform.access.throttling import (
    count_failure,
    forget_failures,
    refuse_blocked,
)
from counterfoil.platform.access.tokens import AdminToken, digest_of
from counterfoil.platform.access.users import ADMINISTRATOR, take_code
from counterfoil.platform.metadata import FULL_ACCESS, Access, Catalogue, Record
from counterfoil.platform.metadata.access import NO_ACCESS
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

REMEMBERED = 1000
"""Passwords of Basic credentials that are known to be right without Argon2, and accesses."""

_STRIPES = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name that stands in the history, and what may be done.

    Signed in by a session, by an API key, or by the administrator's token, which has no user.
    """

    actor: str
    access: Access
    user_id: int | None = None
    session_id: int | None = None
    key_id: int | None = None
    granted: Access | None = None
    """What he may do himself, while a command works for him with every right."""

    @property
    def own_access(self) -> Access:
        """What the caller may do himself, also while a command works for him."""
        return self.granted or self.access


ADMIN = Caller(ADMINISTRATOR, FULL_ACCESS)
"""The holder of the administrator's token."""

NOBODY = Caller("", NO_ACCESS)
"""Who has not said who it is, where that is not asked."""


@dataclass(frozen=True, slots=True, repr=False)
class SignedIn:
    """A session that has begun: its token, shown this once, when it ends, and who it is."""

    token: str
    expires_at: datetime
    caller: Caller


_BY_TOKEN = {
    KEY_PREFIX: """
SELECT owner.id AS user_id, owner.external_id AS username, CAST(NULL AS bigint) AS session_id,
       api_key.id AS key_id, api_key.scopes
FROM api_key JOIN access_user AS owner ON owner.id = api_key.access_user_id
WHERE api_key.key_hash = :digest AND api_key.revoked_at IS NULL AND api_key.expires_at > :now
  AND owner.active
""",
    "": """
SELECT owner.id AS user_id, owner.external_id AS username, session.id AS session_id,
       CAST(NULL AS bigint) AS key_id, CAST(NULL AS jsonb) AS scopes
FROM access_session AS session JOIN access_user AS owner ON owner.id = session.access_user_id
WHERE session.token_hash = :digest AND session.ended_at IS NULL AND session.expires_at > :now
  AND owner.active
""",
}

_STATE = "count(*) || ' ' || coalesce(sum(row_version), 0) || ' ' || coalesce(max(id), 0)"

# Two states of a table of which this is the same hold the same rows: ids are never used again.
_ROLES = f"""
SELECT array(SELECT access_role_id FROM user_role WHERE access_user_id = :user ORDER BY id)
       AS roles,
       array(SELECT {_STATE} FROM access_role UNION ALL SELECT {_STATE} FROM access_grant
             UNION ALL SELECT {_STATE} FROM field_rule) AS definitions
"""


class Entrance:
    """Where everyone comes in who asks an organisation something over the network.

    ``provider`` is where users may sign in elsewhere.
    """

    def __init__(
        self,
        database: Database,
        admin_token: AdminToken | None = None,
        provider: IdentityProvider | None = None,
    ) -> None:
        self.provider = provider
        self._database = database
        self._admin_token = admin_token
        self._pepper = secrets.token_bytes(32)
        self._right: dict[bytes, int] = {}
        self._accesses: dict[object, tuple[Catalogue, Access]] = {}
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]

    def caller(self, headers: Mapping[str, str], *, now: datetime) -> Caller:
        """Who sends a request with these headers (lower-case names); refuses (401) others.

        Takes the administrator's token, a session's token or an API key as Bearer, and Basic.
        """
        given = headers.get("authorization", "")
        token = bearer(given)
        if token:
            return self.caller_of_token(token, now=now)
        scheme, text = _authorization(given)
        if scheme == "basic":
            username, password = _basic(text)
            return self._checked(username, password, None, now=now, second_factor=False)
        raise unauthorized()

    def is_admin(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers carry the administrator's token, which needs no database."""
        given = headers.get("authorization", "").encode("latin-1", "replace")
        return self._admin_token is not None and self._admin_token.admits(given)

    def caller_of_token(self, token: str, *, now: datetime) -> Caller:
        """Who a token belongs to: the administrator's, a session's, or an API key."""
        if self._admin_token is not None and self._admin_token.is_meant(token):
            return ADMIN
        kind = KEY_PREFIX if token.startswith(KEY_PREFIX) else ""
        with self._database.transaction(now=now) as uow:
            rows = uow.query(_BY_TOKEN[kind], digest=digest_of(token), now=now)
            if not rows:
                raise unauthorized()
            return self._known(uow, rows[0])

    def sign_in(
        self,
        username: str,
        password: str,
        code: str | None = None,
        *,
        now: datetime,
        source: str = "rest",
    ) -> SignedIn:
        """Begin a session; refuses (401) wrong credentials and (429) too many attempts.

        For programs that know only user names and passwords, the administrator's token is a
        password of ``admin`` as well; it is its own session.
        """
        token = self._admin_token
        if username == ADMINISTRATOR and token is not None and token.is_meant(password):
            return SignedIn(password, now + LASTS, ADMIN)
        caller = self._checked(username, password, code, now=now, second_factor=True)
        return self.begin(caller, "password", now=now, source=source)

    def prove(
        self, username: str, password: str, code: str | None = None, *, now: datetime
    ) -> None:
        """Refuse as :meth:`sign_in` does who does not know the credentials; begin nothing."""
        self._checked(username, password, code, now=now, second_factor=True)

    def begin(self, caller: Caller, via: str, *, now: datetime, source: str) -> SignedIn:
        """Begin a session of someone whose identity is certain."""
        if caller.user_id is None:
            raise ValueError("only users have sessions")
        with self._database.transaction(now=now, source=source, actor=caller.actor) as uow:
            token, expires_at = begin_session(uow, caller.user_id, via)
        return SignedIn(token, expires_at, caller)

    def caller_of_user(self, uow: UnitOfWork, user_id: int, username: str) -> Caller:
        """A user whose identity was proved elsewhere."""
        found: Record = {"user_id": user_id, "username": username}
        return self._known(uow, {**found, "session_id": None, "key_id": None, "scopes": None})

    def _checked(
        self,
        username: str,
        password: str,
        code: str | None,
        *,
        now: datetime,
        second_factor: bool,
    ) -> Caller:
        """The user of a password; one attempt at a time for a name."""
        stripe = self._stripes[hash(username.casefold()) % _STRIPES]
        with stripe:
            with self._database.transaction(now=now) as uow:
                refuse_blocked(uow, username)
                rows = uow.query(
                    "SELECT id, external_id, active, password_hash, totp_step, totp_secret"
                    " FROM access_user WHERE external_id = :username",
                    username=_storable(username),
                )
            user = rows[0] if rows else {}
            right = self._is_right(username, password, user.get("password_hash"))
            with self._database.transaction(now=now, actor=username) as uow:
                right = right and bool(user.get("active"))
                if right and user["totp_secret"] is not None and user["totp_step"] is not None:
                    right = second_factor and take_code(uow, user["id"], code or "")
                if right:
                    forget_failures(uow, username)
                    return self.caller_of_user(uow, user["id"], user["external_id"])
                count_failure(uow, username)
        raise unauthorized("the user name, the password or the code is wrong")

    def _is_right(self, username: str, password: str, stored: str | None) -> bool:
        """Whether the password is right; what was found right is remembered, as a keyed hash."""
        parts = "\0".join((username, password, stored or "")).encode("utf-8", "surrogateescape")
        known = hmac.digest(self._pepper, parts, hashlib.sha256)
        if stored is not None and known in self._right:
            return True
        if not is_password(stored, password):
            return False
        if len(self._right) >= REMEMBERED:
            self._right.clear()
        self._right[known] = 1
        return True

    def _known(self, uow: UnitOfWork, row: Record) -> Caller:
        scopes = None if row["scopes"] is None else tuple(row["scopes"])
        return Caller(
            actor=row["username"],
            access=self._access(uow, row["user_id"], scopes),
            user_id=row["user_id"],
            session_id=row["session_id"],
            key_id=row["key_id"],
        )

    def _access(self, uow: UnitOfWork, user_id: int, scopes: tuple[str, ...] | None) -> Access:
        """The access of a user, kept as long as roles, their definitions and catalogue stay."""
        (found,) = uow.query(_ROLES, user=user_id)
        key = (tuple(found["roles"]), tuple(found["definitions"]), scopes)
        kept = self._accesses.get(key)
        if kept is not None and kept[0] is uow.catalogue:
            return kept[1]
        access = compile_access(load_roles(uow, found["roles"]), uow.catalogue)
        if scopes is not None:
            access = limit_access(access, scopes, uow.catalogue)
        if len(self._accesses) >= REMEMBERED:
            self._accesses.clear()
        self._accesses[key] = (uow.catalogue, access)
        return access


def unauthorized(message: str = "") -> Refused:
    """The refusal (401) of someone who is not known."""
    told = message or "sign in: send 'Authorization: Bearer <token>', or Basic"
    return Refused(Problem("unauthorized", told), status=401)


def bearer(authorization: str) -> str:
    """The token of an ``Authorization`` header; empty where there is none."""
    scheme, text = _authorization(authorization)
    return text if scheme == "bearer" else ""


def _authorization(header: str) -> tuple[str, str]:
    scheme, _, given = header.strip().partition(" ")
    # Headers arrive as Latin-1, whatever they mean.
    text = given.strip().encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    return scheme.lower(), text


def _basic(text: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(text, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        raise unauthorized() from None
    username, colon, password = decoded.partition(":")
    if not colon:
        raise unauthorized()
    return username, password


def _storable(text: str) -> str:
    """The text as PostgreSQL can compare it; what it cannot hold is nobody's name."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:300]
