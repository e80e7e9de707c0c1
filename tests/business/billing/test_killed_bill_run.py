"""A killed bill run is run again and comes to what an unkilled one would have come to."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.business.billing.bill_run_child import BATCH_ACCOUNTS
from tests.business.billing.conftest import NOW, Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing import commands
from counterfoil.business.subscriptions.commands import Activation, activate_subscriptions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JAN, FEB = date(2024, 1, 1), date(2024, 2, 1)
ACCOUNTS = 100
CHILD = Path(__file__).with_name("bill_run_child.py")


def furnish(organisation: Organisation) -> None:
    """Accounts with rooms and minutes; every tenth has no price in its currency."""
    company = Company(organisation)
    company.load_prices()
    names = [f"A{number:03}" for number in range(ACCOUNTS)]
    with company.database.transaction(now=NOW) as uow:
        ids = uow.create_many("account", [{"external_id": n, "name": n} for n in names])
        currencies = ["EUR" if number % 10 == 9 else "USD" for number in range(ACCOUNTS)]
        uow.create_many(
            "billing_profile",
            [
                {"account_id": account, "currency": currency}
                for account, currency in zip(ids, currencies, strict=True)
            ],
        )
        activate_subscriptions(
            uow,
            [
                Activation(
                    external_id=f"{plan}-{name}", account=name, rate_plan=plan, start_date=JAN
                )
                for plan in ("rooms", "minutes")
                for name in names
            ],
        )
        used = uow.query(
            "SELECT id FROM subscription WHERE external_id LIKE 'minutes%' ORDER BY id"
        )
    day = datetime(2024, 1, 5, tzinfo=UTC)
    for row in used[::8]:
        company.use(int(row["id"]), (f"e{row['id']}", day, str(row["id"] * 37)))


def billed(company: Company) -> list[tuple[object, ...]]:
    """Everything that was billed, without ids, numbers and times."""
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT a.external_id, i.kind, i.state, i.total, l.position, l.description, "
            "l.service_start, l.service_end, l.quantity, l.amount FROM invoice_line l "
            "JOIN invoice i ON i.id = l.invoice_id JOIN account a ON a.id = i.account_id "
            "ORDER BY a.external_id, l.service_start, l.position"
        )
        numbers = uow.query("SELECT number FROM invoice ORDER BY number")
        through = uow.query(
            "SELECT sc.billed_through FROM subscription_charge sc "
            "JOIN subscription s ON s.id = sc.subscription_id ORDER BY s.external_id"
        )
    assert [row["number"] for row in numbers] == [f"INV-{n:06}" for n in range(1, len(numbers) + 1)]
    return [tuple(row.values()) for row in (*rows, *through)]


def run_child(company: Company, moment: str, workers: int = 1) -> int:
    database, folder = company.database.url, str(company.store.folder)
    command = [sys.executable, str(CHILD), database, folder, FEB.isoformat(), str(workers), moment]
    return subprocess.run(command, check=False, timeout=120).returncode


@pytest.fixture(scope="module")
def unkilled(furnishings: Furnishings) -> Iterator[list[tuple[object, ...]]]:
    """What a bill run in one piece makes of the same company."""
    with furnishings.copy(furnish) as organisation:
        company = Company(organisation)
        run = company.bill(FEB)
        assert (run.invoices, len(run.problems)) == (ACCOUNTS * 9 // 10, ACCOUNTS // 10)
        yield billed(company)


@pytest.fixture
def company(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        yield Company(organisation)


@pytest.mark.parametrize(
    ("moment", "batches"),
    [("batch 1", 1), ("batch 3", 3), ("saving 1", 0), ("saving 3", 2), ("numbering 2", 1)],
)
def test_run_again_after_a_kill_nothing_is_lost_or_doubled(
    company: Company,
    unkilled: list[tuple[object, ...]],
    moment: str,
    batches: int,
) -> None:
    assert run_child(company, moment) == -signal.SIGKILL
    invoices = company.counts()[0]
    assert (batches == 0) == (invoices == 0)
    assert invoices <= batches * BATCH_ACCOUNTS
    run = company.bill(FEB)
    assert len(run.problems) == ACCOUNTS // 10
    assert billed(company) == unkilled
    assert company.bill(FEB).lines == 0


def test_processes_make_what_one_process_makes(
    company: Company, unkilled: list[tuple[object, ...]]
) -> None:
    assert run_child(company, "never", workers=2) == 0
    assert billed(company) == unkilled


def test_late_usage_is_found_after_a_kill(company: Company) -> None:
    company.bill(FEB)
    with company.database.transaction(now=NOW) as uow:
        found = uow.query(
            "SELECT s.id FROM subscription s JOIN account a ON a.id = s.account_id "
            "WHERE s.external_id LIKE 'minutes%' AND a.external_id IN ('A000', 'A098') ORDER BY 1"
        )
    for row in found:
        late = (f"late{row['id']}", datetime(2024, 1, 6, tzinfo=UTC), "6000")
        company.use(int(row["id"]), late)
    lines = company.counts()[2]
    assert run_child(company, "batch 1") == -signal.SIGKILL
    company.bill(FEB)
    assert company.counts()[2] == lines + 2
    assert company.bill(FEB, accounts=None).lines == 0


def test_batches_of_any_size_make_the_same(
    company: Company, unkilled: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", 7)
    assert company.bill(FEB).totals["USD"] == sum(
        {row[0]: row[3] for row in unkilled if len(row) > 1}.values(), Decimal(0)
    )
    assert billed(company) == unkilled
