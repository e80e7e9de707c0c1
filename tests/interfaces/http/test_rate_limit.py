"""How often a caller may ask, on a clock of the test's own."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from counterfoil.core.problems import Refused
from counterfoil.interfaces.cli.serve import rate_limit
from counterfoil.interfaces.http.rate_limit import (
    MOST_CALLERS,
    OPEN_TO_OTHERS,
    Buckets,
    RateGate,
    RateLimit,
    read_rate_limit,
)
from counterfoil.platform.access.callers import ADMIN, NOBODY, Caller


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_then_the_steady_rate():
    clock = Clock()
    buckets = Buckets(RateLimit(2, 3), clock)
    assert [buckets.take("jan") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("ada") == 0
    clock.now = 0.5
    assert [buckets.take("jan"), buckets.take("jan")] == [0, 0.5]
    clock.now = 60
    assert [buckets.take("jan") for _ in range(4)] == [0, 0, 0, 0.5]


def test_the_buckets_remembered_are_bounded():
    buckets = Buckets(RateLimit(1, 1), Clock())
    for number in range(MOST_CALLERS + 10):
        assert buckets.take(str(number)) == 0
    assert buckets.take(str(MOST_CALLERS + 9)) == 1
    assert buckets.take("0") == 0


def answered(gate: RateGate, caller: Caller) -> tuple[int, dict[str, str]]:
    """Status and headers of one request of that caller."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "path": "/api/v1/accounts", "caller": caller}
    asyncio.run(gate(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return int(sent[0]["status"]), headers


async def application(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def test_who_asks_too_often_is_told_when_to_come_again():
    clock = Clock()
    gate = RateGate(application, RateLimit(1, 2), clock)
    assert [answered(gate, ADMIN)[0] for _ in range(3)] == [200, 200, 429]
    clock.now = 0.25
    status, headers = answered(gate, ADMIN)
    assert (status, headers["retry-after"]) == (429, "1")
    assert headers["content-type"] == "application/problem+json"
    assert answered(gate, NOBODY)[0] == 200
    clock.now = 1.0
    assert answered(gate, ADMIN)[0] == 200


@pytest.mark.parametrize(
    ("given", "host", "limit"),
    [
        (None, "127.0.0.1", None),
        (None, "0.0.0.0", OPEN_TO_OTHERS),
        ("off", "0.0.0.0", None),
        ("20/s", "127.0.0.1", RateLimit(20, 200)),
        ("20/s, burst 30", "::1", RateLimit(20, 30)),
    ],
)
def test_the_limit_is_set_or_follows_from_who_can_reach_the_server(
    given: str | None, host: str, limit: RateLimit | None
):
    assert rate_limit(given, host) == limit


@pytest.mark.parametrize("text", ["fast", "0/s", "5/s, burst 0", "5", "-1/s"])
def test_what_is_no_rate_is_refused(text: str):
    with pytest.raises(Refused) as refused:
        read_rate_limit(text)
    assert refused.value.problems[0].field == "COUNTERFOIL_RATE_LIMIT"
