"""What a quote becomes: an order with its lines and agreed prices, and discounts as incentives.

Pricing and conversion both come here, so that what was quoted is what is billed.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.sales.queries import Quote
from counterfoil.core.money.written import without_zeros
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def subscription_of(quote: Quote, line: Record) -> str:
    """The external id of the subscription that a line becomes."""
    return f"{quote.row['number']}-{line['position']}"


def order_of(
    quote: Quote, account: str, accepted_on: date, purchase_order: str | None = None
) -> NewOrder:
    """The order that a quote becomes, of an account (external id); it is called by the number."""
    return NewOrder(
        external_id=str(quote.row["number"]),
        account=account,
        accepted_on=accepted_on,
        purchase_order=purchase_order,
        term_months=quote.row["term_months"],
        amount=max(quote.row["contract_value"], Decimal(0)),
        currency=quote.row["currency"],
        lines=[
            NewLine(
                subscription=subscription_of(quote, line),
                rate_plan=line["rate_plan"],
                site=line["site_external_id"],
                quantities=_amounts(line["quantities"]),
                prices=_amounts(line["prices"]),
                effective_date=line["start_date"],
                term_months=line["term_months"],
            )
            for line in quote.lines
        ],
    )


def _amounts(document: dict[str, str]) -> dict[str, Decimal]:
    return {charge: Decimal(amount) for charge, amount in document.items()}


def agree_discounts(uow: UnitOfWork, quotes: Sequence[tuple[Quote, int]]) -> list[int]:
    """Give accounts (ids) the discounts of the lines of their quotes; the ids of the discounts.

    One discount per quote and percentage, with the subscriptions to be as its targets: what it
    takes off an invoice is rounded once. A fixed number of statements.
    """
    wanted = [
        (quote, account, percent)
        for quote, account in quotes
        for percent in sorted({line["discount_percent"] for line in quote.lines})
        if percent > 0
    ]
    if not wanted:
        return []
    ids = uow.create_many(
        "discount", [_discount(quote, percent) for quote, _, percent in wanted], by_command=True
    )
    uow.create_many(
        "discount_holder",
        [
            {"discount_id": made, "account_id": account}
            for made, (_, account, _) in zip(ids, wanted, strict=True)
        ],
    )
    uow.create_many(
        "discount_target",
        [
            {
                "discount_id": made,
                "role": "target",
                "subscription_external_id": subscription_of(quote, line),
            }
            for made, (quote, _, percent) in zip(ids, wanted, strict=True)
            for line in quote.lines
            if line["discount_percent"] == percent
        ],
    )
    return ids


def _discount(quote: Quote, percent: Decimal) -> Record:
    told = f"{without_zeros(percent)}"
    return {
        "external_id": f"{quote.name} {told}%",
        "name": f"Discount {told} % ({quote.row['number']})",
        "kind": "percentage",
        "percent": percent,
        "audience": "holders",
        "scope": "account",
    }
