"""Declarations of the outbox: what has happened, and who wants to hear of it."""

from counterfoil.platform.metadata import Entity, Field
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    boolean,
    choice,
    document,
    instant,
    text,
)

OUTGOING_EVENT = Entity(
    name="outgoing_event",
    apart=True,
    plural="outgoing_events",
    help="Something that has happened, for webhooks and mail rules to tell.",
    created_by_command=True,
    history=False,
    unique=(("type", "key"),),
    indexes=(("state", "occurred_at"),),
    fields=(
        text("type", required=True, max_length=60),
        text("key", required=True, help="Of events of one type with the same key, one is kept."),
        text("message_id", required=True, help="The webhook-id of every message about it."),
        text("subject", required=True, help="What it is about, as in a REST path: invoices/17."),
        instant("occurred_at", required=True),
        document("data", required=True),
        choice(
            "state",
            ("new", "routed"),
            required=True,
            help="routed: there is a delivery for everyone who wants to hear of it.",
        ),
    ),
)

EVENT_TYPES_HELP = 'Names of event types, such as ["invoice.finalized"]; ["*"] means all.'


def _event_types() -> Field:
    return document("event_types", required=True, help=EVENT_TYPES_HELP)


WEBHOOK = Entity(
    name="webhook",
    apart=True,
    plural="webhooks",
    help="Where events are posted to, signed by the Standard Webhooks convention.",
    fields=(
        EXTERNAL_ID,
        text("url", required=True, max_length=2000, help="https://…"),
        _event_types(),
        text(
            "secret",
            required=True,
            secret=True,
            max_length=100,
            help="whsec_ and 24 to 64 random bytes in base64; never answered.",
        ),
        boolean("active", required=True, default=True, help="Nothing is sent while it is not."),
    ),
)

MAIL_RULE = Entity(
    name="mail_rule",
    apart=True,
    plural="mail_rules",
    help="Whom events are told by mail.",
    fields=(
        EXTERNAL_ID,
        text("email", required=True, max_length=254),
        _event_types(),
        boolean("active", required=True, default=True, help="Nothing is sent while it is not."),
    ),
)

ENTITIES = (OUTGOING_EVENT, WEBHOOK, MAIL_RULE)
