"""The way of orders to outside systems: posted and signed as webhooks are."""

from contextlib import closing
from datetime import datetime

from counterfoil.business.automation.messages import Message
from counterfoil.business.automation.posting import TIMEOUT, HttpPoster
from counterfoil.business.orders.calling import CallOutcome, OutsideCall, OutsideSystems

EVENT_TYPE = "provisioning.requested"


def outside_systems(*, private: bool, timeout: float = TIMEOUT) -> OutsideSystems:
    """Calls over HTTPS; with ``private`` also over HTTP and to private addresses."""

    def call(asked: OutsideCall, now: datetime) -> CallOutcome:
        message = Message(asked.message_id, EVENT_TYPE, asked.subject, now, asked.data)
        with closing(HttpPoster(private=private, timeout=timeout)) as poster:
            outcome = poster.post(asked.url, asked.secret, message, now)
        return CallOutcome(outcome.error, outcome.gone)

    return call
