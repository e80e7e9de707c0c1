"""Incentives over HTTP: files of them, coupons redeemed, prepaid balances and their voids."""

from decimal import Decimal
from typing import cast

from counterfoil.business.billing.balances import read_balances, read_movements, void_grant
from counterfoil.business.incentives.commands import redeem_coupon, save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.core.problems import Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.price_books import YAML, price_book_text
from counterfoil.platform.metadata import Entity, Field, FieldType
from counterfoil.platform.records.unit_of_work import UnitOfWork

EXAMPLE = """discounts:
  - {id: spring, name: Spring offer, code: SPRING, percent: 10, holder_uses: 1}
"""

REDEMPTION = Entity(
    name="redemption",
    plural="redemptions",
    fields=(
        Field(name="code", required=True, help="The coupon's code."),
        Field(name="account", required=True, help="External id of who redeems it."),
    ),
)

VOID = Entity(
    name="void",
    plural="voids",
    fields=(
        Field(
            name="amount",
            type=FieldType.DECIMAL,
            precision=20,
            scale=4,
            help="So much of the grant; all that is left where absent.",
        ),
        Field(name="reason"),
    ),
)


def post_incentives(uow: UnitOfWork, call: Call) -> Answer:
    """Save the incentives in the body; answers how many records of each kind were saved."""
    file, problems = parse_incentives(price_book_text(call), "incentives")
    if problems:
        raise Refused(problems)
    return json_answer({"saved": save_incentives(uow, file)})


def post_redemption(uow: UnitOfWork, call: Call) -> Answer:
    """Give an account the discount of a coupon; a second time changes nothing."""
    body = command_body(call, REDEMPTION)
    redeem_coupon(uow, cast("str", body["code"]), cast("str", body["account"]))
    return json_answer({"code": body["code"], "account": body["account"]})


def get_balances(uow: UnitOfWork, call: Call) -> Answer:
    """The grants an account's invoices draw on, with what is left and what moved them."""
    account = call.variables["external_id"]
    balances = read_balances(uow, account, uow.now.date())
    return json_answer({"grants": balances, "movements": read_movements(uow, account)})


def post_void(uow: UnitOfWork, call: Call) -> Answer:
    """Take back what is left of a grant, or a part of it; answers what remains."""
    body = command_body(call, VOID)
    remaining = void_grant(
        uow,
        call.variables["external_id"],
        cast("Decimal | None", body["amount"]),
        reason=cast("str | None", body["reason"]),
    )
    return json_answer({"remaining": remaining})


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/incentives",
        command="load_incentives",
        handler=in_transaction(post_incentives),
        summary="Save discounts, commitments, entitlements and prepaid grants",
        help="Creates or changes, by external id, everything the document names; refused as a "
        "whole, with the lines, when anything is wrong with it.",
        bodies={YAML[0]: {"type": "string"}, JSON: {"type": "object"}},
        examples={YAML[0]: EXAMPLE},
        answers={JSON: {"type": "object"}},
    ),
    Endpoint(
        method="POST",
        path="/coupon-redemptions",
        command="redeem_coupon",
        handler=in_transaction(post_redemption),
        summary="Redeem a coupon for an account",
        bodies=body_schema(REDEMPTION),
        examples={JSON: {"code": "SPRING", "account": "ACME"}},
        answers={JSON: {"type": "object"}},
        makes=("discount_holder",),
    ),
    Endpoint(
        method="GET",
        path="/accounts/{external_id}/prepaid-balances",
        command="see_prepaid_balances",
        subject="account",
        handler=reading(get_balances),
        summary="What is left of the prepaid grants an account's invoices draw on",
        answers={JSON: {"type": "object"}},
    ),
    Endpoint(
        method="POST",
        path="/prepaid-grants/{external_id}/void",
        command="void_prepaid_grant",
        subject="prepaid_grant",
        handler=in_transaction(post_void),
        summary="Take back what is left of a prepaid grant, or a part of it",
        bodies=body_schema(VOID),
        answers={
            JSON: {"type": "object", "properties": {"remaining": {"type": "string"}}},
        },
        makes=("prepaid_void",),
    ),
)
