"""The commands of subscriptions: activate, change a quantity, cancel."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, cast

from counterfoil.business.subscriptions.commands import (
    TERMS,
    Activation,
    activate_subscriptions,
    cancel_subscriptions,
    change_quantity,
)
from counterfoil.business.subscriptions.entities import SUBSCRIPTION as SUBSCRIPTION_ENTITY
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import (
    body_schema,
    checked_rows,
    command_body,
    rows_schema,
)
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction
from counterfoil.interfaces.rest.records import record_answer, record_id
from counterfoil.interfaces.rest.schemas import Schema
from counterfoil.platform.metadata import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.unit_of_work import UnitOfWork

ACTIVATION = Entity(
    name="activation",
    plural="subscriptions",
    fields=(
        Field(name="external_id", required=True),
        Field(name="account", required=True, help="External id of the account."),
        Field(name="rate_plan", required=True, help="External id of the rate plan."),
        Field(name="start_date", type=FieldType.DATE, required=True),
        Field(name="end_date", type=FieldType.DATE, help="First day no longer served."),
        Field(
            name="trial_end",
            type=FieldType.DATE,
            help="First day after the trial; defaults to the trial of the rate plan.",
        ),
        Field(
            name="anchor_date",
            type=FieldType.DATE,
            help="Defaults to the end of the trial, without one to the start date.",
        ),
        Field(name="site", help="External id of a site of the account."),
        Field(name="contact", help="External id of a contact of the account."),
        Field(name="contract", help="External id of a contract with the account or one above."),
        Field(
            name="invoice_account",
            help="External id of the account it is invoiced at: its own or one above that may be.",
        ),
        Field(name="purchase_order", max_length=60, help="The customer's number of the order."),
        *(field for field in SUBSCRIPTION_ENTITY.fields if field.name in TERMS),
        Field(
            name="quantities",
            type=FieldType.DOCUMENT,
            default={},
            help="External id of a recurring or one-time charge to its quantity; 1 where absent.",
        ),
        Field(
            name="identifiers",
            type=FieldType.DOCUMENT,
            default=[],
            help="Tokens in usage records that mean this subscription.",
        ),
    ),
)

QUANTITY_CHANGE = Entity(
    name="quantity_change",
    plural="quantity_changes",
    fields=(
        Field(name="charge", required=True, help="External id of the charge."),
        Field(name="quantity", type=FieldType.DECIMAL, required=True, minimum=0),
        Field(name="from_date", type=FieldType.DATE, required=True, help="First day it holds."),
    ),
)

CANCELLATION = Entity(
    name="cancellation",
    plural="cancellations",
    fields=(
        Field(
            name="end_date",
            type=FieldType.DATE,
            required=True,
            help="First day no longer served.",
        ),
    ),
)

QUANTITY = Field(name="quantities", type=FieldType.DECIMAL, minimum=0)
IDS: Schema = {
    "type": "object",
    "properties": {"ids": {"type": "array", "items": {"type": "integer"}}},
    "required": ["ids"],
}
SUBSCRIPTION: Schema = {"$ref": "#/components/schemas/Subscription"}


def post_activation(uow: UnitOfWork, call: Call) -> Answer:
    """Activate one subscription or many; answers their ids in order."""
    rows = checked_rows(call, ACTIVATION)
    problems: list[Problem] = []
    activations = [activation(row, number, problems) for number, row in enumerate(rows, start=1)]
    if problems:
        raise Refused(problems)
    return json_answer({"ids": activate_subscriptions(uow, activations)}, 201)


def activation(row: Record, number: int, problems: list[Problem]) -> Activation:
    """The activation a checked row asks for; adds what is wrong inside its documents."""
    quantities, identifiers = row.pop("quantities"), row.pop("identifiers")
    amounts: dict[str, Decimal] = {}
    if isinstance(quantities, Mapping):
        for charge, amount in quantities.items():
            try:
                amounts[charge] = cast("Decimal", read_value(QUANTITY, amount))
            except ValueError as error:
                place = f"quantities.{charge}"
                problems.append(Problem("wrong_value", str(error), place, line=number))
    else:
        message = "has to be an object: external id of a charge to its quantity"
        problems.append(Problem("wrong_type", message, "quantities", line=number))
    if not isinstance(identifiers, list) or not all(isinstance(one, str) for one in identifiers):
        message = "has to be a list of texts"
        problems.append(Problem("wrong_type", message, "identifiers", line=number))
        identifiers = []
    terms: dict[str, Any] = {name: row[name] for name in TERMS}
    return Activation(
        **terms,
        external_id=cast("str", row["external_id"]),
        account=cast("str", row["account"]),
        rate_plan=cast("str", row["rate_plan"]),
        start_date=cast("date", row["start_date"]),
        site=cast("str | None", row["site"]),
        contact=cast("str | None", row["contact"]),
        contract=cast("str | None", row["contract"]),
        invoice_account=cast("str | None", row["invoice_account"]),
        purchase_order=cast("str | None", row["purchase_order"]),
        end_date=cast("date | None", row["end_date"]),
        trial_end=cast("date | None", row["trial_end"]),
        anchor_date=cast("date | None", row["anchor_date"]),
        quantities=amounts,
        identifiers=tuple(identifiers),
    )


def post_quantity_change(uow: UnitOfWork, call: Call) -> Answer:
    """Change the quantity of one charge from a day on; answers the subscription."""
    subscription = record_id(call)
    body = command_body(call, QUANTITY_CHANGE)
    change_quantity(
        uow,
        subscription,
        cast("str", body["charge"]),
        cast("Decimal", body["quantity"]),
        cast("date", body["from_date"]),
    )
    return record_answer(uow.get("subscription", subscription))


def post_cancellation(uow: UnitOfWork, call: Call) -> Answer:
    """End a subscription and its charges; answers the subscription."""
    subscription = record_id(call)
    body = command_body(call, CANCELLATION)
    cancel_subscriptions(uow, [subscription], cast("date", body["end_date"]))
    return record_answer(uow.get("subscription", subscription))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/subscriptions/activate",
        command="activate_subscriptions",
        handler=in_transaction(post_activation),
        summary="Activate one subscription or many",
        bodies=rows_schema(ACTIVATION),
        answers={JSON: IDS},
        status=201,
        makes=("subscription", "subscription_charge", "usage_identifier"),
    ),
    Endpoint(
        method="POST",
        path="/subscriptions/{id}/change-quantity",
        command="change_quantity",
        subject="subscription",
        handler=in_transaction(post_quantity_change),
        summary="Change the quantity of a charge from a day on",
        bodies=body_schema(QUANTITY_CHANGE),
        answers={JSON: SUBSCRIPTION},
    ),
    Endpoint(
        method="POST",
        path="/subscriptions/{id}/cancel",
        command="cancel_subscription",
        subject="subscription",
        handler=in_transaction(post_cancellation),
        summary="End a subscription",
        bodies=body_schema(CANCELLATION),
        answers={JSON: SUBSCRIPTION},
    ),
)
