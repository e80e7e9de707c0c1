"""Events by mail: plain text, through the mail server that COUNTERFOIL_SMTP_URL names."""

import smtplib
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from counterfoil.business.automation.messages import Message, Outcome
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.exact_json import plain

VARIABLE = "COUNTERFOIL_SMTP_URL"
EXAMPLE = "smtp://user:password@mail.example.com:587?from=billing@example.com"

TIMEOUT = 15.0
"""Seconds the mail server has for each step."""

_PORTS = {"smtp": 25, "smtps": 465}
_OWN_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and whom it comes from. ``smtps`` speaks TLS from the start."""

    scheme: str
    host: str
    port: int
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The server of a URL like EXAMPLE; refused, without showing it, when it is not one."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
            sender = parse_qs(parts.query)["from"][0]
        except (KeyError, ValueError):
            port, sender = 0, ""
        if not port or not parts.hostname or "@" not in sender:
            message = f"is not like {EXAMPLE} (or smtps://…)"
            raise Refused(Problem("wrong_value", message, VARIABLE))
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.scheme, parts.hostname, port, sender, user, password)


class SmtpMailer:
    """Mails messages one at a time; without a server every attempt fails and says why."""

    def __init__(self, server: MailServer | None, *, timeout: float = TIMEOUT) -> None:
        self._server = server
        self._timeout = timeout

    def mail(self, recipient: str, message: Message, now: datetime) -> Outcome:
        """Hand one mail over; delivered means that the mail server has taken it."""
        if self._server is None:
            return Outcome(f"there is no mail server; {VARIABLE} names one")
        try:
            with self._connected(self._server) as connection:
                connection.send_message(_mail(self._server.sender, recipient, message, now))
        except smtplib.SMTPRecipientsRefused as refused:
            code, answer = next(iter(refused.recipients.values()))
            return _failed(code, answer)
        except smtplib.SMTPResponseException as refused:
            return _failed(refused.smtp_code, refused.smtp_error)
        except (smtplib.SMTPException, OSError) as fault:
            return Outcome(f"the mail server could not be used: {fault}"[:1000])
        return Outcome(status_code=250)

    def _connected(self, server: MailServer) -> smtplib.SMTP:
        if server.scheme == "smtps":
            context = ssl.create_default_context()
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=self._timeout, context=context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=self._timeout)
            connection.ehlo()
            if connection.has_extn("starttls"):
                connection.starttls(context=ssl.create_default_context())
            elif server.password and server.host not in _OWN_MACHINE:
                connection.close()
                raise smtplib.SMTPException("it has no TLS, so the password is not sent")
        if server.user:
            connection.login(server.user, server.password)
        return connection


def _failed(code: int, answer: bytes | str) -> Outcome:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return Outcome(f"the mail server answered {code} {text}"[:1000], code)


def _mail(sender: str, recipient: str, message: Message, now: datetime) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = f"{message.type}: {message.subject}"
    mail["Date"] = format_datetime(now)
    # The same in every attempt, so that a mail program can tell a repeated one.
    mail["Message-ID"] = f"<{message.message_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    lines = [f"{message.type} at {message.occurred_at.isoformat(timespec='seconds')}", ""]
    lines += _described(plain(message.data))
    mail.set_content("\n".join(lines) + "\n")
    return mail


def _described(value: object, name: str = "") -> Iterator[str]:
    """One line ``name: value`` per plain value inside."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _described(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for position, part in enumerate(value, start=1):
            yield from _described(part, f"{name}.{position}")
    else:
        yield f"{name.replace('_', ' ')}: {'' if value is None else value}"
