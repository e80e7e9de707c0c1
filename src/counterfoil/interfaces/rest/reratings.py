"""Billed cycles rated again, and the difference shown or adjusted."""

from datetime import date
from typing import cast

from counterfoil.business.billing.rerating import rerate_bills
from counterfoil.business.billing.window import window_between
from counterfoil.business.subscriptions.invoicing import billed_account
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Desk, Endpoint
from counterfoil.interfaces.rest.idempotency import once
from counterfoil.platform.metadata import Entity, Field, FieldType

RERATING = Entity(
    name="rerating",
    plural="reratings",
    fields=(
        Field(name="from", required=True, help="First month (2026-01) or day (2026-01-01)."),
        Field(name="to", required=True, help="Last month or day, included."),
        Field(
            name="accounts",
            type=FieldType.DOCUMENT,
            help="External ids of the accounts; all where absent.",
        ),
        Field(
            name="apply",
            type=FieldType.BOOLEAN,
            default=False,
            help="Make the invoices and credit notes; else nothing is stored.",
        ),
        Field(
            name="finalize",
            type=FieldType.BOOLEAN,
            default=True,
            help="False leaves them as drafts.",
        ),
        Field(name="invoice_date", type=FieldType.DATE, help="Their date; today where absent."),
    ),
)


def post_rerating(desk: Desk, call: Call) -> Answer:
    """Rate billed cycles again; doing it again adds nothing."""
    body = command_body(call, RERATING)
    window = window_between(str(body["from"]), str(body["to"]))
    organisation, now = desk.organisation, desk.organisation.clock()
    names = external_ids(body["accounts"])
    accounts = None
    if names is not None:
        with organisation.database.transaction(now=now) as uow:
            accounts = sorted({billed_account(uow, name) for name in names})
    summary = rerate_bills(
        organisation.database,
        organisation.usage_store,
        window,
        now=now,
        apply=body["apply"] is True,
        finalize=body["finalize"] is not False,
        invoice_date=cast("date | None", body["invoice_date"]),
        accounts=accounts,
    )
    return json_answer(summary)


def external_ids(value: object) -> list[str] | None:
    """A list of external ids, or None when it was not given."""
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return cast("list[str]", value)
    raise Refused(Problem("wrong_type", "has to be a list of external ids", "accounts"))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/reratings",
        command="rerate",
        handler=once(post_rerating),
        summary="Rate billed cycles again and adjust the difference",
        help="All billed cycles of which a day lies in the given time, with today's prices and "
        "usage. Lists at most 1,000 differences, the greatest. Doing it again adds nothing.",
        bodies=body_schema(RERATING),
        examples={JSON: {"from": "2026-01", "to": "2026-03", "apply": True}},
        answers={JSON: {"type": "object"}},
        makes=("adjustment",),
    ),
)
