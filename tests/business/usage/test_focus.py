"""A FOCUS file: its own prices as a price book, its rows as usage."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.usage.focus import price_book_from_focus, read_focus
from counterfoil.core.problems import Refused

EXCERPT = Path(__file__).parents[2] / "data" / "focus_excerpt.csv"

COLUMNS = (
    "BilledCost,BillingCurrency,ChargeCategory,ChargeDescription,ChargePeriodStart,ListCost,"
    "ListUnitPrice,PricingCategory,PricingQuantity,PricingUnit,ServiceName,SkuId,SkuPriceId,"
    "SubAccountId,SubAccountName,BillingAccountId\n"
)


def row(**changes):
    values = {
        "BilledCost": "1",
        "BillingCurrency": "EUR",
        "ChargeCategory": "Usage",
        "ChargeDescription": "Storage",
        "ChargePeriodStart": "2024-02-10 10:00:00",
        "ListCost": "1",
        "ListUnitPrice": "0.5",
        "PricingCategory": "Standard",
        "PricingQuantity": "2",
        "PricingUnit": "GB",
        "ServiceName": "Disk",
        "SkuId": "D",
        "SkuPriceId": "D.1",
        "SubAccountId": "17",
        "SubAccountName": "Team",
        "BillingAccountId": "1",
    }
    return ",".join({**values, **changes}.values()) + "\n"


def book_of(tmp_path, *rows):
    path = tmp_path / "focus.csv"
    path.write_text(COLUMNS + "".join(rows))
    found = read_focus(path)
    charges = yaml.safe_load(found.price_book)["rate_plans"][0]["charges"]
    return found, {charge["id"]: charge["prices"] for charge in charges}


def test_unit_price_block_price_and_commitment(tmp_path):
    found, prices = book_of(
        tmp_path,
        row(),
        row(
            SkuPriceId="B", ListUnitPrice="0.05", PricingQuantity="0.00000003", ListCost="0.000015"
        ),
        row(PricingCategory="Committed", PricingQuantity="3", ListCost="1.5", BilledCost="0"),
        row(SkuPriceId="NULL", SubAccountName="NULL", PricingCategory="", BillingCurrency="USD"),
    )
    unit = {"currency": "EUR", "model": "per_unit", "amount": "0.5"}
    assert prices["D.1"] == [unit]
    assert prices["B"] == [{**unit, "amount": "500"}]
    assert prices["D.1:committed"] == [{**unit, "included": "3"}]
    assert prices["D"][0]["currency"] == "USD"
    assert found.customers == {"Team": "EUR", "17": "USD"}
    assert (found.first_day.isoformat(), found.without_price) == ("2024-02-10", 0)


def test_row_without_a_price_is_counted_and_credits_make_none(tmp_path):
    found, prices = book_of(
        tmp_path,
        row(),
        row(SkuPriceId="X", ListUnitPrice="NULL", PricingQuantity="NULL"),
        row(SkuPriceId="Y", ListCost="1", ListUnitPrice="1", PricingQuantity="3"),
        row(SkuPriceId="Z", ChargeCategory="Credit"),
    )
    assert list(prices) == ["D.1"]
    assert found.without_price == 2


def test_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "calls.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(Refused, match="no column ListUnitPrice"):
        read_focus(path)
    path.write_text(COLUMNS + row(ChargeCategory="Credit"))
    with pytest.raises(Refused, match="no usage"):
        read_focus(path)


def test_book_of_the_excerpt_is_a_valid_price_book():
    book, problems = parse_price_book(price_book_from_focus(EXCERPT), "excerpt")
    assert problems == []
    assert Decimal("0.0000004") in {
        tier.unit_amount for price in book.prices for tier in price.tiers
    }


def test_rows_of_the_excerpt_are_kept_apart_and_rejected_with_a_reason(bridge):
    summary = bridge.load(EXCERPT, "focus")
    assert (summary.records_read, summary.duplicate) == (100, 0)
    assert summary.rejected_by_reason["not_usage"] == 2
    assert sum(summary.rejected_by_reason.values()) == 100
