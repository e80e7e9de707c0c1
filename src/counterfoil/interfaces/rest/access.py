"""Endpoints of access: signing in and out, oneself, passwords, API keys, explanations.

What holds a secret is never remembered under an Idempotency-Key: no secret is answered twice.
"""

from datetime import datetime
from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Desk, Endpoint, Parameter
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.records import record_id
from counterfoil.platform.access.callers import Caller
from counterfoil.platform.access.explaining import explain_user
from counterfoil.platform.access.keys import create_key, revoke_key
from counterfoil.platform.access.roles import check_scopes
from counterfoil.platform.access.sessions import end_session
from counterfoil.platform.access.users import (
    confirm_totp,
    enrol_totp,
    find_user,
    remove_totp,
    set_password,
)
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.access import OPERATIONS
from counterfoil.platform.metadata.fields import document, instant, text
from counterfoil.platform.records.unit_of_work import UnitOfWork

SIGN_IN = Entity(
    name="sign_in",
    plural="sign_ins",
    fields=(
        text("username", required=True),
        text("password", required=True, max_length=1000),
        text("code", help="Of the second factor, where there is one."),
    ),
)
NEW_PASSWORD = Entity(
    name="new_password",
    plural="new_passwords",
    fields=(
        text("password", required=True, max_length=1000, help="The one until now."),
        text("new_password", required=True, max_length=1000),
        text("code"),
    ),
)
PASSWORD = Entity(
    name="password",
    plural="passwords",
    fields=(text("password", required=True, max_length=1000),),
)
PROOF = Entity(
    name="proof",
    plural="proofs",
    fields=(text("password", required=True, max_length=1000), text("code")),
)
CODE = Entity(name="code", plural="codes", fields=(text("code", required=True),))
KEY = Entity(
    name="key",
    plural="keys",
    fields=(
        text("name", required=True),
        document("scopes", help='["invoice:read", "command:run_bills"]; none: as its user.'),
        instant("expires_at", help="Within a year, which is also the default."),
        text("user", help="Whose key; only administrators make keys of others."),
    ),
)
OBJECT = {JSON: {"type": "object"}}


def post_session(desk: Desk, call: Call) -> Answer:
    """Sign in: the session's token, answered this once."""
    refuse_key(call)
    body = command_body(call, SIGN_IN)
    signed_in = desk.entrance.sign_in(
        body["username"], body["password"], body["code"], now=desk.organisation.clock()
    )
    answer = {
        "token": signed_in.token,
        "expires_at": signed_in.expires_at,
        "user": signed_in.caller.actor,
    }
    return json_answer(answer, 201)


def refuse_key(call: Call) -> None:
    """Refuse (400) an Idempotency-Key where the answer holds a secret, which is not kept."""
    if "idempotency-key" in call.headers:
        message = "is not taken here: the answer holds a secret, which is not kept"
        raise Refused(Problem("not_repeatable", message, "Idempotency-Key"), status=400)


def end_own_session(uow: UnitOfWork, call: Call) -> Answer:
    """Sign out."""
    if call.caller.session_id is None:
        raise Refused(Problem("no_session", "you are not signed in by a session"), status=409)
    end_session(uow.unrestricted(), call.caller.session_id)
    return json_answer({"ended": True})


def get_me(uow: UnitOfWork, call: Call) -> Answer:
    """Who asks, and what may be done."""
    access = call.caller.access
    entities = {
        name: [one for one in OPERATIONS if access.may(name, one)]
        for name in uow.catalogue.entities
    }
    answer: Record = {
        "user": call.caller.actor,
        "user_id": call.caller.user_id,
        "administrator": access.unrestricted,
        "commands": ["*"] if access.unrestricted else sorted(access.commands),
        "entities": entities,
    }
    return json_answer(answer)


def change_password(desk: Desk, call: Call) -> Answer:
    """Change one's own password; all sessions end."""
    body = command_body(call, NEW_PASSWORD)
    prove(desk, call, body)
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        set_password(uow, call.caller.actor, body["new_password"])
    return json_answer({"changed": True})


def prove(desk: Desk, call: Call, body: Record) -> None:
    """Refuse (401) who does not know the password of the user who asks."""
    user_of(call.caller)
    now = desk.organisation.clock()
    desk.entrance.prove(call.caller.actor, body["password"], body["code"], now=now)


def user_of(caller: Caller) -> int:
    """The user who asks in person; refuses (403) API keys and the administrator's token."""
    if caller.user_id is None or caller.key_id is not None:
        raise Refused(Problem("not_in_person", "sign in with your password to do this"), status=403)
    return caller.user_id


def enrol_own_totp(desk: Desk, call: Call) -> Answer:
    """A new second factor, which counts once a code of it was confirmed."""
    refuse_key(call)
    prove(desk, call, command_body(call, PROOF))
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        secret, url = enrol_totp(uow, call.caller.actor)
    return json_answer({"secret": secret, "url": url}, 201)


def confirm_own_totp(uow: UnitOfWork, call: Call) -> Answer:
    """Take the first code of a second factor."""
    user_of(call.caller)
    confirm_totp(uow.unrestricted(), call.caller.actor, command_body(call, CODE)["code"])
    return json_answer({"confirmed": True})


def remove_own_totp(desk: Desk, call: Call) -> Answer:
    """Give up one's second factor."""
    prove(desk, call, command_body(call, PROOF))
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        remove_totp(uow, call.caller.actor)
    return json_answer({"removed": True})


def give_password(uow: UnitOfWork, call: Call) -> Answer:
    """Give a user a password."""
    refuse_key(call)
    user = uow.get("access_user", record_id(call))
    set_password(uow, user["external_id"], command_body(call, PASSWORD)["password"])
    return json_answer({"changed": True})


