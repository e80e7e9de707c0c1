"""Bill runs: what is due is billed once, in full, and nobody's fault stops the others."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing import commands
from counterfoil.business.billing.commands import discard_drafts
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.subscriptions.commands import cancel_subscriptions, change_quantity
from counterfoil.core.problems import Refused

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)


def at(day: int, hour: int = 12, month: int = 1) -> datetime:
    return datetime(2024, month, day, hour, tzinfo=UTC)


def test_room_in_advance_from_mid_month_costs_its_share_of_days(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", date(2024, 1, 16), quantities={"room": Decimal(3)})
    company.bill(JAN)
    assert company.lines() == []
    company.bill(date(2024, 1, 16))
    company.bill(FEB)
    # 3 x 249.95 x 16/31 = 387.0193...
    assert [line[2:] for line in company.lines()] == [
        (date(2024, 1, 16), FEB, Decimal(3), Decimal("387.02")),
        (FEB, MAR, Decimal(3), Decimal("749.85")),
    ]


def test_running_again_adds_nothing(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "61"), ("b", at(4), "599"))
    first = company.bill(FEB)
    before = company.counts()
    again = company.bill(FEB)
    assert (first.invoices, first.lines) == (1, 1)
    assert (again.invoices, again.lines, again.totals) == (0, 0, {})
    assert company.counts() == before == [1, 1, 1]


def test_minutes_count_per_connection_and_go_through_the_tiers(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    # 61 s is 2 minutes, 600 s is 10, 1 s is 1: 13 minutes, 2 included, 10 x 0.22 + 1 x 0.20.
    company.use(subscription, ("a", at(3), "61"), ("b", at(4), "600"), ("c", at(5), "1"))
    company.bill(FEB)
    assert company.lines() == [
        ("INV-000001", "Toll-free minutes", JAN, FEB, Decimal(13), Decimal("2.40"))
    ]


def test_usage_of_a_billed_month_that_arrives_late_is_a_line_of_its_own(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "660"))
    company.bill(FEB)
    company.use(subscription, ("late", at(20), "180"), ("new", at(2, month=2), "60"))
    company.bill(MAR)
    # January: 11 minutes billed, 9 after the included two; 3 more: one at 0.22, two at 0.20.
    assert company.lines()[1:] == [
        ("INV-000002", "Toll-free minutes (late usage)", JAN, FEB, Decimal(3), Decimal("0.62")),
        ("INV-000002", "Toll-free minutes", FEB, MAR, Decimal(1), Decimal(0)),
    ]
    assert company.bill(MAR).lines == 0


def test_a_month_belongs_to_the_accounts_own_time_zone(company: Company) -> None:
    company.open_account("TOKYO", time_zone="Asia/Tokyo")
    subscription = company.subscribe("M", "TOKYO", "minutes", JAN)
    # 31 January 15:00 UTC is the first of February in Tokyo.
    company.use(subscription, ("january", at(31, 14), "600"), ("february", at(31, 15), "600"))
    company.bill(FEB)
    assert [line[4] for line in company.lines()] == [Decimal(10)]


def test_raised_quantity_credits_the_old_and_charges_the_new(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "rooms", JAN, quantities={"room": Decimal(1)})
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        change_quantity(uow, subscription, "room", Decimal(2), date(2024, 1, 17))
    company.bill(date(2024, 1, 17))
    # 15 of 31 days: 249.95 x 15/31 = 120.9435..., twice that 241.887...
    assert [line[1:] for line in company.lines()[1:]] == [
        ("Managed room", date(2024, 1, 17), FEB, Decimal(2), Decimal("241.89")),
        ("Credit: Managed room", date(2024, 1, 17), FEB, Decimal(1), Decimal("-120.94")),
    ]


def test_cancelled_twice_gives_back_what_was_billed_and_not_more(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "rooms", JAN, quantities={"room": Decimal(1)})
    company.bill(JAN)
    for end in (date(2024, 1, 20), date(2024, 1, 10), JAN):
        with company.database.transaction(now=NOW) as uow:
            cancel_subscriptions(uow, [subscription], end)
        company.bill(FEB)
    amounts = [line[5] for line in company.lines()]
    # 12, 10 and 9 days: each time the difference to the share that is to be given back by then.
    assert amounts == [
        Decimal("249.95"),
        Decimal("-96.75"),
        Decimal("-80.63"),
        Decimal("-72.57"),
    ]
    assert sum(amounts) == 0
    assert [line[0] for line in company.lines()] == [
        "INV-000001",
        "CN-000001",
        "CN-000002",
        "CN-000003",
    ]
    assert company.bill(MAR).invoices == 0


def test_an_account_without_a_price_is_reported_and_the_others_are_billed(
    company: Company,
) -> None:
    company.open_account("ACME")
    company.open_account("LYON", currency="EUR")
    for account in ("ACME", "LYON"):
        company.subscribe(f"S-{account}", account, "rooms", JAN)
    run = company.bill(JAN)
    assert run.invoices == 1
    assert [problem[1:] for problem in run.problems] == [
        ("no_price", 'no price in EUR for charge "Managed room" on 2024-01-01')
    ]
    company.load_prices(
        "rate_plans: [{id: rooms, product: conferencing, name: Rooms, charges: [{id: room, "
        "name: Managed room, kind: recurring, timing: in_advance, unit: room, "
        "prices: [{currency: EUR, model: per_unit, amount: 230}]}]}]"
    )
    again = company.bill(JAN)
    assert (again.invoices, again.totals, again.problems) == (1, {"EUR": Decimal(230)}, [])


def test_an_amount_that_cannot_be_computed_stops_nobody_else(company: Company) -> None:
    for account in ("ACME", "HUGE", "OTHER"):
        company.open_account(account)
        company.subscribe(f"S-{account}", account, "rooms", JAN)
    with company.database.transaction(now=NOW) as uow:
        company_id = uow.ids_by("account", "external_id", ["HUGE"])["HUGE"]
        uow.execute(
            "UPDATE subscription_charge SET quantity = 999999999999 WHERE subscription_id = "
            "(SELECT id FROM subscription WHERE account_id = :account)",
            account=company_id,
        )
        charge = uow.query("SELECT id FROM charge WHERE external_id = 'room'")[0]["id"]
        price = uow.create(
            "price",
            {
                "charge_id": charge,
                "layer": "account",
                "account_id": company_id,
                "currency": "USD",
                "model": "per_unit",
            },
        )
        uow.create("price_tier", {"price_id": price["id"], "unit_amount": Decimal(10) ** 17})
    run = company.bill(JAN)
    assert run.invoices == 2
    assert [(account, code) for account, code, _ in run.problems] == [
        (company_id, "not_computable")
    ]


def test_an_account_without_a_profile_is_billed_through_its_parent(company: Company) -> None:
    parent = company.open_account("HOLDING")
    with company.database.transaction(now=NOW) as uow:
        uow.create("account", {"external_id": "DIV", "name": "Division", "parent_id": parent})
    company.subscribe("S1", "HOLDING", "rooms", JAN)
    company.subscribe("S2", "DIV", "rooms", JAN)
    run = company.bill(JAN)
    assert (run.invoices, run.lines, run.totals) == (1, 2, {"USD": Decimal("499.90")})


def test_preview_is_the_invoice_that_the_bill_run_makes(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.subscribe("S", "ACME", "rooms", JAN)
    company.use(subscription, ("a", at(3), "6000"))
    preview = preview_invoice(company.database, company.store, "ACME", FEB, now=NOW)
    assert company.counts() == [0, 0, 0]
    company.bill(FEB)
    assert preview.invoice is not None
    assert [
        (line["description"], line["service_start"], line["service_end"], line["amount"])
        for line in preview.lines
    ] == [(line[1], line[2], line[3], line[5]) for line in company.lines()]


def test_drafts_have_no_number_until_they_are_final(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    company.bill(JAN, finalize=False)
    assert [line[0] for line in company.lines()] == [None]
    assert finalize_invoices(company.database, now=NOW).final == 1
    assert [line[0] for line in company.lines()] == ["INV-000001"]
    assert finalize_invoices(company.database, now=NOW).final == 0


def test_discarded_drafts_are_due_again(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.subscribe("S", "ACME", "rooms", JAN)
    company.use(subscription, ("a", at(3), "6000"))
    company.bill(JAN)
    company.bill(FEB, finalize=False)
    drafted = company.lines()
    assert discard_drafts(company.database, now=NOW) == 1
    assert len(company.lines()) == 1
    company.bill(FEB, finalize=False)
    assert company.lines() == drafted


def test_numbers_are_gapless_over_many_batches(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        company.open_account(f"A{number}")
        company.subscribe(f"S{number}", f"A{number}", "rooms", JAN)
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", 3)
    seen: list[tuple[int, int]] = []
    company.bill(JAN, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 7), (6, 7), (7, 7)]
    assert sorted(str(line[0]) for line in company.lines()) == [f"INV-{n:06}" for n in range(1, 8)]


def test_a_second_bill_run_at_the_same_time_is_refused(company: Company) -> None:
    with company.database.transaction(now=NOW) as uow:
        assert uow.lock("bill_run")
        with pytest.raises(Refused, match="another bill run is going on") as refused:
            company.bill(JAN)
    assert refused.value.status == 409
    assert company.counts() == [0, 0, 0]


def test_the_calendar_of_a_billed_account_cannot_change(company: Company) -> None:
    account = company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        profile = uow.find("billing_profile", account_id=account)
    assert profile is not None
    with (
        pytest.raises(Refused, match="cycle_day: cannot change"),
        company.database.transaction(now=NOW) as uow,
    ):
        uow.update("billing_profile", profile["id"], {"cycle_day": 15, "email": "a@b.example"})
    with company.database.transaction(now=NOW) as uow:
        assert uow.find("billing_profile", account_id=account) == profile


def test_late_usage_is_priced_as_its_month_was_billed(company: Company) -> None:
    account = company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(5), "360"), ("b", at(25), "360"))
    company.bill(FEB)
    # 12 minutes: 2 included, 10 x 0.22. Then a price that would have split the month is entered.
    with company.database.transaction(now=NOW) as uow:
        charge = uow.ids_by("charge", "external_id", ["minute"])["minute"]
        price = uow.create(
            "price",
            {
                "charge_id": charge,
                "layer": "account",
                "account_id": account,
                "currency": "USD",
                "valid_from": date(2024, 1, 16),
                "model": "per_unit",
            },
        )
        uow.create("price_tier", {"price_id": price["id"], "unit_amount": Decimal(9)})
    company.use(subscription, ("late", at(6), "60"))
    company.bill(FEB)
    assert [line[4:] for line in company.lines()] == [
        (Decimal(12), Decimal("2.20")),
        (Decimal(1), Decimal("0.20")),
    ]


def test_a_charge_without_proration_is_billed_once_per_cycle_in_full(company: Company) -> None:
    company.load_prices(
        "rate_plans: [{id: fees, product: conferencing, name: Fees, charges: [{id: fee, "
        "name: Fee, kind: recurring, timing: in_advance, proration: none, unit: fee, "
        "prices: [{currency: USD, model: per_unit, amount: 30}]}]}]"
    )
    company.open_account("ACME")
    subscription = company.subscribe("F", "ACME", "fees", date(2024, 1, 16))
    company.bill(date(2024, 1, 16))
    with company.database.transaction(now=NOW) as uow:
        change_quantity(uow, subscription, "fee", Decimal(2), date(2024, 1, 20))
    company.bill(date(2024, 1, 20))
    company.bill(FEB)
    with company.database.transaction(now=NOW) as uow:
        cancel_subscriptions(uow, [subscription], date(2024, 2, 10))
    company.bill(MAR)
    assert [line[2:] for line in company.lines()] == [
        (date(2024, 1, 16), FEB, Decimal(1), Decimal(30)),
        (FEB, MAR, Decimal(2), Decimal(60)),
    ]
