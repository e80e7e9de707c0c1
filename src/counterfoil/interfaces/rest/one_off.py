"""One-off invoices, in one call."""

from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.one_off import OneOffLine, bill_one_off
from counterfoil.business.receivables.commands import apply_credits
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, checked, command_body
from counterfoil.interfaces.rest.credit_notes import REQUEST, request_of
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.fields import date as day_field
from counterfoil.platform.metadata.fields import decimal, document, text
from counterfoil.platform.records.unit_of_work import UnitOfWork

ONE_OFF = Entity(
    name="one_off_invoice",
    plural="one_off_invoices",
    fields=(
        text("account", required=True, help="External id."),
        document(
            "lines",
            required=True,
            help="Objects with `description`, `unit_amount` and, as wanted, `quantity` (1), "
            "`unit`, `product` and `site` (external ids), `service_start`, `service_end` (the "
            "first day after).",
        ),
        text("purchase_order", max_length=60, help="That of the billing profile where absent."),
        text("reason", max_length=500, help="A note that stands on the document."),
        *(field for field in REQUEST if field.name != "reason"),
    ),
)
LINE = Entity(
    name="one_off_line",
    plural="one_off_lines",
    fields=(
        text("description", required=True, max_length=500),
        decimal("unit_amount", 28, 10, required=True),
        decimal("quantity", 28, 10, default="1"),
        text("unit"),
        text("product"),
        text("site"),
        day_field("service_start"),
        day_field("service_end"),
    ),
)


def post_one_off(uow: UnitOfWork, call: Call) -> Answer:
    """Make an invoice of given lines; answers with it."""
    body = command_body(call, ONE_OFF)
    made = bill_one_off(
        uow,
        str(body["account"]),
        [_line(row) for row in _rows(body)],
        request_of(body),
        purchase_order=cast("str | None", body["purchase_order"]),
    )
    apply_credits(uow, [cast("int", made["account_id"])])
    return json_answer(made, 201)


def _rows(body: Record) -> list[Record]:
    given = body["lines"]
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", "lines"))
    return [checked(row, LINE) for row in given]


def _line(row: Record) -> OneOffLine:
    return OneOffLine(
        description=str(row["description"]),
        unit_amount=cast("Decimal", row["unit_amount"]),
        quantity=cast("Decimal", row["quantity"]),
        unit=str(row["unit"] or ""),
        product=cast("str | None", row["product"]),
        site=cast("str | None", row["site"]),
        start=cast("date | None", row["service_start"]),
        end=cast("date | None", row["service_end"]),
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/invoices/one-off",
        command="bill_one_off",
        handler=in_transaction(post_one_off),
        summary="Bill lines of your own to an account",
        bodies=body_schema(ONE_OFF),
        examples={
            JSON: {
                "account": "ACME",
                "lines": [{"description": "Installation", "quantity": "2.5", "unit_amount": "120"}],
            }
        },
        answers={JSON: {"type": "object"}},
        status=201,
    ),
)
