"""Orders over HTTP: placed, approved, released, provisioned task by task, cancelled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import cast

from counterfoil.business.orders.calling import CALL_BACK_PATH, CallBack, take_call_back
from counterfoil.business.orders.commands import (
    approve_orders,
    cancel_orders,
    release_orders,
    submit_orders,
)
from counterfoil.business.orders.notation import LINE_FORM, ORDER_FORM, read_orders
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.orders.queries import list_tasks, show_order
from counterfoil.business.orders.tasks import complete_tasks, retry_orders, skip_tasks
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body, whole_numbers
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Desk, Endpoint, Parameter
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.records import json_object, record_id
from counterfoil.interfaces.rest.schemas import Schema, create_schema
from counterfoil.platform.metadata import FULL_ACCESS, Entity, Record
from counterfoil.platform.metadata.fields import choice, document, text
from counterfoil.platform.metadata.fields import date as day
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOTHING = Entity(name="no_fields", plural="no_fields", fields=())
COMMENT = Entity(
    name="order_comment", plural="order_comments", fields=(text("comment", max_length=1000),)
)
CANCELLATION = Entity(
    name="order_cancellation",
    plural="order_cancellations",
    fields=(
        text("reason", required=True, max_length=1000),
        document("lines", help="Positions of the lines that are cancelled; all where absent."),
    ),
)
TASKS = document("tasks", required=True, help="Ids of tasks.")
COMPLETION = Entity(
    name="task_completion",
    plural="task_completions",
    fields=(
        TASKS,
        day("on", help="The day on which they were done; today where absent."),
        text("note", max_length=2000),
    ),
)
SKIPPING = Entity(
    name="task_skipping",
    plural="task_skippings",
    fields=(TASKS, text("reason", required=True, max_length=2000)),
)
CALL_BACK = Entity(
    name="call_back",
    plural="call_backs",
    fields=(
        choice("result", ("done", "failed"), required=True),
        text("message", max_length=2000, help="Kept with the task."),
    ),
)
EXAMPLE = {
    "external_id": "A-1",
    "account": "ACME",
    "purchase_order": "PO-4711",
    "lines": [
        {"rate_plan": "rooms", "site": "HQ", "quantities": {"room": "2"}},
        {"kind": "cancel", "subscription": "S-1", "effective_date": "2026-12-31"},
    ],
}

Action = Callable[[UnitOfWork, Call], Answer]


def post_orders(uow: UnitOfWork, call: Call) -> Answer:
    """Place one order or many, all or none."""
    body = json_object(call)
    rows = body["orders"] if body.keys() == {"orders"} else [body]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", "orders"))
    return json_answer({"orders": place_orders(uow, read_orders(rows))}, 201)


def post_submit(uow: UnitOfWork, call: Call) -> Answer:
    """Submit a draft."""
    _nothing(call)
    return json_answer(submit_orders(uow, [record_id(call)])[0])


def post_approval(uow: UnitOfWork, call: Call) -> Answer:
    """Approve an order."""
    comment = command_body(call, COMMENT)["comment"] if call.body else None
    found = approve_orders(uow, [record_id(call)], comment=cast("str | None", comment))
    return json_answer(found[0])


def post_release(uow: UnitOfWork, call: Call) -> Answer:
    """Begin to provision an order."""
    _nothing(call)
    return json_answer(release_orders(uow, [record_id(call)])[0])


def post_retry(uow: UnitOfWork, call: Call) -> Answer:
    """Try again what has failed."""
    _nothing(call)
    return json_answer(retry_orders(uow, [record_id(call)])[0])


def post_cancellation(uow: UnitOfWork, call: Call) -> Answer:
    """Cancel what is not activated."""
    body = command_body(call, CANCELLATION)
    positions = whole_numbers(body["lines"], "lines")
    found = cancel_orders(uow, [record_id(call)], reason=str(body["reason"]), positions=positions)
    return json_answer(found[0])


def post_completion(uow: UnitOfWork, call: Call) -> Answer:
    """Say that tasks are done."""
    body = command_body(call, COMPLETION)
    made = complete_tasks(
        uow,
        _tasks(body),
        on=cast("date | None", body["on"]),
        note=cast("str | None", body["note"]),
    )
    return json_answer({"orders": made})


def post_skipping(uow: UnitOfWork, call: Call) -> Answer:
    """Let tasks be."""
    body = command_body(call, SKIPPING)
    return json_answer({"orders": skip_tasks(uow, _tasks(body), reason=str(body["reason"]))})


def get_overview(uow: UnitOfWork, call: Call) -> Answer:
    """An order with its lines by site, region and country, and its tasks."""
    one = record_id(call)
    shown = show_order(uow, one)
    tasks = list_tasks(uow, order_id=one, everything=True, limit=100_000)
    return json_answer(
        {"order": shown.order, "lines": shown.lines, "groups": shown.groups, "tasks": tasks}
    )


def post_call_back(desk: Desk, call: Call) -> Answer:
    """Take what an outside system says of a task; its link is all it has to show."""
    database = desk.organisation.database.acting(
        actor="outside system", source="rest", request_id=call.request_id
    )
    # What callers with a key of their own were answered is not for whoever has a link.
    headers = {name: value for name, value in call.headers.items() if name != "idempotency-key"}
    trusted = replace(call, caller=replace(call.caller, access=FULL_ACCESS), headers=headers)
    organisation = replace(desk.organisation, database=database)
    return _TAKEN(replace(desk, organisation=organisation), trusted)


def _take_call_back(uow: UnitOfWork, call: Call) -> Answer:
    body = command_body(call, CALL_BACK)
    told = CallBack(body["result"] == "done", cast("str | None", body["message"]))
    return json_answer(take_call_back(uow, dict(call.query).get("token", ""), told))


_TAKEN = in_transaction(_take_call_back)


def _tasks(body: Record) -> list[int]:
    return whole_numbers(body["tasks"], "tasks") or []


def _nothing(call: Call) -> None:
    if call.body:
        command_body(call, NOTHING)


def _order_schema() -> dict[str, Schema]:
    one = create_schema(ORDER_FORM)
    lines = {"type": "array", "items": create_schema(LINE_FORM)}
    order: Schema = {**one, "properties": {**cast("Schema", one["properties"]), "lines": lines}}
    # Custom fields of orders and lines stand beside those of the form.
    order["patternProperties"] = {"^x_": {}}
    lines["items"] = {**cast("Schema", lines["items"]), "patternProperties": {"^x_": {}}}
    many: Schema = {
        "type": "object",
        "properties": {"orders": {"type": "array", "items": order}},
        "required": ["orders"],
        "additionalProperties": False,
    }
    return {JSON: {"anyOf": [order, many]}}


def _of_order(
    word: str, command: str, action: Action, shape: Entity, said: str, more: str = ""
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/orders/{{id}}/{word}",
        command=command,
        subject="order",
        handler=in_transaction(action),
        summary=said,
        help=more,
        bodies=body_schema(shape),
        answers={JSON: {"type": "object"}},
        makes=("provisioning_task",) if word == "release" else (),
    )


def _of_tasks(word: str, action: Action, shape: Entity, said: str) -> Endpoint:
    return Endpoint(
        method="POST",
        path=f"/provisioning-tasks/{word}",
        command="complete_tasks",
        handler=in_transaction(action),
        summary=said,
        bodies=body_schema(shape),
        answers={JSON: {"type": "object"}},
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/orders/place",
        command="place_orders",
        handler=in_transaction(post_orders),
        summary="Place one order or many, with their lines",
        help="All or none; a problem's line is the position of the order line. An order with an "
        "external id that stands already adds nothing when it asks for the same.",
        bodies=_order_schema(),
        examples={JSON: EXAMPLE},
        answers={JSON: {"type": "object"}},
        status=201,
        makes=("order", "order_line"),
    ),
    _of_order("submit", "place_orders", post_submit, NOTHING, "Submit a draft of an order"),
    _of_order("approve", "approve_orders", post_approval, COMMENT, "Approve an order"),
    _of_order(
        "release", "release_orders", post_release, NOTHING, "Begin to provision an order",
        "Tasks are made; lines for which nothing has to be done are activated at once.",
    ),
    _of_order("retry", "complete_tasks", post_retry, NOTHING, "Try again what of an order failed"),
    _of_order(
        "cancel", "cancel_orders", post_cancellation, CANCELLATION,
        "Cancel what of an order is not activated",
    ),
    Endpoint(
        method="GET",
        path="/orders/{id}/overview",
        command="see_orders",
        subject="order",
        handler=reading(get_overview),
        summary="An order with its lines by site, region and country, and its tasks",
        answers={JSON: {"type": "object"}},
    ),
    Endpoint(
        method="POST",
        path=CALL_BACK_PATH,
        audience="anyone",
        handler=post_call_back,
        summary="Say that an outside system has done its task, or failed",
        help="By the link it was sent. 403: a link that is not ours; 410: its time is over; 409: "
        "it was used.",
        parameters=(Parameter(name="token", required=True, help="As it stands in the link."),),
        bodies=body_schema(CALL_BACK),
        answers={JSON: {"type": "object"}},
        limit=64 * 1024,
    ),
    _of_tasks("complete", post_completion, COMPLETION, "Say that tasks are done"),
    _of_tasks("skip", post_skipping, SKIPPING, "Let tasks be, for a reason"),
)  # fmt: skip
