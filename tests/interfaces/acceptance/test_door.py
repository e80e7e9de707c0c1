"""The page of a quote's link: shown to who has it, accepted once, and safe."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from tests.business.sales.conftest import NOW, Shop, copied, market

from counterfoil.business.sales.queries import Quote
from counterfoil.business.sales.sending import Sent
from counterfoil.interfaces.acceptance.door import AcceptanceDoor
from counterfoil.interfaces.cli.serve import listening_socket
from counterfoil.interfaces.http.rate_limit import RateLimit
from counterfoil.interfaces.rest.app import build_app

__all__ = ["market"]

EVIL = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Offered:
    """A quote that was sent, and a browser without any credentials."""

    shop: Shop
    quote: Quote
    sent: Sent
    browser: httpx.Client

    @property
    def path(self) -> str:
        return f"/accept/{self.sent.token}"


@contextmanager
def browse(shop: Shop, pace: RateLimit) -> Iterator[httpx.Client]:
    """A browser at a server of the shop."""
    app = build_app(shop.organisation, "t" * 20, [AcceptanceDoor(pace).door()])
    with listening_socket("127.0.0.1", 0) as listener:
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60) as browser:
            yield browser
        running.should_exit = True
        thread.join()


@pytest.fixture
def offered(market: Shop) -> Iterator[Offered]:
    object.__setattr__(market.organisation, "clock", lambda: NOW)
    with market.work() as uow:
        if not uow.list("seller", limit=1).records:
            uow.create("seller", {"name": f"Seller & Sons {EVIL}"})
        uow.execute("UPDATE account SET name = :name", name=f"Acme {EVIL}")
    quote = copied(market, title=EVIL, terms=f"{EVIL}\n30 days notice.")
    with browse(market, RateLimit(1000, 1000)) as browser:
        yield Offered(market, quote, market.send(quote), browser)


def test_who_has_the_link_sees_the_quote_and_accepts_it_once(offered: Offered) -> None:
    browser, path = offered.browser, offered.path
    page = browser.get(path)
    assert page.status_code == 200
    assert EVIL not in page.text
    assert "Seller &amp; Sons &lt;script&gt;" in page.text
    assert "399.96" in page.text
    assert '<form method="post"' in page.text
    document = browser.get(f"{path}/quote.pdf")
    assert (document.headers["content-type"], document.content[:5]) == ("application/pdf", b"%PDF-")
    unconfirmed = browser.post(path, data={"name": "Ada"})
    assert (unconfirmed.status_code, offered.shop.read(offered.quote).row["status"]) == (
        422,
        "sent",
    )
    form = {"name": f"Ada {EVIL}", "confirm": "yes"}
    done = browser.post(path, data=form)
    assert done.status_code == 200, done.text
    assert "Accepted by Ada &lt;script&gt;" in done.text
    row = offered.shop.read(offered.quote).row
    assert (row["status"], row["accepted_by"], row["accepted_from"]) == (
        "accepted",
        f"Ada {EVIL}",
        "127.0.0.1",
    )
    again = browser.post(path, data=form)
    assert (again.status_code, "accepted already" in again.text) == (409, True)
    assert "<form" not in browser.get(path).text


def test_the_page_is_safe(offered: Offered) -> None:
    answer = offered.browser.get(offered.path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "set-cookie" not in answer.headers
    assert offered.shop.read(offered.quote).row["link_key"] not in answer.text


def test_nothing_is_told_without_the_link(offered: Offered) -> None:
    before = offered.shop.read(offered.quote).row
    browser, path = offered.browser, offered.path
    for method, place, body, status in (
        ("GET", f"{path[:-1]}x", b"", 404),
        ("GET", "/accept/1.1.x", b"", 404),
        ("POST", f"{path[:-1]}x", b"name=Ada&confirm=yes", 404),
        ("DELETE", path, b"", 405),
        ("POST", f"{path}/quote.pdf", b"", 405),
        ("POST", path, b"name=%ff", 400),
        ("POST", path, b"&".join(b"a%d=1" % n for n in range(20)), 400),
        ("POST", path, b"x" * 20_000, 413),
    ):
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = browser.request(method, place, content=body, headers=headers)
        assert answer.status_code == status, (method, place, answer.text)
        assert answer.headers["content-type"].startswith("text/html")
        assert "Acme" not in answer.text
    assert browser.post(path, json={"name": "Ada"}).status_code == 415
    assert offered.shop.read(offered.quote).row == before


def test_who_asks_too_often_waits(offered: Offered) -> None:
    with browse(offered.shop, RateLimit(1, 3)) as browser:
        answers = [browser.get("/accept/1.1.x").status_code for _ in range(5)]
    assert answers == [404, 404, 404, 429, 429]
