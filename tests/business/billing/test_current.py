"""Current usage and charges: what has come together, priced as if the cycle ended now."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company
from tests.business.billing.test_rerating import own_price

from counterfoil.business.billing.current import CurrentCharges, current_charges
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.subscriptions.commands import cancel_subscriptions
from counterfoil.core.problems import Refused

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)


def at(day: int, hour: int = 12, month: int = 1) -> datetime:
    return datetime(2024, month, day, hour, tzinfo=UTC)


def current(company: Company, now: datetime, account: str = "ACME") -> CurrentCharges:
    return current_charges(company.database, company.store, account, now=now)


def test_usage_so_far_is_priced_as_if_the_month_ended_now(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    # 61 s is 2 minutes, 600 s is 10, 1 s is 1: 13 minutes, 2 included, 10 x 0.22 + 1 x 0.20.
    company.use(subscription, ("a", at(3), "61"), ("b", at(4), "600"), ("c", at(5), "1"))
    found = current(company, at(15))
    (charge,) = found.charges
    assert (charge.state, charge.cycle_start, charge.cycle_end) == ("running", JAN, FEB)
    assert (charge.account, charge.subscription, charge.charge) == ("ACME", "M", "minute")
    assert (charge.quantity, charge.unit, charge.events) == (13, "minute", 3)
    assert (charge.included_quantity, charge.included_limit) == (2, 2)
    assert (charge.tier_from, charge.tier_up_to) == (10, None)
    assert charge.last_event_at == at(5)
    assert str(charge.amount) == "2.40"
    assert (found.due, found.running, found.total) == (0, Decimal("2.40"), Decimal("2.40"))
    (meter,) = found.meters
    assert (meter.meter, meter.unit, meter.events) == ("seconds", "second", 3)
    assert (meter.quantity, meter.last_event_at) == (662, at(5))


def test_quantities_of_two_prices_are_added_up_to_the_last_digit(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    own_price(company, "ACME", "minute", "0.10", valid_from=date(2024, 1, 10))
    huge = "12345678901234.123456789012347"
    company.use(subscription, ("a", at(3), huge), ("b", at(12), huge))
    found = current(company, at(15))
    (charge,) = found.charges
    # 205,761,315,020.57 minutes are rounded up, twice.
    assert charge.quantity == 2 * 205_761_315_021
    assert found.meters[0].quantity == Decimal("24691357802468.246913578024694")


def test_what_runs_and_what_is_due_stand_apart(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("R", "ACME", "rooms", JAN, quantities={"room": Decimal(3)})
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "660"), ("b", at(2, month=2), "60"))
    found = current(company, at(2, 13, month=2))
    assert [
        (c.charge, c.state, c.cycle_start, c.quantity, str(c.amount)) for c in found.charges
    ] == [
        ("room", "due", JAN, 3, "749.85"),
        ("room", "due", FEB, 3, "749.85"),
        ("minute", "due", JAN, 11, "1.98"),
        ("minute", "running", FEB, 1, "0.00"),
    ]
    assert (found.due, found.running) == (Decimal("1501.68"), Decimal("0.00"))
    assert company.counts() == [0, 0, 0]
    company.bill(date(2024, 2, 2))
    after = current(company, at(2, 13, month=2))
    assert [(c.charge, c.state) for c in after.charges] == [("minute", "running")]
    assert (after.due, after.running) == (0, Decimal("0.00"))


def test_late_usage_and_what_is_given_back_are_due(company: Company) -> None:
    company.open_account("ACME")
    rooms = company.subscribe("R", "ACME", "rooms", JAN, quantities={"room": Decimal(1)})
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "660"))
    company.bill(FEB)
    company.use(subscription, ("late", at(20), "180"))
    with company.database.transaction(now=at(10, month=2)) as uow:
        cancel_subscriptions(uow, [rooms], date(2024, 2, 15))
    found = current(company, at(10, month=2))
    assert [(c.charge, c.kind, c.state, str(c.amount)) for c in found.charges] == [
        ("room", "reversal", "due", "-129.28"),
        ("minute", "usage", "late", "0.62"),
        ("minute", "usage", "running", "0.00"),
    ]
    assert found.charges[1].quantity == 3
    preview = preview_invoice(
        company.database, company.store, "ACME", date(2024, 2, 10), now=at(10, month=2)
    )
    assert preview.invoice is not None
    assert found.due == preview.invoice["total"] == Decimal("-128.66")


def test_without_a_price_usage_is_shown_without_an_amount(company: Company) -> None:
    company.open_account("ACME", currency="EUR")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "61"))
    found = current(company, at(15))
    (charge,) = found.charges
    assert (charge.events, charge.quantity, charge.amount) == (1, None, None)
    assert [(m.meter, m.quantity) for m in found.meters] == [("seconds", 61)]
    assert [problem.code for problem in found.problems] == ["no_price"]
    assert (found.due, found.running, found.total) == (None, None, None)


def test_an_account_billed_through_another_sees_its_own_part(company: Company) -> None:
    parent = company.open_account("ACME")
    with company.database.transaction(now=at(1)) as uow:
        uow.create("account", {"external_id": "LAB", "name": "Lab", "parent_id": parent})
    for account in ("ACME", "LAB"):
        subscription = company.subscribe(f"M-{account}", account, "minutes", JAN)
        company.use(subscription, (account, at(3), "240"))
    whole, part = current(company, at(15)), current(company, at(15), "LAB")
    assert [(c.account, str(c.amount)) for c in whole.charges] == [
        ("ACME", "0.44"),
        ("LAB", "0.44"),
    ]
    assert [(c.account, str(c.amount)) for c in part.charges] == [("LAB", "0.44")]
    assert (part.billed_account, part.running, part.meters[0].events) == (
        "ACME",
        Decimal("0.44"),
        1,
    )


def test_today_is_the_accounts_own_day(company: Company) -> None:
    company.open_account("TOKYO", time_zone="Asia/Tokyo")
    company.subscribe("M", "TOKYO", "minutes", JAN)
    # 31 January 15:00 UTC is the first of February in Tokyo.
    before, after = current(company, at(31, 14), "TOKYO"), current(company, at(31, 15), "TOKYO")
    assert [(c.state, c.cycle_start) for c in before.charges] == [("running", JAN)]
    assert [(c.state, c.cycle_start) for c in after.charges] == [("due", JAN), ("running", FEB)]


INCENTIVES = """
discounts:
  - id: volume
    name: Volume discount
    tiers: [{from: 500, percent: 10}]
    basis: account
