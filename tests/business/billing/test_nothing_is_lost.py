"""What must not fall between two bill runs: unfinished prices, late usage, drafts, orphans."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing.commands import discard_drafts
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.subscriptions.commands import cancel_subscriptions
from counterfoil.core.problems import Refused

JAN, FEB, MAR, APR = (date(2024, month, 1) for month in (1, 2, 3, 4))


def at(day: int, month: int = 1) -> datetime:
    return datetime(2024, month, day, 12, tzinfo=UTC)


def amounts(company: Company) -> list[Decimal]:
    return [line[5] for line in company.lines()]


def give_own_price(company: Company, account: int, charge: str, *tiers: dict[str, object]) -> int:
    """A graduated price of the account's own with these tiers, which need not be finished."""
    with company.database.transaction(now=NOW) as uow:
        charge_id = uow.ids_by("charge", "external_id", [charge])[charge]
        price = uow.create(
            "price",
            {
                "charge_id": charge_id,
                "layer": "account",
                "account_id": account,
                "currency": "USD",
                "model": "graduated",
            },
        )
        for tier in tiers:
            uow.create("price_tier", {"price_id": price["id"], **tier})
        return int(price["id"])


def test_a_price_without_tiers_is_a_problem_and_nothing_is_billed(company: Company) -> None:
    account = company.open_account("ACME")
    company.open_account("OTHER")
    for name in ("ACME", "OTHER"):
        company.subscribe(f"S-{name}", name, "rooms", JAN)
    price = give_own_price(company, account, "room")
    run = company.bill(JAN)
    assert run.problems == [
        (account, "no_tier", f'price {price} of charge "Managed room" has no tier for 1 room')
    ]
    assert amounts(company) == [Decimal("249.95")]
    with company.database.transaction(now=NOW) as uow:
        uow.create("price_tier", {"price_id": price, "unit_amount": Decimal(200)})
    assert company.bill(JAN).totals == {"USD": Decimal(200)}


def test_usage_beyond_a_closed_last_tier_is_a_problem(company: Company) -> None:
    account = company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    tier = {"up_to": Decimal(5), "unit_amount": Decimal("0.1")}
    price = give_own_price(company, account, "minute", tier)
    company.use(subscription, ("a", at(3), "300"))
    assert company.bill(FEB).totals == {"USD": Decimal("0.5")}
    company.use(subscription, ("b", at(3, month=2), "301"))
    run = company.bill(MAR)
    assert run.invoices == 0
    assert run.problems == [
        (
            account,
            "no_tier",
            f'price {price} of charge "Toll-free minutes" has no tier for 6 minute',
        )
    ]


def test_an_account_nobody_is_billed_for_is_reported(company: Company) -> None:
    with company.database.transaction(now=NOW) as uow:
        orphan = uow.create("account", {"external_id": "LOST", "name": "Lost"})["id"]
    company.subscribe("S", "LOST", "rooms", JAN)
    assert company.bill(date(2023, 12, 1)).problems == []
    run = company.bill(JAN)
    assert [(account, code) for account, code, _ in run.problems] == [
        (orphan, "no_billing_profile")
    ]
    with company.database.transaction(now=NOW) as uow:
        stored = uow.query("SELECT account_id, code FROM billing_problem")
        uow.create("billing_profile", {"account_id": orphan, "currency": "USD"})
    assert stored == [{"account_id": orphan, "code": "no_billing_profile"}]
    again = company.bill(JAN)
    assert (again.invoices, again.problems) == (1, [])


def test_late_usage_of_a_discarded_draft_is_billed_again(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "180"))
    company.bill(FEB)
    company.use(subscription, ("late", at(20), "60"))
    company.bill(MAR, finalize=False)
    assert amounts(company) == [Decimal("0.22"), Decimal("0.22")]
    discard_drafts(company.database, now=NOW)
    company.bill(MAR)
    assert amounts(company) == [Decimal("0.22"), Decimal("0.22")]


def test_late_usage_of_an_account_with_a_problem_is_billed_once_it_is_mended(
    company: Company,
) -> None:
    account = company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "180"))
    company.bill(FEB)
    company.use(subscription, ("late", at(20), "60"))
    company.subscribe("S", "ACME", "rooms", FEB)
    price = give_own_price(company, account, "room")
    assert company.bill(FEB).invoices == 0
    with company.database.transaction(now=NOW) as uow:
        uow.create("price_tier", {"price_id": price, "unit_amount": Decimal(200)})
    preview = preview_invoice(company.database, company.store, "ACME", FEB, now=NOW)
    company.bill(FEB)
    assert amounts(company)[1:] == [Decimal(200), Decimal("0.22")]
    assert [line["amount"] for line in preview.lines] == [Decimal(200), Decimal("0.22")]
    assert company.bill(FEB).lines == 0


