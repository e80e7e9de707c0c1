"""Signing in at an identity provider, over HTTP: there, and back with a code.

The browser that comes back has to be the one that was sent: it has a cookie with the state.
"""

import hmac
from http.cookies import CookieError, SimpleCookie

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.access import OBJECT, refuse_key
from counterfoil.interfaces.rest.exchange import API, Answer, Call, Desk, Endpoint, Parameter
from counterfoil.platform.access.callers import unauthorized
from counterfoil.platform.access.openid import (
    LASTS,
    IdentityProvider,
    begin_openid,
    take_state,
    user_of_identity,
)

COOKIE = "counterfoil_openid"
CALLBACK = "/openid/callback"


def begin(desk: Desk, call: Call) -> Answer:
    """Begin: where to send the user."""
    refuse_key(call)
    provider, organisation = provider_of(desk), desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        url, state = begin_openid(uow, provider)
    secure = "; Secure" if provider.settings.redirect_url.startswith("https:") else ""
    cookie = (
        f"{COOKIE}={state}; Path={API}{CALLBACK}; Max-Age={int(LASTS.total_seconds())}"
        f"; HttpOnly; SameSite=Lax{secure}"
    )
    return json_answer({"authorization_url": url}, 201, {"set-cookie": cookie})


def finish(desk: Desk, call: Call) -> Answer:
    """Come back with a code: a session, as after a sign-in with a password."""
    provider, organisation, given = provider_of(desk), desk.organisation, dict(call.query)
    state, now = given.get("state", ""), organisation.clock()
    if not hmac.compare_digest(state.encode(), state_of(call).encode()) or not given.get("code"):
        raise unauthorized("this sign-in is not accepted; begin again")
    with organisation.database.transaction(now=now) as uow:
        nonce, verifier = take_state(uow, state)
    identity = provider.identity(given["code"], verifier, nonce, now)
    with organisation.database.transaction(now=now, actor="openid") as uow:
        user = user_of_identity(uow, identity)
        caller = desk.entrance.caller_of_user(uow, user["id"], user["external_id"])
    signed_in = desk.entrance.begin(caller, "openid", now=now, source="rest")
    answer = {
        "token": signed_in.token,
        "expires_at": signed_in.expires_at,
        "user": caller.actor,
    }
    forgotten = f"{COOKIE}=; Path={API}{CALLBACK}; Max-Age=0; HttpOnly; SameSite=Lax"
    return json_answer(answer, 201, {"set-cookie": forgotten})


def provider_of(desk: Desk) -> IdentityProvider:
    """The organisation's identity provider; refuses (404) where there is none."""
    if desk.entrance.provider is None:
        message = "no identity provider is set up; see COUNTERFOIL_OPENID_ISSUER"
        raise Refused(Problem("not_found", message), status=404)
    return desk.entrance.provider


def state_of(call: Call) -> str:
    """The state in the browser's cookie; empty where there is none."""
    try:
        found = SimpleCookie(call.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/openid-sign-ins",
        audience="anyone",
        handler=begin,
        summary="Begin a sign-in at the identity provider",
        help="Send the user's browser to the authorization_url, with the cookie of this answer.",
        answers=OBJECT,
        status=201,
        makes=("openid_sign_in",),
    ),
    Endpoint(
        method="GET",
        path=CALLBACK,
        audience="anyone",
        handler=finish,
        summary="Come back from the identity provider",
        parameters=(
            Parameter(name="code", required=True, help="From the provider."),
            Parameter(name="state", required=True, help="The one sent there."),
        ),
        answers=OBJECT,
        status=201,
    ),
)
