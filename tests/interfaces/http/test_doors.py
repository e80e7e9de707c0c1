"""Doors: who asks too often waits at all of them, and a fault tells nothing of its inside."""

import re

import anyio
import httpx
from fastapi import FastAPI

from counterfoil.bootstrap import Organisation
from counterfoil.core.problems import Refused
from counterfoil.interfaces.cli.serve import DOORS
from counterfoil.interfaces.http.doors import Door
from counterfoil.interfaces.http.exchange import Answer, Call, Desk
from counterfoil.interfaces.http.rate_limit import RateLimit
from counterfoil.interfaces.rest import build_app

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
        ],
    )
    assert [one.status_code for one in answers] == [500, 413, 500]
    assert answers[0].text == "something failed here; the log of the server has details"
    assert answers[0].headers["x-request-id"] == "r-1"
    assert answers[0].headers["x-content-type-options"] == "nosniff"
