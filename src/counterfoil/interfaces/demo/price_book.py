"""The demo's price list in all its currencies, and what single customers have negotiated.

``price_book.yaml`` holds the published tariff in US dollars. The other currencies are converted
at the fixed rates below, which stand for nothing but this demo.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import yaml

from counterfoil.business.subscriptions.commands import Activation
from counterfoil.interfaces.demo.organisation import DemoOrganisation

PRICE_BOOK = Path(__file__).with_name("price_book.yaml")


@dataclass(frozen=True, slots=True)
class DemoRate:
    """Units of a currency for one US dollar, and the steps small and large prices come in."""

    rate: Decimal
    small_step: Decimal
    large_step: Decimal


def _rate(rate: str, small_step: str, large_step: str) -> DemoRate:
    return DemoRate(Decimal(rate), Decimal(small_step), Decimal(large_step))


RATES = {
    "EUR": _rate("0.90", "0.0005", "1"),
    "GBP": _rate("0.78", "0.0005", "1"),
    "JPY": _rate("150", "0.05", "100"),
    "CHF": _rate("0.88", "0.0005", "1"),
    "CAD": _rate("1.36", "0.0005", "1"),
    "AUD": _rate("1.52", "0.0005", "1"),
    "SGD": _rate("1.34", "0.0005", "1"),
    "INR": _rate("84", "0.05", "50"),
    "BRL": _rate("5.50", "0.0050", "5"),
    "SEK": _rate("10.50", "0.0050", "5"),
    "KWD": _rate("0.308", "0.0001", "0.500"),
}
"""The demo's fixed rates; a price of less than one dollar is small."""


def converted(amount: Decimal, currency: str) -> Decimal:
    """A dollar price in another currency, to that currency's step for prices of this size."""
    if currency == "USD":
        return amount
    rate = RATES[currency]
    step = rate.small_step if amount < 1 else rate.large_step
    return (amount * rate.rate / step).quantize(Decimal(1), ROUND_HALF_UP) * step


Node = dict[str, object]


def price_book_text(organisation: DemoOrganisation, activations: Iterable[Activation]) -> str:
    """The whole price book in YAML: tariff and templates in all currencies, negotiated prices."""
    book = yaml.load(PRICE_BOOK.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - it reads texts only
    for plan in book["rate_plans"]:
        for charge in plan["charges"]:
            charge["prices"] = _in_all_currencies(charge["prices"])
    for template in book["pricing_templates"]:
        template["prices"] = _in_all_currencies(template["prices"])
    book["prices"] = [
        *_account_prices(organisation),
        *_subscription_prices(organisation, activations),
    ]
    text: str = yaml.safe_dump(book, sort_keys=False, allow_unicode=True)
    return text


def _in_all_currencies(prices: list[Node]) -> list[Node]:
    return [_priced_in(price, currency) for currency in ("USD", *RATES) for price in prices]


def _priced_in(price: Node, currency: str) -> Node:
    """A dollar price as one of ``currency``; quantities and bounds stay as they are."""
    result = {**price, "currency": currency}
    if "amount" in price:
        result["amount"] = str(converted(Decimal(str(price["amount"])), currency))
    tiers = price.get("tiers")
    if isinstance(tiers, list):
        result["tiers"] = [
            {**tier, "amount": str(converted(Decimal(tier["amount"]), currency))} for tier in tiers
        ]
    return result


def _account_prices(organisation: DemoOrganisation) -> list[Node]:
    """Some billed accounts have minutes included, some a better price per minute."""
    included: Node = {
        "charge": "standard-toll", "model": "per_unit", "included": "300", "amount": "0.1200"
    }  # fmt: skip
    better: Node = {"charge": "premier-toll-free", "model": "per_unit", "amount": "0.1775"}
    billed = [account for account in organisation.accounts if account.has_profile]
    return [
        {"account": account.external_id, **_priced_in(offer, account.currency)}
        for offer, chosen in ((included, billed[::11]), (better, billed[4::13]))
        for account in chosen
    ]


def _subscription_prices(
    organisation: DemoOrganisation, activations: Iterable[Activation]
) -> list[Node]:
    """Every fortieth managed room was sold at a price of its own."""
    currency_of = {account.external_id: account.currency for account in organisation.accounts}
    rooms = [activation for activation in activations if activation.rate_plan == "managed-room"]
    offer: Node = {"charge": "room", "model": "per_unit", "amount": "189"}
    return [
        {"subscription": room.external_id, **_priced_in(offer, currency_of[room.account])}
        for room in rooms[::40]
    ]