def test_a_run_that_looks_back_does_not_hide_late_usage_from_the_next(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3, month=2), "180"))
    company.bill(MAR)
    company.use(subscription, ("late", at(20, month=2), "60"))
    company.bill(FEB)
    company.bill(MAR)
    assert amounts(company) == [Decimal("0.22"), Decimal("0.22")]


def test_nothing_is_billed_on_top_of_a_draft(company: Company) -> None:
    account = company.open_account("ACME")
    subscription = company.subscribe("S", "ACME", "rooms", JAN)
    company.bill(JAN, finalize=False)
    assert company.bill(JAN).problems == []
    with company.database.transaction(now=NOW) as uow:
        cancel_subscriptions(uow, [subscription], date(2024, 1, 16))
    run = company.bill(FEB)
    assert (run.invoices, [problem[:2] for problem in run.problems]) == (
        0,
        [(account, "open_draft")],
    )
    assert discard_drafts(company.database, now=NOW) == 1
    company.bill(FEB)
    # 249.95 x 15/31
    assert amounts(company) == [Decimal("120.94")]


def test_drafts_are_not_discarded_while_a_bill_run_is_going_on(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    company.bill(JAN, finalize=False)
    with company.database.transaction(now=NOW) as uow:
        assert uow.lock("bill_run")
        with pytest.raises(Refused, match="another bill run is going on"):
            discard_drafts(company.database, now=NOW)
    assert finalize_invoices(company.database, now=NOW).final == 1


def test_a_fee_of_a_subscription_that_never_began_is_given_back(company: Company) -> None:
    company.load_prices(
        "rate_plans: [{id: setup, product: conferencing, name: Setup, charges: [{id: fee, "
        "name: Setup fee, kind: one_time, prices: [{currency: USD, model: flat, amount: 99}]}]}]"
    )
    company.open_account("ACME")
    begun = company.subscribe("KEPT", "ACME", "setup", JAN)
    subscription = company.subscribe("S", "ACME", "setup", JAN)
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        cancel_subscriptions(uow, [subscription], JAN)
        cancel_subscriptions(uow, [begun], date(2024, 1, 2))
    company.bill(FEB)
    assert amounts(company) == [Decimal(99), Decimal(99), Decimal(-99)]
    assert company.bill(MAR).lines == 0


@pytest.mark.parametrize("huge", ["flat_amount", "unit_amount"])
def test_an_amount_beyond_all_digits_stops_nobody_else(company: Company, huge: str) -> None:
    account = company.open_account("HUGE")
    company.open_account("OTHER")
    for name in ("HUGE", "OTHER"):
        company.subscribe(f"S-{name}", name, "rooms", JAN)
    give_own_price(company, account, "room", {huge: Decimal(10) ** 17})
    run = company.bill(JAN)
    assert [problem[:2] for problem in run.problems] == [(account, "not_computable")]
    assert amounts(company) == [Decimal("249.95")]


def test_usage_after_a_cancellation_in_the_past_is_given_back(company: Company) -> None:
    company.open_account("ACME")
    subscription = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(subscription, ("a", at(3), "720"), ("b", at(25), "120"), ("c", at(3, 2), "300"))
    company.bill(MAR)
    with company.database.transaction(now=NOW) as uow:
        cancel_subscriptions(uow, [subscription], date(2024, 1, 20))
    company.bill(MAR)
    # January: 14 minutes, 2 included, 10 at 0.22, 2 at 0.20; February: 5, 2 included, 3 at 0.22.
    assert [line[1:] for line in company.lines()] == [
        ("Toll-free minutes", JAN, FEB, Decimal(14), Decimal("2.60")),
        ("Toll-free minutes", FEB, MAR, Decimal(5), Decimal("0.66")),
        ("Credit: Toll-free minutes", JAN, date(2024, 1, 20), Decimal(-2), Decimal("-0.40")),
        ("Credit: Toll-free minutes", FEB, MAR, Decimal(5), Decimal("-0.66")),
    ]
    company.use(subscription, ("late", at(4), "60"), ("too late", at(21), "60"))
    company.bill(APR)
    assert [line[1:] for line in company.lines()[4:]] == [
        (
            "Toll-free minutes (late usage)",
            JAN,
            date(2024, 1, 20),
            Decimal(1),
            Decimal("0.20"),
        )
    ]
    assert company.bill(APR).lines == 0


def test_exact_amounts_keep_15_decimals(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", date(2024, 1, 16))
    company.bill(date(2024, 1, 16))
    with company.database.transaction(now=NOW) as uow:
        charge = uow.query("SELECT exact_amount, list_amount FROM rated_charge")[0]
    # 249.95 x 16/31
    assert charge["exact_amount"] == Decimal("129.006451612903226")
    assert charge["list_amount"] == Decimal("129.006451612903226")
