"""``/soap``: messages to operations, and the two WSDLs."""

import re
from datetime import datetime

from lxml import etree

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.callers import Caller, Entrance
from counterfoil.interfaces.http.doors import Door
from counterfoil.interfaces.http.exchange import Answer, Call, Desk
from counterfoil.interfaces.soap.envelope import (
    LONGEST,
    XML,
    Message,
    answer,
    fault,
    put,
    read_message,
    response,
    text_of,
)
from counterfoil.interfaces.soap.names import GENERIC, TYPED
from counterfoil.interfaces.soap.operations import OPERATIONS
from counterfoil.interfaces.soap.wsdl import generic_wsdl, typed_wsdl

PATHS = re.compile(r"/soap(/.*)?")
SOURCE = "soap"
_HOST = re.compile(r"[\w.:\[\]-]{1,255}", re.ASCII)


def soap_door(entrance: Entrance) -> Door:
    """SOAP as an interface beside REST."""

    def handle(desk: Desk, call: Call) -> Answer:
        if call.method in ("GET", "HEAD"):
            return described(entrance, desk, call)
        if call.path.rstrip("/") != "/soap" or call.method != "POST":
            raise Refused(Problem("not_found", "SOAP messages are posted to /soap"), status=404)
        message = read_message(call.body)
        try:
            return answered(entrance, desk, call, message)
        except Refused as refused:
            return fault(refused.problems, refused.status, message.flavour)

    def told(refused: Refused) -> Answer:
        return fault(refused.problems, refused.status)

    return Door(paths=PATHS, handler=handle, told=told, limit=LONGEST)


def answered(entrance: Entrance, desk: Desk, call: Call, message: Message) -> Answer:
    """The answer to a message."""
    organisation = desk.organisation
    now = organisation.clock()
    told = response(message.flavour, message.operation)
    if message.operation == "login":
        return login(entrance, message, now)
    operation = OPERATIONS.get(message.operation)
    if operation is None and message.operation != "logout":
        allowed = ("login", "logout", *OPERATIONS)
        text = f"there is no operation {message.operation[:60]!r}"
        raise Refused(Problem("unknown_operation", text, allowed=allowed), status=400)
    caller = caller_of(entrance, call, message, now)
    if operation is None:
        end_session(desk, caller, now)
        return answer(told)
    with organisation.database.transaction(
        now=now, source=SOURCE, actor=caller.actor, access=caller.access
    ) as uow:
        operation(uow, message.body, message.flavour, told)
    return answer(told)


def caller_of(entrance: Entrance, call: Call, message: Message, now: datetime) -> Caller:
    """Who asks: by the session in the header of the message, or as everywhere over HTTP."""
    if message.session:
        return entrance.caller_of_token(message.session, now=now)
    return entrance.caller(call.headers, now=now)


def login(entrance: Entrance, message: Message, now: datetime) -> Answer:
    """Begin a session by name and password."""
    given = {etree.QName(child).localname: text_of(child) or "" for child in message.body}
    for name in ("username", "password"):
        if not given.get(name):
            raise Refused(Problem("required", "is required", name), status=400)
    code = given.get("code") or None
    signed = entrance.sign_in(given["username"], given["password"], code, now=now, source=SOURCE)
    told = response(message.flavour, "login")
    put(told, message.flavour, "sessionId", signed.token)
    put(told, message.flavour, "expiresAt", signed.expires_at.isoformat())
    return answer(told)


def end_session(desk: Desk, caller: Caller, now: datetime) -> None:
    """End the caller's session, where there is one."""
    del desk, caller, now


def described(entrance: Entrance, desk: Desk, call: Call) -> Answer:
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
    caller = entrance.caller(call.headers, now=now)
    with organisation.database.transaction(
        now=now, source=SOURCE, actor=caller.actor, access=caller.access
    ) as uow:
        return Answer(200, typed_wsdl(uow.catalogue, place), media_type=XML)


def address(call: Call) -> str:
    """Where the caller reaches us."""
    host = call.headers.get("host", "")
    scheme = "https" if call.headers.get("x-forwarded-proto", "") == "https" else "http"
    return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}/soap"
