"""Doors: who asks too often waits at all of them, and a fault tells nothing of its inside."""

import re
import threading
from functools import partial

import anyio
import httpx
import pytest
from fastapi import FastAPI

from counterfoil.bootstrap import Organisation
from counterfoil.core.problems import Refused
from counterfoil.interfaces.cli.serve import DOORS
from counterfoil.interfaces.http.doors import Door
from counterfoil.interfaces.http.exchange import Answer, Call, Desk
from counterfoil.interfaces.http.rate_limit import RateLimit
from counterfoil.interfaces.rest.app import build_app
from counterfoil.platform.access.sessions import begin_session
from counterfoil.platform.access.users import create_user

TOKEN = "correct horse battery staple"
SOAP = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
    '<describe xmlns="urn:counterfoil:soap:generic:1"><entity>site</entity></describe>'
    "</s:Body></s:Envelope>"
)


Ask = tuple[str, str, str, dict[str, str]]
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
EACH: list[Ask] = [
    ("GET", "/api/v1/sites", "", KNOWN),
    ("POST", "/soap", SOAP, KNOWN),
    ("GET", "/rest/2.0/ACCESS_ROLE", "", KNOWN),
]
"""A request at each interface."""


def asked(app: FastAPI, requests: list[Ask]) -> list[httpx.Response]:
    """The answers to requests, one after another."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return [
                await client.request(method, path, content=body, headers=headers)
                for method, path, body, headers in requests
            ]

    return anyio.run(ask)


def test_a_caller_who_asks_too_often(organisation: Organisation) -> None:
    app = build_app(organisation, TOKEN, DOORS, rate_limit=RateLimit(1, 3))
    first, (rest, soap, dialect) = asked(app, EACH), asked(app, EACH)
    assert [one.status_code for one in first] == [200, 200, 404]
    assert (rest.status_code, soap.status_code, dialect.status_code) == (429, 500, 429)
    assert {one.headers["retry-after"] for one in (rest, soap, dialect)} == {"1"}
    assert "too_many_requests" in soap.text
    assert dialect.json()["error"] == "Too many requests"


def fails(_desk: Desk, _call: Call) -> Answer:
    raise RuntimeError("the inside")


def told(refused: Refused) -> Answer:
    return Answer(refused.status, str(refused).encode())


def test_a_fault_is_told_without_its_inside(organisation: Organisation) -> None:
    door = Door(paths=re.compile("/broken"), handler=fails, told=told, limit_of_strangers=10)
    app = build_app(organisation, TOKEN, [door])
    long, known = "x" * 11, {"Authorization": "Bearer x"}
    answers = asked(
        app,
        [
            ("GET", "/broken", "", {"X-Request-Id": "r-1"}),
            ("POST", "/broken", long, {}),
            ("POST", "/broken", long, known),
            ("POST", "/broken", long, KNOWN),
        ],
    )
    assert [one.status_code for one in answers] == [500, 413, 401, 500]
    assert answers[0].text == "something failed here; the log of the server has details"
    assert answers[0].headers["x-request-id"] == "r-1"
    assert answers[0].headers["x-content-type-options"] == "nosniff"


def test_a_long_body_is_read_from_somebody_who_is_known_only(organisation: Organisation) -> None:
    app = build_app(organisation, TOKEN, DOORS)
    space = " " * 70_000
    with_session = SOAP.replace(
        "<s:Body>",
        "<s:Header><SessionHeader xmlns='{}'><sessionID>{}"
        "</sessionID></SessionHeader></s:Header><s:Body>",
    )
    namespace = "urn:counterfoil:soap:generic:1"
    soap = [
        SOAP + space,
        with_session.format(namespace, "cfs_made_up") + space,
        with_session.format(namespace, TOKEN) + space,
    ]
    long = "{" + space + "}"
    stranger, made_up, known = asked(app, [("POST", "/soap", body, {}) for body in soap])
    assert "body_too_large" in stranger.text
    assert "unauthorized" in made_up.text
    assert "describeResponse" in known.text
    asks = [{}, {"sessionid": "x"}, {"Authorization": "Bearer x"}, {"sessionid": TOKEN}]
    answers = asked(app, [("POST", "/rest/2.0/ACCOUNT", long, headers) for headers in asks])
    assert [one.status_code for one in answers] == [400, 401, 401, 400]
    sign_in = asked(app, [("POST", "/api/v1/sessions", long, {})])[0]
    assert sign_in.status_code == 413


def test_who_is_known_waits_for_no_password(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, begun = threading.Event(), threading.Semaphore(0)

    def slow(_stored: str | None, _password: str) -> bool:
        begun.release()
        return not ended.wait(20)

    monkeypatch.setattr("counterfoil.platform.access.callers.is_password", slow)
    app = build_app(organisation, TOKEN, DOORS)
    with organisation.database.transaction(now=organisation.clock()) as uow:
        user = create_user(uow, "ada")
        token, _ = begin_session(uow, user["id"], "password")

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        known = {"Authorization": f"Bearer {token}"}
        found: list[int] = []
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://here", timeout=30) as client,
            anyio.create_task_group() as group,
        ):
            for n in range(20):
                who = {"username": f"u{n}", "password": "wrong password"}
                group.start_soon(partial(client.post, "/api/v1/sessions", json=who))
                group.start_soon(partial(client.post, "/rest/2.0/login", json=who))
                group.start_soon(partial(client.get, "/api/v1/me", auth=(f"v{n}", "wrong")))
            await anyio.to_thread.run_sync(partial(begun.acquire, timeout=10))
            with anyio.move_on_after(5):
                for method, path, body, _ in EACH:
                    answer = await client.request(method, path, content=body, headers=known)
                    found.append(answer.status_code)
            ended.set()
        return found

    assert anyio.run(ask) == [404, 500, 404]
