"""What has been billed with something keeps it: refused, and nothing changed."""

from datetime import date

import pytest
from tests.business.billing.conftest import NOW, PRICE_BOOK, Company

from counterfoil.core.problems import Refused

JAN = date(2024, 1, 1)


@pytest.fixture
def division(company: Company) -> tuple[int, int]:
    """A holding and its division, whose room is billed through the holding."""
    holding = company.open_account("HOLDING")
    with company.database.transaction(now=NOW) as uow:
        record = {"external_id": "DIV", "name": "Division", "parent_id": holding}
        account = uow.create("account", record)
    company.subscribe("S", "DIV", "rooms", JAN)
    company.bill(JAN)
    return holding, int(account["id"])


def test_a_division_billed_through_its_parent_gets_no_profile_of_its_own(
    company: Company, division: tuple[int, int]
) -> None:
    with (
        pytest.raises(Refused, match="has been billed through an account above it"),
        company.database.transaction(now=NOW) as uow,
    ):
        uow.create("billing_profile", {"account_id": division[1], "currency": "EUR"})
    with company.database.transaction(now=NOW) as uow:
        assert uow.find("billing_profile", account_id=division[1]) is None


def test_a_division_billed_through_its_parent_does_not_move(
    company: Company, division: tuple[int, int]
) -> None:
    holding, account = division
    with company.database.transaction(now=NOW) as uow:
        other = uow.create(
            "account", {"external_id": "SUB", "name": "Sub-holding", "parent_id": holding}
        )
    with (
        pytest.raises(Refused, match="parent_id: cannot change"),
        company.database.transaction(now=NOW) as uow,
    ):
        uow.update("account", account, {"parent_id": other["id"]})
    with company.database.transaction(now=NOW) as uow:
        assert uow.get("account", account)["parent_id"] == holding


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("event_increment: 60", "event_increment: 6", "event_increment"),
        ("unit_size: 60", "unit_size: 30", "unit_size"),
        ("name: Connection time, unit: second", "name: T, unit: second, aggregation: max", "aggre"),
    ],
)
def test_terms_of_a_billed_charge_stay(company: Company, old: str, new: str, field: str) -> None:
    company.open_account("ACME")
    company.subscribe("M", "ACME", "minutes", JAN)
    company.load_prices(PRICE_BOOK.replace(old, new))
    company.load_prices()
    company.bill(date(2024, 2, 1))
    with pytest.raises(Refused, match=f"{field}.*: cannot change: it has been billed with"):
        company.load_prices(PRICE_BOOK.replace(old, new))
    company.load_prices()
