"""A receiver of webhooks, a mail server, and an organisation with events to tell."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message as Mail
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller

from counterfoil.bootstrap import EVENT_TYPES, Organisation
from counterfoil.business.automation.delivering import Courier
from counterfoil.business.automation.mailing import MailServer, SmtpMailer
from counterfoil.business.automation.messages import Channels
from counterfoil.business.automation.posting import HttpPoster
from counterfoil.business.automation.rules import subscriber_checks
from counterfoil.business.billing.events import INVOICE_FINALIZED
from counterfoil.platform.outbox.emitting import EventType, emit
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 2, 1, 6, 0, tzinfo=UTC)
SECRET = "whsec_bW9yZSB0aGFuIHR3ZW50eS1mb3VyIHJhbmRvbSBieXRlcw=="


@dataclass(frozen=True)
class Received:
    """One request as a receiver got it."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A real HTTP server. ``answers`` are given one by one, then always 204."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    holding: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    silent: bool = False

    def ids(self) -> list[str]:
        return [one.headers["webhook-id"] for one in self.received]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    found.holding.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.received.append(Received(self.path, headers, body))
            found.arrived.set()
            found.holding.wait(30)
            if found.silent:
                self.close_connection = True
                return
            status, answer = found.answers.pop(0) if found.answers else (204, b"")
            self.send_response(status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_arguments: object) -> None:
            """A sender that hangs up is no fault."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_address[1]}/hooks"
        try:
            yield found
        finally:
            found.holding.set()
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """A real SMTP server, and what it was handed."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answer: str = "250 OK"

    async def handle_DATA(self, _server: object, _session: object, envelope) -> str:  # type: ignore[no-untyped-def]  # noqa: N802
        if self.answer.startswith("250"):
            self.recipients += envelope.rcpt_tos
            self.mails.append(message_from_bytes(envelope.content))
        return self.answer


class AnyPort(Controller):
    """A server that takes any free port and then knows which."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    found = Mailbox()
    controller = AnyPort(found, hostname="127.0.0.1", port=0)
    controller.start()
    found.port = controller.port
    try:
        yield found
    finally:
        controller.stop()


@dataclass
class Post:
    """An organisation whose events go out; its clock stands still until it is moved."""

    database: Database
    courier: Courier
    now: datetime = NOW

    def wait(self, span: timedelta) -> None:
        self.now += span

    def subscribe(self, url: str, name: str = "CRM", *event_types: str) -> int:
        values = {
            "external_id": name,
            "url": url,
            "event_types": list(event_types or ("invoice.finalized",)),
            "secret": SECRET,
        }
        with self.database.transaction(now=self.now) as uow:
            return int(uow.create("webhook", values)["id"])

    def tell(self, *keys: str, event_type: EventType = INVOICE_FINALIZED) -> None:
        with self.database.transaction(now=self.now) as uow:
            for key in keys:
                data = {"number": f"INV-{key}"}
                emit(uow, event_type, key=key, subject=f"invoices/{key}", data=data)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self.database.transaction(now=self.now) as uow:
            return [tuple(row.values()) for row in uow.query(sql)]

    def deliveries(self) -> list[tuple[object, ...]]:
        """State, attempts, status and error of every delivery."""
        return self.rows("SELECT state, attempts, status_code, error FROM delivery ORDER BY id")


@pytest.fixture
def post(organisation: Organisation, mailbox: Mailbox) -> Iterator[Post]:
    checks = subscriber_checks(EVENT_TYPES, private=True)
    database = Database(organisation.database.url, organisation.database.catalogue, checks)
    poster = HttpPoster(private=True)
    server = MailServer("smtp", "127.0.0.1", mailbox.port, "billing@seller.example")
    channels = Channels(poster, SmtpMailer(server))
    found = Post(database, Courier(database, channels, lambda: found.now))
    yield found
    poster.close()
    database.close()
