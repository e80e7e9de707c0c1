"""Thresholds of spending: what counts for them, and that each is told once in a period."""

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial

import pytest
from tests.business.billing.conftest import Company

from counterfoil.bootstrap import USAGE_WATCHERS
from counterfoil.business.automation.delivering import KEPT, prune_events
from counterfoil.business.billing import commands
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.spending import Spent, spending
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.usage.watching import watch_usage_by_all
from counterfoil.core.problems import Refused

JAN, FEB = date(2024, 1, 1), date(2024, 2, 1)

PRICES = """
products: [{id: phone, name: Phone}]
rate_plans:
  - id: talking
    product: phone
    name: Talking
    charges:
      - {id: talk, name: Talk, kind: usage, meter: seconds,
         prices: [{currency: USD, model: per_unit, amount: 0.10}]}
      - {id: phone, name: Phone, kind: recurring, timing: in_advance, unit: phone,
         prices: [{currency: USD, model: per_unit, amount: 20.00}]}
"""

THRESHOLDS = """
spending_thresholds:
  - {id: acme, name: Budget of Acme, account: ACME, scope: account, amount: 50.00, currency: USD}
  - {id: group, name: Budget of the group, account: GROUP, amount: 90.00, currency: USD,
     period: year}
discounts:
  - {id: tenth, name: A tenth off, percent: 10, charges: [talk], accounts: [ACME]}
"""


def at(day: int, month: int = 1) -> datetime:
    return datetime(2024, month, day, 12, tzinfo=UTC)


def load(company: Company, text: str, now: datetime) -> None:
    file, problems = parse_incentives(text, "incentives.yaml")
    assert problems == []
    with company.database.transaction(now=now) as uow:
        save_incentives(uow, file)


@pytest.fixture
def talkers(company: Company) -> tuple[int, int]:
    """Subscriptions of ACME and BETA; GROUP is above both; nobody is billed for itself."""
    company.load_prices(PRICES)
    with company.database.transaction(now=at(1)) as uow:
        group = uow.create("account", {"external_id": "GROUP", "name": "Group"})
        for name in ("ACME", "BETA"):
            account = uow.create(
                "account", {"external_id": name, "name": name, "parent_id": group["id"]}
            )
            uow.create("billing_profile", {"account_id": account["id"], "currency": "USD"})
    load(company, THRESHOLDS, at(1))
    return (
        company.subscribe("A", "ACME", "talking", JAN),
        company.subscribe("B", "BETA", "talking", JAN),
    )


def spent(company: Company, account: str, now: datetime) -> dict[str, Spent]:
    found = spending(company.database, company.store, account, now=now)
    return {one.threshold: one for one in found}


def told(company: Company, now: datetime) -> list[tuple[str, str]]:
    """Threshold and amount spent of every event there is, after the watchers have looked."""
    watch_usage_by_all(company.database, company.store, USAGE_WATCHERS, now=now)
    with company.database.transaction(now=now) as uow:
        rows = uow.query(
            "SELECT data FROM outgoing_event WHERE type = 'spending.threshold_reached' ORDER BY id"
        )
    return [(row["data"]["threshold"], row["data"]["spent"]) for row in rows]


def test_billed_and_running_charges_count_less_discounts(
    company: Company, talkers: tuple[int, int]
) -> None:
    run_bills(company.database, company.store, JAN, now=at(1))
    company.use(talkers[0], ("a", at(3), "100"))
    company.use(talkers[1], ("b", at(4), "50"))
    # ACME: 20 billed for January, 100 minutes at 0.10 less a tenth. BETA: 20 and 5.
    found = spent(company, "ACME", at(15))
    assert (found["acme"].spent, found["acme"].left) == (Decimal("29.00"), Decimal("21.00"))
    assert (found["acme"].period_start, found["acme"].period_end) == (JAN, FEB)
    assert (found["group"].spent, found["group"].reached) == (Decimal("54.00"), False)
    assert found["group"].period_end == date(2025, 1, 1)
    assert found["group"].complete
    assert set(spent(company, "BETA", at(15))) == {"group"}


