"""The small organisation of the billing tests, with accounts that owe something."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.platform.records.unit_of_work import UnitOfWork

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)
ROOM = Decimal("249.95")


class Ledger(Company):
    """Shorthand for what tests of this room do."""

    @contextmanager
    def work(self) -> Iterator[UnitOfWork]:
        with self.database.transaction(now=self.now) as uow:
            yield uow


def furnish(organisation: Organisation) -> None:
    """ACME with one room: INV-000001 of 1 January and INV-000002 of 1 February, 249.95 each, both
    due within 30 days."""
    ledger = Ledger(organisation)
    ledger.load_prices()
    ledger.open_account("ACME")
    ledger.subscribe("S", "ACME", "rooms", JAN)
    ledger.bill(JAN)


@pytest.fixture
def ledger(furnishings: Furnishings) -> Iterator[Ledger]:
    with furnishings.copy(furnish) as organisation:
        yield Ledger(organisation)
