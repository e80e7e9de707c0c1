"""A batch that is rated bucket by bucket comes to what it comes to in one piece."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing import commands
from counterfoil.platform.engine.choice import open_runner
from counterfoil.platform.engine.runner import InThisProcess, Runner

JAN, FEB = date(2024, 1, 1), date(2024, 2, 1)
ACCOUNTS = 40


class BesideEachOther(InThisProcess):
    """Asks for many works and does them here."""

    splits = True


def furnish(organisation: Organisation) -> None:
    """Accounts in all buckets, with rooms, minutes, and one of them without a price."""
    company = Company(organisation)
    company.load_prices()
    for number in range(ACCOUNTS):
        currency = "EUR" if number == 7 else "USD"
        company.open_account(f"A{number:02}", currency=currency, time_zone="America/New_York")
        company.subscribe(f"R{number}", f"A{number:02}", "rooms", date(2024, 1, 1 + number % 28))
        minutes = company.subscribe(f"M{number}", f"A{number:02}", "minutes", JAN)
        used = [
            (f"{number}-{n}", datetime(2024, 1, 3 + n, tzinfo=UTC), str(n * 61 + number))
            for n in range(number % 9)
        ]
        if used:
            company.use(minutes, *used)


@pytest.fixture
def furnished(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        yield Company(organisation)


def bill_in_drafts(company: Company, runner: Runner) -> tuple[Decimal, list[tuple[object, ...]]]:
    """What a run makes, which is forgotten again."""
    run = company.bill(FEB, finalize=False, runner=runner)
    assert [code for _, code, _ in run.problems] == ["no_price"]
    lines = sorted(company.lines(), key=str)
    with company.database.transaction(now=datetime(2024, 2, 1, tzinfo=UTC)) as uow:
        lines += [
            tuple(row.values())
            for row in uow.query(
                "SELECT subscription_charge_id, service_start, quantity, exact_amount, "
                "list_amount, amount, steps FROM rated_charge ORDER BY 1, 2, amount"
            )
        ]
    commands.discard_drafts(company.database, now=datetime(2024, 2, 1, tzinfo=UTC))
    return run.totals["USD"], lines


@pytest.fixture(params=["beside each other", "processes[2]"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    if request.param == "beside each other":
        yield BesideEachOther()
    else:
        with open_runner(request.param) as made:
            yield made


def test_buckets_come_to_the_same_as_the_whole(furnished: Company, runner: Runner) -> None:
    whole = bill_in_drafts(furnished, InThisProcess())
    assert len(whole[1]) > 2 * ACCOUNTS
    assert bill_in_drafts(furnished, runner) == whole


def test_nothing_due_is_nothing_billed(company: Company) -> None:
    company.open_account("A")
    assert company.bill(FEB, runner=BesideEachOther()).invoices == 0


def test_an_amount_beyond_38_digits_is_one_accounts_problem(company: Company) -> None:
    for number in range(3):
        company.open_account(f"A{number}")
        company.subscribe(f"R{number}", f"A{number}", "rooms", JAN)
    account = company.open_account("HUGE")
    minutes = company.subscribe("M-HUGE", "HUGE", "minutes", JAN)
    most = "9" * 22
    events = [(f"huge-{n}", datetime(2024, 1, 4, tzinfo=UTC), most) for n in range(20)]
    company.use(minutes, *events)
    run = company.bill(FEB, runner=BesideEachOther())
    assert run.invoices == 3
    codes = {found: code for found, code, _ in run.problems}
    assert codes[account] == "not_computable"
