"""Discounts that can be used up: who has his turn first does not depend on how a run is divided."""

from datetime import date
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing import commands
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives

JAN, FEB = date(2024, 1, 1), date(2024, 2, 1)

INCENTIVES = """
discounts:
  - {id: scarce, name: Scarce, amount: 9.95, currency: USD, maximum_uses: 3}
  - {id: budget, name: Budget, percent: 10, currency: USD, holder_maximum: 60.00, accounts: [TOP]}
"""


@pytest.fixture
def tree(company: Company) -> Company:
    """Five accounts below TOP, each with a room for 249.95. A4 began first, A0 last."""
    company.load_prices()
    with company.database.transaction(now=NOW) as uow:
        top = uow.create("account", {"external_id": "TOP", "name": "Top"})["id"]
    for number in range(5):
        account = company.open_account(f"A{number}")
        with company.database.transaction(now=NOW) as uow:
            uow.update("account", account, {"parent_id": top})
        company.subscribe(f"S{number}", f"A{number}", "rooms", date(2024, 1, 5 - number))
    file, problems = parse_incentives(INCENTIVES, "incentives.yaml")
    assert problems == []
    with company.database.transaction(now=NOW) as uow:
        save_incentives(uow, file)
    return company


def taken(company: Company) -> dict[tuple[str, str], Decimal]:
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT a.external_id AS account, d.external_id AS discount, sum(r.amount) AS amount"
            " FROM rated_charge r JOIN discount d ON d.id = r.discount_id"
            " JOIN invoice i ON i.id = r.invoice_id JOIN account a ON a.id = i.account_id"
            " GROUP BY 1, 2"
        )
    return {(row["account"], row["discount"]): row["amount"] for row in rows}


@pytest.mark.parametrize(("batch", "workers"), [(2000, 1), (1, 1), (2, 2)])
def test_the_oldest_has_its_turn_first_in_batches_of_any_size(
    tree: Company, monkeypatch: pytest.MonkeyPatch, batch: int, workers: int
) -> None:
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", batch)
    tree.bill(JAN, workers=workers)
    assert taken(tree) == {
        # Of January's 249.95, 9.95 and a tenth of what is left.
        ("A4", "scarce"): Decimal("-9.9500"),
        ("A4", "budget"): Decimal("-24.0000"),
    }
    tree.bill(FEB, workers=workers)
    # A4 has February off: 9.95 and 24.00 again. A3 began on 2 January: 30/31 x 249.95 = 241.89 and
    # 249.95 are 491.84, less 9.95; a tenth would be 48.19, 12.00 are left. The others get nothing.
    assert taken(tree) == {
        ("A4", "scarce"): Decimal("-19.9000"),
        ("A4", "budget"): Decimal("-48.0000"),
        ("A3", "scarce"): Decimal("-9.9500"),
        ("A3", "budget"): Decimal("-12.0000"),
    }
    assert tree.bill(FEB, workers=workers).lines == 0
