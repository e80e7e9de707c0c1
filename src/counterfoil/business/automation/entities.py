"""Declarations of the automation room: what became of telling an event to who listens."""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    choice,
    instant,
    integer,
    reference,
    text,
)

DELIVERY = Entity(
    name="delivery",
    apart=True,
    plural="deliveries",
    help="One event for one webhook or mail rule: waiting, delivered or given up.",
    created_by_command=True,
    history=False,
    unique=(("event_id", "subscriber"),),
    indexes=(("subscriber", "state", "next_attempt_at", "id"),),
    fields=(
        reference("outgoing_event", name="event_id", required=True, on_delete="cascade"),
        text("subscriber", required=True, max_length=40, help="webhooks/3 or mail-rules/1."),
        reference("webhook"),
        reference("mail_rule"),
        choice("state", ("pending", "delivered", "failed"), required=True),
        integer("attempts", required=True, help="All that were made."),
        integer("failures", required=True, help="Failed ones since the start or a replay."),
        instant("next_attempt_at", help="When it is tried next; empty when it is not."),
        instant("delivered_at"),
        integer("status_code", help="Of the last attempt, as the receiver answered."),
        text("error", max_length=1000, help="What was wrong with the last attempt."),
    ),
)

DELIVERY_ATTEMPT = Entity(
    name="delivery_attempt",
    apart=True,
    plural="delivery_attempts",
    help="The delivery log: one attempt and what came of it.",
    created_by_command=True,
    history=False,
    fields=(
        reference("delivery", required=True, indexed=True, on_delete="cascade"),
        integer("attempt", required=True, help="From 1."),
        instant("attempted_at", required=True),
        integer("milliseconds", required=True, help="How long it took."),
        integer("status_code"),
        text("error", max_length=1000, help="Empty when it was delivered."),
        text("response", max_length=1000, help="The beginning of what the receiver answered."),
        instant("next_attempt_at"),
    ),
)

ENTITIES = (DELIVERY, DELIVERY_ATTEMPT)
