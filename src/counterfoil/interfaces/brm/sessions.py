"""Who asks, in the dialect: login and logout, client credentials, and the session of a request."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.answers import BLANK, INVALID_SESSION, answer
from counterfoil.interfaces.http.exchange import Answer, Call, Desk
from counterfoil.interfaces.http.notation import decode_json
from counterfoil.platform.access.callers import Caller, Entrance, SignedIn, unauthorized
from counterfoil.platform.access.sessions import end_session

SOURCE = "brm"


def session_of(headers: Mapping[str, str], _beginning: bytes = b"") -> str:
    """The session's id in the headers; empty where there is none."""
    return headers.get("sessionid", "").strip()


def caller_of(entrance: Entrance, call: Call, now: datetime) -> Caller:
    """Who asks: by the session's id, or by Bearer or Basic.

    Clients sign in again when they get 500 with INVALID_SESSION_ID; without any session it is 401.
    """
    session = session_of(call.headers)
    if session:
        try:
            return entrance.caller_of_token(session, now=now)
        except Refused as refused:
            if refused.status != 401:
                raise
            message = "the session is unknown or has ended; log in again"
            raise Refused(Problem(INVALID_SESSION, message), status=500) from None
    if "authorization" in call.headers:
        return entrance.caller(call.headers, now=now)
    raise unauthorized("no session id was sent")


def login(entrance: Entrance, call: Call, now: datetime) -> Answer:
    """Begin a session by name and password; the content type says nothing."""
    if call.method != "POST":
        raise Refused(Problem("method_not_allowed", "log in by POST"), status=405)
    body = decode_json(call.body)
    given = body if isinstance(body, dict) else {}
    texts = {str(name).lower(): value for name, value in given.items()}
    username, password = texts.get("username"), texts.get("password")
    if not isinstance(username, str) or not isinstance(password, str):
        message = "are required, as texts"
        raise Refused(Problem("required", message, "username, password"), status=400)
    code = texts.get("code")
    signed = entrance.sign_in(
        username, password, code if isinstance(code, str) else None, now=now, source=SOURCE
    )
    element: dict[str, object] = {"SessionID": signed.token, "ErrorCode": "0", "ErrorText": []}
    return answer({"loginResponse": [element]})


def logout(desk: Desk, caller: Caller) -> Answer:
    """End the session."""
    organisation = desk.organisation
    if caller.session_id is not None:
        with organisation.database.transaction(now=organisation.clock()) as uow:
            end_session(uow, caller.session_id)
    return answer({"logoutResponse": [{"ErrorCode": "0", "ErrorText": BLANK, "Success": "true"}]})


def authenticate(entrance: Entrance, call: Call, parts: Sequence[str], now: datetime) -> Answer:
    """Client credentials: a token for a client id and its secret."""
    if [part.lower() for part in parts] != ["authenticate"]:
        raise Refused(Problem("not_found", f"there is nothing at {call.path[:200]}"), status=404)
    if call.method != "POST":
        raise Refused(Problem("method_not_allowed", "authenticate by POST"), status=405)
    grant = dict(call.query).get("grant_type", "client_credentials")
    if grant != "client_credentials":
        message = f"{grant[:60]!r} is not possible"
        problem = Problem("unsupported_grant_type", message, "grant_type", ("client_credentials",))
        raise Refused(problem, status=400)
    client, secret = credentials(call.headers)
    token, ends = _token(entrance, client, secret, now)
    seconds = int((ends - now).total_seconds()) if ends is not None else 3600
    body = {
        "access_token": token,
        "refresh_token": token,
        "token_type": "Bearer",
        "expires_in": seconds,
    }
    return answer(body)


def _token(
    entrance: Entrance, client: str, secret: str, now: datetime
) -> tuple[str, datetime | None]:
    """An API key is a token already; a user's password begins a session."""
    try:
        entrance.caller_of_token(secret, now=now)
    except Refused as refused:
        if refused.status != 401:
            raise
        signed: SignedIn = entrance.sign_in(client, secret, now=now, source=SOURCE)
        return signed.token, signed.expires_at
    return secret, None


def credentials(headers: Mapping[str, str]) -> tuple[str, str]:
    """Client id and secret of a Basic header; refuses (401) others."""
    scheme, _, given = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "basic":
        raise unauthorized("send the client id and secret as Basic")
    try:
        text = base64.b64decode(given.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise unauthorized("send the client id and secret as Basic") from None
    client, colon, secret = text.partition(":")
    if not colon:
        raise unauthorized("send the client id and secret as Basic")
    return client, secret
