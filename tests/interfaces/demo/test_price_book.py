"""The demo's price list: the published tariff to the cent, in every currency of the demo."""

from datetime import date
from decimal import Decimal

import pytest

from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.products.price_book_entries import PriceBook
from counterfoil.interfaces.demo.organisation import build_organisation
from counterfoil.interfaces.demo.places import CURRENCIES
from counterfoil.interfaces.demo.price_book import converted, price_book_text
from counterfoil.interfaces.demo.subscriptions import DemoSubscriptions, build_subscriptions

TARIFF = {
    "premier-dial-out": "0.2200",
    "premier-toll-free": "0.1950",
    "premier-toll": "0.1750",
    "standard-dial-out": "0.1650",
    "standard-toll-free": "0.1450",
    "standard-toll": "0.1200",
    "unattended-toll-free": "0.0275",
    "unattended-toll": "0.0250",
    "instant-dial-out": "0.0275",
    "instant-toll-free": "0.0275",
    "instant-toll": "0.0250",
    "event-set-up": "300",
    "event-recording": "45",
}
OCTOBER = date(2026, 10, 1)


@pytest.fixture(scope="module")
def subscriptions() -> DemoSubscriptions:
    return build_subscriptions(build_organisation(1000, 1), OCTOBER, 1)


@pytest.fixture(scope="module")
def book(subscriptions: DemoSubscriptions) -> PriceBook:
    text = price_book_text(build_organisation(1000, 1), subscriptions.activations)
    parsed, problems = parse_price_book(text, "price_book.yaml")
    assert problems == []
    return parsed


def test_the_list_prices_are_the_published_tariff(book: PriceBook) -> None:
    listed = {
        price.charge: price.tiers[0].unit_amount
        for price in book.prices
        if price.layer == "list" and price.currency == "USD" and price.charge in TARIFF
    }
    assert listed == {charge: Decimal(amount) for charge, amount in TARIFF.items()}


def test_every_connection_is_rounded_up_to_the_full_minute(book: PriceBook) -> None:
    by_minute = [
        entry.values
        for entry in book.of_entity("charge")
        if entry.values["kind"] == "usage" and entry.values["unit"] == "minute"
    ]
    assert len(by_minute) == 11
    assert {row["event_increment"] for row in by_minute} == {Decimal(60)}
    assert {row["unit_size"] for row in by_minute} == {60}


def test_every_charge_has_a_list_price_in_every_currency(book: PriceBook) -> None:
    charges = {entry.external_id for entry in book.of_entity("charge")}
    listed = {(price.charge, price.currency) for price in book.prices if price.layer == "list"}
    assert listed == {(charge, currency) for charge in charges for currency in CURRENCIES}


def test_all_layers_and_several_models_occur(book: PriceBook) -> None:
    assert {p.layer for p in book.prices} == {"list", "template", "account", "subscription"}
    assert {p.model for p in book.prices} == {"per_unit", "graduated", "volume"}
    assert any(price.included_quantity == 300 for price in book.prices)


@pytest.mark.parametrize(
    ("dollars", "currency", "expected"),
    [
        ("0.2200", "USD", "0.2200"),
        ("0.2200", "EUR", "0.1980"),
        ("0.0275", "JPY", "4.15"),
        ("300", "JPY", "45000"),
        ("0.1950", "KWD", "0.0601"),
        ("249", "KWD", "76.500"),
    ],
)
def test_dollar_prices_are_converted_to_sensible_steps(
    dollars: str, currency: str, expected: str
) -> None:
    assert converted(Decimal(dollars), currency) == Decimal(expected)


def test_rooms_begin_change_and_end_within_the_month(subscriptions: DemoSubscriptions) -> None:
    by_plan: dict[str, list[date]] = {}
    for activation in subscriptions.activations:
        by_plan.setdefault(activation.rate_plan, []).append(activation.start_date)
    assert set(by_plan["conferencing"]) == {date(2026, 9, 1)}
    assert len(by_plan["conferencing"]) == 1000
    assert min(by_plan["managed-room"]) == OCTOBER
    assert OCTOBER < max(by_plan["managed-room"]) < date(2026, 11, 1)
    changed = {change.subscription for change in subscriptions.changes}
    cancelled = {one.subscription for one in subscriptions.cancellations}
    assert changed
    assert cancelled
    assert not changed & cancelled
    identifiers = [token for one in subscriptions.activations for token in one.identifiers]
    assert len(set(identifiers)) == len(identifiers) == 2000
