"""What happens while a bill run is going on is billed right by this run or mended by the next."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing import commands
from counterfoil.business.billing.approving import approve_drafts
from counterfoil.business.billing.arranging import merge_drafts
from counterfoil.business.billing.commands import BillRunSummary
from counterfoil.business.billing.taking_back import take_back
from counterfoil.business.subscriptions.commands import cancel_subscriptions, change_quantity
from counterfoil.core.problems import Refused
from counterfoil.platform.records.unit_of_work import UnitOfWork

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)
ROOM = Decimal("249.95")


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Do something once, between the computation of the bills and their storing."""

    def arrange(action: Callable[[], None]) -> None:
        save, pending = commands.save_bills, [action]

        def interrupted(*arguments: Any) -> BillRunSummary:
            while pending:
                pending.pop()()
            return save(*arguments)

        monkeypatch.setattr(commands, "save_bills", interrupted)

    return arrange


def test_two_bill_runs_at_once_bill_everybody_once(company: Company) -> None:
    for number in range(6):
        company.open_account(f"A{number}")
        company.subscribe(f"S{number}", f"A{number}", "rooms", JAN)

    def bill(_: int) -> int:
        try:
            return company.bill(FEB).lines
        except Refused:
            return 0

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(bill, range(2))) == 12
    assert company.bill(FEB).lines == 0


def test_a_cancellation_during_a_bill_run_is_given_back_by_the_next(
    company: Company, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "rooms", JAN)

    def cancel() -> None:
        with company.database.transaction(now=NOW) as uow:
            cancel_subscriptions(uow, [subscription], date(2024, 1, 17))

    meanwhile(cancel)
    company.bill(JAN)
    company.bill(FEB)
    assert [line[5] for line in company.lines()] == [ROOM, Decimal("-120.94")]
    assert company.bill(MAR).lines == 0


def test_a_new_quantity_during_a_bill_run_is_billed_by_the_next(
    company: Company, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "rooms", JAN)

    def change() -> None:
        with company.database.transaction(now=NOW) as uow:
            change_quantity(uow, subscription, "room", Decimal(3), JAN)

    meanwhile(change)
    company.bill(JAN)
    company.bill(JAN)
    assert [line[4:] for line in company.lines()[1:]] == [
        (Decimal(3), 3 * ROOM),
        (Decimal(1), -ROOM),
    ]
    assert company.bill(JAN).lines == 0


def test_usage_that_arrives_during_a_bill_run_is_billed_by_the_next(
    company: Company, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    first, second = (datetime(2024, 1, day, tzinfo=UTC) for day in (5, 6))
    company.use(subscription, ("a", first, "300"))
    meanwhile(lambda: company.use(subscription, ("b", second, "60")))
    company.bill(FEB)
    company.bill(FEB)
    assert [line[4:] for line in company.lines()] == [
        (Decimal(5), Decimal("0.66")),
        (Decimal(1), Decimal("0.22")),
    ]
    assert company.bill(FEB).lines == 0


def test_two_changes_of_a_quantity_at_once_leave_one_quantity_per_day(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "rooms", JAN)
    begun = Event()

    def change_later() -> None:
        begun.wait(timeout=30)
        with company.database.transaction(now=NOW) as uow:
            change_quantity(uow, subscription, "room", Decimal(5), date(2024, 1, 21))

    with ThreadPoolExecutor(1) as pool:
        with company.database.transaction(now=NOW) as uow:
            change_quantity(uow, subscription, "room", Decimal(2), date(2024, 1, 11))
            later = pool.submit(change_later)
            begun.set()
            _wait_for_a_blocked_statement(company)
        later.result(timeout=30)
    with company.database.transaction(now=NOW) as uow:
        parts = uow.query("SELECT start_date, end_date FROM subscription_charge ORDER BY 1")
    assert [tuple(part.values()) for part in parts] == [
        (JAN, date(2024, 1, 11)),
        (date(2024, 1, 11), date(2024, 1, 21)),
        (date(2024, 1, 21), None),
    ]


def test_a_cancellation_ends_a_quantity_that_begins_at_the_same_time(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "rooms", JAN)

    def cancel() -> None:
        with company.database.transaction(now=NOW) as uow:
            cancel_subscriptions(uow, [subscription], FEB)

    with ThreadPoolExecutor(1) as pool:
        with company.database.transaction(now=NOW) as uow:
            change_quantity(uow, subscription, "room", Decimal(2), date(2024, 1, 11))
            later = pool.submit(cancel)
            _wait_for_a_blocked_statement(company)
        later.result(timeout=30)
    assert company.bill(MAR).totals == {"USD": Decimal("80.63") + Decimal("338.64")}


@pytest.mark.parametrize("decide", [approve_drafts, merge_drafts])
def test_drafts_that_are_taken_back_meanwhile_are_unknown(
    company: Company, decide: Callable[[UnitOfWork, list[int]], object]
) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    company.bill(JAN, finalize=False)
    with company.database.transaction(now=NOW) as uow:
        (draft,) = (int(row["id"]) for row in uow.query("SELECT id FROM invoice"))

    def decide_later() -> None:
        with company.database.transaction(now=NOW) as uow:
            decide(uow, [draft, draft + 1] if decide is merge_drafts else [draft])

    with ThreadPoolExecutor(1) as pool:
        with company.database.transaction(now=NOW) as uow:
            uow.query("SELECT id FROM invoice WHERE id = :id FOR UPDATE", id=draft)
            later = pool.submit(decide_later)
            _wait_for_a_blocked_statement(company)
            take_back(uow, [draft])
        with pytest.raises(Refused) as refused:
            later.result(timeout=30)
    assert (refused.value.status, refused.value.problems[0].code) == (404, "unknown_invoice")


def _wait_for_a_blocked_statement(company: Company) -> None:
    """Until another connection to this database waits for a lock."""
    while True:
        with company.database.transaction(now=NOW) as uow:
            if uow.query(
                "SELECT 1 AS blocked FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()"
            ):
                return