commitments:
  - {id: least, name: Least, account: ACME, currency: USD, minimum: 50.00, period: month,
     start: 2024-02-01}
"""


def test_what_is_due_and_what_runs_get_their_own_discounts(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("R", "ACME", "rooms", FEB, quantities={"room": Decimal(3)})
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "660"), ("b", at(2, month=2), "600"))
    entries, problems = parse_incentives(INCENTIVES, "incentives.yaml")
    assert problems == []
    with company.database.transaction(now=at(1)) as uow:
        save_incentives(uow, entries)
    found = current(company, at(10, month=2))
    preview = preview_invoice(
        company.database, company.store, "ACME", date(2024, 2, 10), now=at(10, month=2)
    )
    assert preview.invoice is not None
    # 749.85 and 1.98 are due, less 10 percent. What runs, 8 x 0.22, is
    # not enough for a discount, nor for February's minimum.
    assert found.due == preview.invoice["total"]
    running = [(c.kind, str(c.amount)) for c in found.charges if c.state == "running"]
    assert running == [("true_up", "48.24"), ("usage", "1.76")]
    assert company.counts() == [0, 0, 0]


def test_an_unknown_account_is_refused(company: Company) -> None:
    with pytest.raises(Refused, match="there is no account 'NOBODY'") as refused:
        current(company, at(15), "NOBODY")
    assert refused.value.status == 404


def test_usage_of_others_is_not_opened(company: Company) -> None:
    company.open_account("ACME")
    company.open_account("BOLT")
    acme = company.subscribe("M", "ACME", "minutes", JAN)
    bolt = company.subscribe("N", "BOLT", "minutes", JAN)
    company.use(acme, ("a", at(3), "660"))
    company.bill(FEB)
    before = set((company.store.folder / "fresh").iterdir())
    company.use(bolt, ("b", at(20), "600"))
    (late,) = set((company.store.folder / "fresh").iterdir()) - before
    late.unlink()
    found = current(company, at(10, month=2))
    assert [(c.charge, c.cycle_start, str(c.amount)) for c in found.charges] == [
        ("minute", FEB, "0.00")
    ]
