"""Leads over HTTP: many become customers in one call."""

from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.sales.leads import Conversion, convert_leads
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import checked_rows, rows_schema
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction
from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import date as day_field
from counterfoil.platform.metadata.fields import decimal, text
from counterfoil.platform.records.unit_of_work import UnitOfWork

CONVERSION = Entity(
    name="conversion",
    plural="conversions",
    fields=(
        text("lead", required=True, help="External id."),
        text(
            "account",
            help="External id of the account to be, or of one that is there; that of the lead "
            "where absent.",
        ),
        text("name", help="Of the opportunity; the company's where absent."),
        decimal("amount", 20, 4, help="Of the opportunity."),
        day_field("close_date", help="Of the opportunity."),
    ),
)


def post_conversions(uow: UnitOfWork, call: Call) -> Answer:
    """Convert leads; answers what each became."""
    conversions = [
        Conversion(
            lead=str(row["lead"]),
            account=cast("str | None", row["account"]),
            name=cast("str | None", row["name"]),
            amount=cast("Decimal | None", row["amount"]),
            close_date=cast("date | None", row["close_date"]),
        )
        for row in checked_rows(call, CONVERSION)
    ]
    return json_answer({"converted": convert_leads(uow, conversions)}, 201)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/leads/convert",
        command="convert_leads",
        handler=in_transaction(post_conversions),
        summary="Convert leads to accounts with contacts, sites and an opportunity",
        help="All or none; what was converted before is answered as it was.",
        bodies=rows_schema(CONVERSION),
        examples={JSON: {"conversions": [{"lead": "FAIR-17"}]}},
        answers={JSON: {"type": "object"}},
        status=201,
    ),
)