def test_each_threshold_is_told_once_in_a_period_whatever_comes_again(
    company: Company, talkers: tuple[int, int]
) -> None:
    company.use(talkers[0], ("a", at(3), "300"))
    assert told(company, at(3)) == []
    company.use(talkers[0], ("b", at(4), "34"))
    # 20 + 334 x 0.10 - 3.34 = 50.06
    acme = [("acme", "50.06")]
    assert told(company, at(4)) == acme
    company.use(talkers[0], ("a", at(3), "300"), ("b", at(4), "34"))
    assert told(company, at(5)) == acme
    company.use(talkers[1], ("c", at(6), "500"))
    # 50.06 + 20 + 50.00
    both = [*acme, ("group", "120.06")]
    assert told(company, at(6)) == both
    run_bills(company.database, company.store, FEB, now=at(1, month=2))
    company.use(talkers[0], ("d", at(2, month=2), "400"))
    # February for itself: 20 + 40 - 4; the year of the group was told.
    assert told(company, at(2, month=2)) == [*both, ("acme", "56")]


def test_what_was_told_is_not_told_again_when_its_event_is_forgotten(
    company: Company, talkers: tuple[int, int]
) -> None:
    company.use(talkers[1], ("a", at(3), "900"))
    assert [threshold for threshold, _ in told(company, at(3))] == ["group"]
    with company.database.transaction(now=at(3)) as uow:
        uow.execute("UPDATE outgoing_event SET state = 'routed'")
    assert prune_events(company.database, at(4) + KEPT) == 1
    company.use(talkers[1], ("b", at(5, month=6), "900"))
    assert told(company, at(5, month=6)) == []
    load(company, THRESHOLDS.replace("90.00", "150.00"), at(6, month=6))
    company.use(talkers[1], ("c", at(7, month=6), "1"))
    assert [threshold for threshold, _ in told(company, at(7, month=6))] == ["group"]


def test_what_is_billed_ahead_from_the_first_day_without_the_threshold_on_does_not_count(
    company: Company, talkers: tuple[int, int]
) -> None:
    until = "period: year, start: 2024-01-01, end: 2024-02-01}"
    load(company, THRESHOLDS.replace("period: year}", until), at(2))
    run_bills(company.database, company.store, FEB, now=at(15))
    # January and February of two phones; February is without it.
    group = spent(company, "GROUP", at(15))["group"]
    assert (group.spent, group.period_end) == (Decimal("40.00"), FEB)


def test_an_unknown_account_is_refused(company: Company, talkers: tuple[int, int]) -> None:
    with pytest.raises(Refused, match="there is no account 'NOBODY'"):
        spending(company.database, company.store, "NOBODY", now=at(15))


def test_a_bill_run_tells_of_what_it_bills_in_whatever_period(
    company: Company, talkers: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each account is a batch of its own, both at once."""
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", 1)
    more = """
spending_thresholds:
  - {id: line, name: Lines, account: ACME, amount: 20.00, currency: USD}
  - {id: both, name: Lines of both, account: GROUP, amount: 40.00, currency: USD, period: year}
"""
    load(company, more, at(1))
    bill = partial(run_bills, company.database, company.store, workers=2)
    bill(JAN, now=at(1))
    # No usage has arrived: the lines for January alone come to 20.00 and 40.00.
    known = [("both", "40"), ("line", "20")]
    assert sorted(told(company, at(1))) == known
    company.use(talkers[0], ("a", at(3), "300"))
    bill(FEB, now=at(1, month=2))
    # January came to 20 + 27, the year to 40 + 27 + 40. Lines were told of for February, too.
    known = sorted([*known, ("group", "107"), ("line", "20")])
    assert sorted(told(company, at(2, month=2))) == known
    company.use(talkers[0], ("late", at(9), "40"))
    assert sorted(told(company, at(3, month=2))) == known
    bill(date(2024, 3, 1), now=at(1, month=3))
    # 3.60 more for January: 50.60.
    known = sorted([*known, ("acme", "50.6"), ("line", "20")])
    assert sorted(told(company, at(1, month=3))) == known
    bill(date(2024, 3, 1), now=at(2, month=3))
    assert sorted(told(company, at(2, month=3))) == known
