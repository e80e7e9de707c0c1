"""Replay of deliveries; webhooks, mail rules, events and the log are records like all others."""

from counterfoil.business.automation.delivering import replay_delivery
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction
from counterfoil.interfaces.rest.records import record_answer, record_id
from counterfoil.platform.records.unit_of_work import UnitOfWork


def post_replay(uow: UnitOfWork, call: Call) -> Answer:
    """Make a delivery due again."""
    return record_answer(replay_delivery(uow, record_id(call)))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/deliveries/{id}/replay",
        command="replay_delivery",
        handler=in_transaction(post_replay),
        summary="Send a delivery again",
        help="It is due at once, whatever became of it, under the same webhook-id.",
        answers={JSON: {"$ref": "#/components/schemas/Delivery"}},
        makes=("delivery", "delivery_attempt"),
    ),
)
