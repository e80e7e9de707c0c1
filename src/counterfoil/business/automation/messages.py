"""What is sent to one receiver, and what came of it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from counterfoil.platform.records.exact_json import plain

LONGEST_RESPONSE = 1000
"""Characters of a receiver's answer that are kept."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event as it is told. ``message_id`` is the same in every attempt and to everyone."""

    message_id: str
    type: str
    subject: str
    occurred_at: datetime
    data: object

    @property
    def body(self) -> bytes:
        """The message as JSON: type, timestamp, subject and data; decimals are text."""
        return msgspec.json.encode(
            {
                "type": self.type,
                "timestamp": self.occurred_at.astimezone(UTC),
                "subject": self.subject,
                "data": plain(self.data),
            }
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: without an error the message was delivered.

    ``gone``: the receiver wants nothing any more.
    """

    error: str = ""
    status_code: int | None = None
    response: str = ""
    gone: bool = False


class WebhookChannel(Protocol):
    """Posts messages."""

    def post(self, url: str, secret: str, message: Message, now: datetime) -> Outcome:
        """Post one message, signed with the secret; never raises for what a receiver does."""
        ...


class MailChannel(Protocol):
    """Mails messages."""

    def mail(self, recipient: str, message: Message, now: datetime) -> Outcome:
        """Mail one message; never raises for what a mail server does."""
        ...


@dataclass(frozen=True, slots=True)
class Channels:
    """The ways out of an organisation."""

    webhooks: WebhookChannel
    mail: MailChannel
