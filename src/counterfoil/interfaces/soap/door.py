"""``/soap``: messages to operations, and the two WSDLs."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from lxml import etree

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.doors import Door
from counterfoil.interfaces.http.exchange import SECONDS_OF_A_QUERY, Answer, Call, Desk
from counterfoil.interfaces.http.problem_answers import retry_header
from counterfoil.interfaces.soap.envelope import (
    LONGEST,
    XML,
    Message,
    answer,
    early_session,
    fault,
    put,
    read_message,
    response,
    text_of,
)
from counterfoil.interfaces.soap.messages import MESSAGES, refuse_other_parts
from counterfoil.interfaces.soap.names import GENERIC, TYPED, Flavour
from counterfoil.interfaces.soap.operations import OPERATIONS
from counterfoil.interfaces.soap.wsdl import generic_wsdl, typed_wsdl
from counterfoil.platform.access.callers import Caller
from counterfoil.platform.access.sessions import end_session

PATHS = re.compile(r"/soap(/.*)?")
SOURCE = "soap"
_HOST = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)


def handle(desk: Desk, call: Call) -> Answer:
    """The answer to a request at one of our paths."""
    if call.method in ("GET", "HEAD"):
        return described(desk, call)
    if call.path.rstrip("/") != "/soap" or call.method != "POST":
        raise Refused(Problem("not_found", "SOAP messages are posted to /soap"), status=404)
    message = read_message(call.body)
    try:
        return answered(desk, call, message)
    except Refused as refused:
        return told(refused, message.flavour)


def told(refused: Refused, flavour: Flavour = GENERIC) -> Answer:
    """A refusal as a fault, perhaps before the message could be read."""
    made = fault(refused.problems, refused.status, flavour)
    return replace(made, headers={**made.headers, **retry_header(refused)})


def session_of(_headers: Mapping[str, str], beginning: bytes) -> str:
    """The session in the header of a message of which this is the beginning."""
    return early_session(beginning)


DOOR = Door(paths=PATHS, handler=handle, told=told, session=session_of, limit=LONGEST)
"""SOAP as an interface beside REST; the session may stand in the message itself."""


def answered(desk: Desk, call: Call, message: Message) -> Answer:
    """The answer to a message."""
    now = desk.organisation.clock()
    if message.operation in MESSAGES:
        refuse_other_parts(message.body, MESSAGES[message.operation][0])
    if message.operation == "login":
        return login(desk, message, now)
    operation = OPERATIONS.get(message.operation)
    if operation is None and message.operation != "logout":
        allowed = ("login", "logout", *OPERATIONS)
        text = f"there is no operation {message.operation[:60]!r}"
        raise Refused(Problem("unknown_operation", text, allowed=allowed), status=400)
    caller = caller_of(desk, call, message, now)
    desk.pace(caller)
    filled = response(message.flavour, message.operation)
    acting = desk.acting(replace(call, caller=caller), SOURCE)
    if operation is None:
        with acting.organisation.database.transaction(now=now) as uow:
            if caller.session_id is not None:
                end_session(uow, caller.session_id)
        return answer(filled)
    seconds = SECONDS_OF_A_QUERY if message.operation == "query" else None
    with acting.organisation.database.transaction(
        now=now, access=caller.access, seconds=seconds
    ) as uow:
        operation(uow, message.body, message.flavour, filled)
    return answer(filled)


def caller_of(desk: Desk, call: Call, message: Message, now: datetime) -> Caller:
    """Who asks: by the session in the header of the message, or as everywhere over HTTP."""
    if message.session:
        return desk.entrance.caller_of_token(message.session, now=now)
    return desk.entrance.caller(call.headers, now=now)


def login(desk: Desk, message: Message, now: datetime) -> Answer:
    """Begin a session by name and password."""
    given = {etree.QName(child).localname: text_of(child) or "" for child in message.body}
    for name in ("username", "password"):
        if not given.get(name):
            raise Refused(Problem("required", "is required", name), status=400)
    code = given.get("code") or None
    signed = desk.entrance.sign_in(
        given["username"], given["password"], code, now=now, source=SOURCE
    )
    filled = response(message.flavour, "login")
    put(filled, message.flavour, "sessionId", signed.token)
    put(filled, message.flavour, "expiresAt", signed.expires_at.isoformat())
    return answer(filled)


def described(desk: Desk, call: Call) -> Answer:
    """The WSDLs. The generic one says nothing about the organisation and is open to all."""
    asked = {name.lower(): text for name, text in call.query}
    place = address(call)
    if call.path == "/soap/generic.wsdl" or (call.path.rstrip("/") == "/soap" and "wsdl" in asked):
        return Answer(200, generic_wsdl(place), media_type=XML)
    if call.path != "/soap/typed.wsdl":
        names = tuple(f"/soap/{one.name}.wsdl" for one in (GENERIC, TYPED))
        raise Refused(Problem("not_found", "messages are posted to /soap", allowed=names), 404)
    organisation = desk.organisation
    now = organisation.clock()
    try:
        caller = desk.entrance.caller(call.headers, now=now)
    except Refused as refused:
        # No message has been sent yet: tools that fetch a description understand this.
        known = {"www-authenticate": 'Basic realm="counterfoil"'}
        told_so = fault(refused.problems, refused.status)
        return Answer(refused.status, told_so.body, XML, known)
    with organisation.database.transaction(now=now, access=caller.access) as uow:
        return Answer(200, typed_wsdl(uow.catalogue, place), media_type=XML)


def address(call: Call) -> str:
    """Where the caller reaches us."""
    host = call.headers.get("host", "")
    scheme = "https" if call.headers.get("x-forwarded-proto", "") == "https" else "http"
    return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}/soap"