def post_key(desk: Desk, call: Call) -> Answer:
    """Make an API key: its text, answered this once."""
    refuse_key(call)
    body = command_body(call, KEY)
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        owner = key_owner(desk, uow, call.caller, body["user"])
        scopes = body["scopes"]
        if scopes is not None:
            if not isinstance(scopes, list):
                raise Refused(Problem("wrong_type", "has to be a list of texts", "scopes"))
            scopes = check_scopes(scopes, owner.access, uow.catalogue)
        key, record = create_key(
            uow,
            cast("int", owner.user_id),
            name=body["name"],
            scopes=scopes,
            expires_at=cast("datetime | None", body["expires_at"]),
        )
    return json_answer({"key": key, **record}, 201)


def key_owner(desk: Desk, uow: UnitOfWork, caller: Caller, username: str | None) -> Caller:
    """Whose key is made: one's own, or by administrators that of another user."""
    if username is None:
        user_of(caller)
        return caller
    if caller.key_id is not None or not caller.access.unrestricted:
        raise Refused(Problem("not_granted", "only administrators make keys of others"), status=403)
    user = find_user(uow, username)
    return desk.entrance.caller_of_user(uow, user["id"], username)


def list_own_keys(uow: UnitOfWork, call: Call) -> Answer:
    """One's own API keys, without their texts."""
    rows = uow.unrestricted().query(
        "SELECT id, name, prefix, scopes, created_at, expires_at, revoked_at FROM api_key"
        " WHERE access_user_id = :user ORDER BY id",
        user=call.caller.user_id,
    )
    return json_answer({"api_keys": rows})


def revoke_own_key(uow: UnitOfWork, call: Call) -> Answer:
    """End an API key: one's own, as an administrator any."""
    everything = uow.unrestricted()
    key = everything.find("api_key", id=record_id(call))
    own = key is not None and key["access_user_id"] == call.caller.user_id
    if key is None or not (own or uow.access.unrestricted):
        message = f"there is no API key {record_id(call)}"
        raise Refused(Problem("unknown_record", message, "id"), status=404)
    return json_answer(revoke_key(everything, key["id"]))


def get_explanation(uow: UnitOfWork, call: Call) -> Answer:
    """Which role, grant and rule decides a question about access."""
    asked = dict(call.query)
    for name in ("user", "entity"):
        if not asked.get(name):
            raise Refused(Problem("required", "is required", name))
    operation = next((one for one in OPERATIONS if one == asked.get("operation", "read")), None)
    if operation is None:
        raise Refused(Problem("unknown_choice", "is not an operation", "operation", OPERATIONS))
    return json_answer(
        explain_user(uow, asked["user"], asked["entity"], operation, asked.get("field"))
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/sessions",
        audience="anyone",
        handler=post_session,
        summary="Sign in",
        help="The token is the Bearer token of further requests; it is answered this once.",
        bodies=body_schema(SIGN_IN),
        answers=OBJECT,
        status=201,
        makes=("access_session", "sign_in_failure"),
    ),
    Endpoint(
        method="POST",
        path="/sessions/end",
        audience="signed_in",
        handler=in_transaction(end_own_session),
        summary="Sign out",
        answers=OBJECT,
    ),
    Endpoint(
        method="GET",
        path="/me",
        audience="signed_in",
        handler=reading(get_me),
        summary="Who asks, and what may be done",
        answers=OBJECT,
    ),
    Endpoint(
        method="POST",
        path="/me/password",
        audience="signed_in",
        handler=change_password,
        summary="Change one's own password",
        bodies=body_schema(NEW_PASSWORD),
        answers=OBJECT,
    ),
    Endpoint(
        method="POST",
        path="/me/totp",
        audience="signed_in",
        handler=enrol_own_totp,
        summary="Begin a second factor (TOTP)",
        bodies=body_schema(PROOF),
        answers=OBJECT,
        status=201,
    ),
    Endpoint(
        method="POST",
        path="/me/totp/confirm",
        audience="signed_in",
        handler=in_transaction(confirm_own_totp),
        summary="Confirm the second factor with its first code",
        bodies=body_schema(CODE),
        answers=OBJECT,
    ),
    Endpoint(
        method="POST",
        path="/me/totp/remove",
        audience="signed_in",
        handler=remove_own_totp,
        summary="Give up the second factor",
        bodies=body_schema(PROOF),
        answers=OBJECT,
    ),
    Endpoint(
        method="GET",
        path="/me/api-keys",
        audience="signed_in",
        handler=reading(list_own_keys),
        summary="One's own API keys",
        answers=OBJECT,
    ),
    Endpoint(
        method="POST",
        path="/access-users/{id}/password",
        handler=in_transaction(give_password),
        summary="Give a user a password",
        bodies=body_schema(PASSWORD),
        answers=OBJECT,
    ),
    Endpoint(
        method="POST",
        path="/api-keys",
        audience="signed_in",
        handler=post_key,
        summary="Make an API key",
        help="The key is answered this once; only its hash is kept.",
        bodies=body_schema(KEY),
        answers=OBJECT,
        status=201,
        makes=("api_key",),
    ),
    Endpoint(
        method="POST",
        path="/api-keys/{id}/revoke",
        audience="signed_in",
        handler=in_transaction(revoke_own_key),
        summary="End an API key",
        answers=OBJECT,
    ),
    Endpoint(
        method="GET",
        path="/access-explanations",
        handler=reading(get_explanation),
        summary="Why a user may or may not do something",
        parameters=(
            Parameter(name="user", required=True, help="The user name."),
            Parameter(name="entity", required=True, help="For example invoice."),
            Parameter(name="operation", help="read (if not given), create, update or delete."),
            Parameter(name="field", help="A field of the entity."),
        ),
        answers=OBJECT,
    ),
)
