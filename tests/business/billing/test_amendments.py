"""What changes of subscriptions come to on invoices."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tests.business.billing.conftest import Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.changing import change_subscriptions, renew_subscriptions
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.price_explanation import PriceQuestion, explain_price
from counterfoil.business.products.price_terms import parse_price
from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.business.subscriptions.queries import (
    Selection,
    read_amendments,
    read_in_force,
    select_running,
)
from counterfoil.business.subscriptions.renewals import renew_due
from counterfoil.core.problems import Refused

NOW = datetime(2024, 6, 11, 12, tzinfo=UTC)
JUNE, JULY, AUGUST = date(2024, 6, 1), date(2024, 7, 1), date(2024, 8, 1)
MID = date(2024, 6, 11)

BOOK = """
products: [{id: rooms, name: Rooms}]
meters: [{id: seconds, name: Connection time, unit: second}]
rate_plans:
  - id: small
    product: rooms
    name: Small
    charges:
      - {id: s, name: Small room, kind: recurring, timing: in_advance,
         prices: [{currency: USD, model: per_unit, amount: 30}]}
      - {id: s-minutes, name: Minutes, kind: usage, meter: seconds, unit_size: 60,
         prices: [{currency: USD, model: per_unit, amount: 0.1}]}
  - id: large
    product: rooms
    name: Large
    charges:
      - {id: l, name: Large room, kind: recurring, timing: in_advance,
         prices: [{currency: USD, model: per_unit, amount: 60}]}
      - {id: l-set-up, name: Set-up, kind: one_time,
         prices: [{currency: USD, model: flat, amount: 99}]}
      - {id: l-minutes, name: Minutes, kind: usage, meter: seconds, unit_size: 60,
         prices: [{currency: USD, model: per_unit, amount: 0.05}]}
  - id: fee
    product: rooms
    name: Fee
    charges:
      - {id: fee, name: Early termination, kind: one_time,
         prices: [{currency: USD, model: flat, amount: 50}]}
  - id: recording
    product: rooms
    name: Recording
    charges:
      - {id: r, name: Recording, kind: recurring, timing: in_advance,
         prices: [{currency: USD, model: per_unit, amount: 9}]}
"""

Amend = Callable[..., int | None]


def furnish(organisation: Organisation) -> None:
    """ACME with a small room since June, billed for June; the day is 11 June."""
    company = Company(organisation)
    company.load_prices(BOOK)
    company.open_account("ACME")
    company.subscribe("S-1", "ACME", "small", JUNE, identifiers=("4711",))
    assert company.bill(JUNE).totals == {"USD": Decimal("30.00")}


@pytest.fixture
def served(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        yield Company(organisation)


@pytest.fixture
def amend(served: Company) -> Amend:
    def change(kind: str, subscription: str = "S-1", **more: object) -> int | None:
        with served.database.transaction(now=NOW) as uow:
            ids = uow.ids_by("subscription", "external_id", [subscription])
            made = Change(subscription=ids[subscription], kind=kind, **more)
            return change_subscriptions(uow, [made])[0]

    return change


def billed(company: Company, day: date) -> dict[str, str]:
    """What a bill run of the day adds, by description and first day; again it adds nothing."""
    before = len(company.lines())
    assert company.bill(day).problems == []
    assert company.bill(day).lines == 0
    return {f"{line[1]} {line[2]}": str(line[5]) for line in company.lines()[before:]}


def test_a_change_of_plan_gives_back_the_days_billed_and_bills_those_of_the_new_one(
    served: Company, amend: Amend
) -> None:
    amend("change_plan", rate_plan="large")
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-11": "-20.0000",
        "Large room 2024-06-11": "40.0000",
    }
    assert billed(served, JULY) == {"Large room 2024-07-01": "60.0000"}


def test_a_change_without_proration_is_billed_from_the_next_cycle_on(
    served: Company, amend: Amend
) -> None:
    amend("change_plan", rate_plan="large", proration="none")
    assert billed(served, MID) == {}
    assert billed(served, JULY) == {"Large room 2024-07-01": "60.0000"}


def test_a_full_change_bills_the_whole_cycle_by_the_new_plan(served: Company, amend: Amend) -> None:
    amend("change_plan", rate_plan="large", proration="full", quantities={"l": Decimal(2)})
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-01": "-30.0000",
        "Large room 2024-06-01": "120.0000",
    }


def test_a_change_at_the_next_period_begins_with_it(served: Company, amend: Amend) -> None:
    amend("change_plan", rate_plan="large", next_period=True)
    assert billed(served, MID) == {}
    assert billed(served, JULY) == {"Large room 2024-07-01": "60.0000"}


def test_usage_goes_by_the_plan_of_its_day(served: Company, amend: Amend) -> None:
    amend("change_plan", rate_plan="large")
    with served.database.transaction(now=NOW) as uow:
        subscription = uow.ids_by("subscription", "external_id", ["S-1"])["S-1"]
    served.use(
        subscription,
        ("before", datetime(2024, 6, 10, 23, tzinfo=UTC), "600"),
        ("after", datetime(2024, 6, 11, 1, tzinfo=UTC), "600"),
    )
    billed(served, MID)
    found = billed(served, JULY)
    assert found["Minutes 2024-06-11"] == "0.5000"
    amounts = sorted(str(line[5]) for line in served.lines() if line[1] == "Minutes")
    assert amounts == ["0.5000", "1.0000"]


def test_suspended_service_is_not_billed_and_goes_on_with_its_quantity(
    served: Company, amend: Amend
) -> None:
    amend("change_quantity", day=date(2024, 6, 5), charge="s", quantity=Decimal(3))
    amend("suspend")
    amend("resume", day=date(2024, 6, 21))
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-05": "-26.0000",
        "Small room 2024-06-05": "18.0000",
    }
    assert billed(served, date(2024, 6, 21)) == {"Small room 2024-06-21": "30.0000"}
    assert billed(served, JULY) == {"Small room 2024-07-01": "90.0000"}


def test_a_suspension_with_charge_changes_nothing_on_the_bill(
    served: Company, amend: Amend
) -> None:
    amend("suspend", charged=True)
    assert billed(served, JULY) == {"Small room 2024-07-01": "30.0000"}
    with pytest.raises(Refused) as refused:
        amend("change_plan", rate_plan="large")
    assert refused.value.problems[0].code == "suspended"
    amend("resume", day=date(2024, 7, 5))
    assert billed(served, AUGUST) == {"Small room 2024-08-01": "30.0000"}


def test_a_price_of_its_own_settles_what_was_billed_in_advance(
    served: Company, amend: Amend
) -> None:
    amend("change_price", charge="s", amount=Decimal(45))
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-11": "-20.0000",
        "Small room 2024-06-11": "30.0000",
    }
    with pytest.raises(Refused) as refused:
        amend("change_price", charge="s", amount=Decimal(46), day=date(2024, 6, 8))
    assert refused.value.problems[0].code == "later_price"
    assert billed(served, JULY) == {"Small room 2024-07-01": "45.0000"}


def test_an_add_on_comes_and_goes(served: Company, amend: Amend) -> None:
    amend("add_on", rate_plan="recording")
    assert billed(served, MID) == {"Recording 2024-06-11": "6.0000"}
    with pytest.raises(Refused) as refused:
        amend("add_on", rate_plan="recording", day=date(2024, 6, 15))
    assert refused.value.problems[0].code == "same_plan"
    amend("remove_add_on", rate_plan="recording", day=date(2024, 6, 21))
    assert billed(served, MID) == {"Credit: Recording 2024-06-21": "-3.0000"}
    assert billed(served, JULY) == {"Small room 2024-07-01": "30.0000"}


def test_a_transfer_bills_the_new_account_from_its_day_on(served: Company, amend: Amend) -> None:
    served.open_account("OTHER")
    amend("transfer", account="OTHER")
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-11": "-20.0000",
        "Small room 2024-06-11": "20.0000",
    }
    with served.database.transaction(now=NOW) as uow:
        made = uow.find("subscription", external_id="S-1-2")
        assert made is not None
        assert uow.ids_by("usage_identifier", "identifier", ["4711"])
    with pytest.raises(Refused) as refused:
        amend("cancel", day=date(2024, 6, 10))
    assert refused.value.problems[0].code == "transferred"


def test_what_would_be_billed_in_another_currency_is_not_transferred(
    served: Company, amend: Amend
) -> None:
    served.open_account("EUROS", currency="EUR")
    for naming, values in (
        ("price", {}),
        ("commitment", {"scope": "subscription", "subscription_external_id": "S-1"}),
    ):
        if naming == "price":
            amend("change_price", charge="s", amount=Decimal(45))
        else:
            with served.database.transaction(now=NOW) as uow:
                uow.execute("DELETE FROM price_tier WHERE price_id = (SELECT max(id) FROM price)")
                uow.execute("DELETE FROM price WHERE layer = 'subscription'")
                of = {"external_id": "m", "name": "M", "kind": "minimum", "amount": 1}
                uow.create("commitment", {**of, **values, "currency": "USD"})
        with pytest.raises(Refused) as refused:
            amend("transfer", account="EUROS")
        assert [one.code for one in refused.value.problems] == ["other_currency"]
        assert naming in refused.value.problems[0].message
    with served.database.transaction(now=NOW) as uow:
        assert uow.find("subscription", external_id="S-1-2") is None


def test_an_own_price_is_written_as_in_price_books(served: Company, amend: Amend) -> None:
    for text, code, field in (
        ("{model: volume, amount: 3, tiers: [{amount: 2}]}", "amount_beside_tiers", "price.amount"),
        ("{model: volume, currency: EUR, amount: 3}", "unknown_field", "price.currency"),
        ("{model: per_unit, amount: -1}", "too_small", "price.amount"),
        ("[1, 2", "bad_yaml", ""),
    ):
        with pytest.raises(Refused) as refused:
            parse_price(text)
        assert (code, field) in {(one.code, one.field) for one in refused.value.problems}
    terms = parse_price("{model: stairstep, tiers: [{up_to: 5, amount: 20}, {amount: 45.5}]}")
    with pytest.raises(Refused) as refused:
        amend("change_price", charge="s", amount=Decimal(1), price=terms)
    assert refused.value.problems[0].code == "two_prices"
    amend("change_price", charge="s", price=terms)
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-11": "-20.0000",
        "Small room 2024-06-11": "13.3300",
    }


def test_what_is_refused_changes_nothing(served: Company, amend: Amend) -> None:
    served.subscribe("S-2", "ACME", "large", JUNE)
    with served.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("subscription", "external_id", ["S-1", "S-2"])
        changes = [
            Change(subscription=ids["S-1"], kind="change_plan", rate_plan="large"),
            Change(subscription=ids["S-2"], kind="change_plan", rate_plan="large"),
        ]
        with pytest.raises(Refused) as refused:
            amend_subscriptions(uow, changes)
    assert [(one.code, one.line) for one in refused.value.problems] == [("same_plan", 2)]
    with served.database.transaction(now=NOW) as uow:
        assert uow.query("SELECT * FROM amendment") == []
    for wrong, code in (
        ({"kind": "renew"}, "whole_days"),
        ({"kind": "change_plan", "rate_plan": "large", "day": MID}, "missing"),
        ({"kind": "change_plan", "rate_plan": "large", "proration": "by_hour"}, "not_allowed"),
    ):
        with pytest.raises(Refused) as refused:
            amend(**{"proration": "by_second", **wrong})
        assert refused.value.problems[0].code == code


def test_a_cancellation_may_keep_what_was_billed_or_give_all_back(
    served: Company, amend: Amend
) -> None:
    served.subscribe("S-2", "ACME", "small", JUNE)
    billed(served, MID)
    amend("cancel", proration="none")
    assert billed(served, JULY) == {"Small room 2024-07-01": "30.0000"}
    amend("cancel", "S-2", proration="full")
    assert billed(served, JULY) == {
        "Credit: Small room 2024-06-01": "-30.0000",
        "Credit: Small room 2024-07-01": "-30.0000",
    }


def test_a_longer_trial_gives_back_what_was_billed_for_its_days(
    served: Company, amend: Amend
) -> None:
    served.subscribe("S-3", "ACME", "small", JUNE, trial_end=date(2024, 6, 6))
    assert billed(served, MID) == {"Small room 2024-06-06": "25.0000"}
    amend("trial", "S-3", until=date(2024, 6, 21))
    assert billed(served, date(2024, 6, 21)) == {
        "Credit: Small room 2024-06-06": "-25.0000",
        "Small room 2024-06-21": "10.0000",
    }


def test_ends_are_aligned_and_moved(served: Company, amend: Amend) -> None:
    served.subscribe("S-4", "ACME", "small", JUNE, end_date=date(2024, 6, 16))
    assert billed(served, MID) == {"Small room 2024-06-01": "15.0000"}
    amend("change_end", until=date(2024, 6, 21))
    amend("change_end", "S-4", until=date(2024, 6, 21))
    assert billed(served, MID) == {"Credit: Small room 2024-06-21": "-10.0000"}
    assert billed(served, JULY) == {"Small room 2024-06-16": "5.0000"}


def test_what_was_in_force_on_a_day_can_be_read(served: Company, amend: Amend) -> None:
    amend("change_plan", rate_plan="large", reason="more people")
    amend("suspend", day=JULY)
    with served.database.transaction(now=NOW) as uow:
        subscription = uow.ids_by("subscription", "external_id", ["S-1"])["S-1"]
        told = read_amendments(uow, [subscription])
        days = [read_in_force(uow, subscription, day) for day in (date(2024, 6, 10), MID, JULY)]
    assert [(one["kind"], one["effective_date"], one["reason"]) for one in told] == [
        ("change_plan", MID, "more people"),
        ("suspend", JULY, None),
    ]
    assert [(day["state"], day["rate_plan"]) for day in days] == [
        ("active", "small"),
        ("active", "large"),
        ("suspended", "large"),
    ]
    assert [[one["charge"] for one in day["charges"]] for day in days] == [
        ["s", "s-minutes"],
        ["l", "l-minutes"],
        [],
    ]


def test_an_early_termination_costs_its_fee_once(served: Company, amend: Amend) -> None:
    served.subscribe("S-5", "ACME", "small", JUNE)
    billed(served, MID)
    amend("cancel", rate_plan="fee")
    amend("cancel", "S-5", rate_plan="fee", amount=Decimal("12.5"))
    assert sorted(billed(served, MID).items()) == [
        ("Credit: Small room 2024-06-11", "-20.0000"),
        ("Early termination 2024-06-11", "12.5000"),
    ]
    fees = [line[5] for line in served.lines() if line[1] == "Early termination"]
    assert fees == [Decimal(50), Decimal("12.5")]
    with pytest.raises(Refused) as refused:
        amend("cancel", day=date(2024, 6, 10), rate_plan="large")
    assert refused.value.problems[0].code == "no_fee"


def test_terms_renew_or_end_as_they_say_and_only_once(served: Company) -> None:
    served.subscribe("S-6", "ACME", "small", date(2024, 1, 31))
    with served.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("subscription", "external_id", ["S-1", "S-6"])
        ending = {"term_end": date(2024, 6, 21), "renewal": "end"}
        renewing = {"term_end": date(2024, 2, 29), "term_months": 1, "renewal": "renew"}
        uow.update_many("subscription", [(ids["S-1"], ending), (ids["S-6"], renewing)])
        assert renew_due(uow, date(2024, 6, 1)).terms == 4
        assert renew_due(uow, date(2024, 6, 21)).terms == 1
        assert renew_due(uow, date(2024, 6, 21)).terms == 0
        assert uow.get("subscription", ids["S-6"])["term_end"] == date(2024, 6, 30)
        assert uow.get("subscription", ids["S-1"])["end_date"] == date(2024, 6, 21)
        told = [one["until"] for one in read_amendments(uow, [ids["S-6"]])]
    assert told == [date(2024, 3, 31), date(2024, 4, 30), date(2024, 5, 31), date(2024, 6, 30)]


def test_a_renewal_with_an_uplift_is_told_with_the_price(served: Company) -> None:
    with served.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("subscription", "external_id", ["S-1"])
        terms = {"term_end": JULY, "term_months": 1, "renewal": "renew"}
        uow.update_many("subscription", [(ids["S-1"], {**terms, "renewal_uplift_percent": 10})])
        refused = renew_due(uow, JULY)
        assert (refused.terms, list(refused.problems)) == (0, ["S-1"])
    with served.database.transaction(now=NOW) as uow:
        assert uow.query("SELECT * FROM amendment") == []
        assert renew_subscriptions(uow, JULY).terms == 1
        assert renew_subscriptions(uow, JULY).terms == 0
        asked = PriceQuestion(account="ACME", charge="s", day=JULY, subscription="S-1")
        told = explain_price(uow, asked)
        changed = read_amendments(uow, [ids["S-1"]])
    assert [str(tier["unit_amount"]) for tier in told.tiers] == ["33.0000000000"]
    assert told.sentences[0] == (
        "Subscription S-1 has a price from 2024-07-01, the most specific on this day, raised by 10 "
        "percent at the renewal on 2024-07-01."
    )
    assert [(one["kind"], one["uplift_percent"]) for one in changed] == [("renew", 10)]
    assert billed(served, JULY) == {"Small room 2024-07-01": "33.0000"}


def test_an_agreed_price_of_the_new_term_is_not_raised(served: Company, amend: Amend) -> None:
    amend("change_price", charge="s", amount=Decimal(40), day=JULY)
    amend("renew", day=JULY, until=AUGUST, uplift_percent=Decimal(50))
    assert billed(served, JULY) == {"Small room 2024-07-01": "40.0000"}


def test_a_fee_in_percent_explains_itself(served: Company, amend: Amend) -> None:
    with pytest.raises(Refused) as refused:
        amend("cancel", rate_plan="fee", fee_percent=Decimal(50))
    assert refused.value.problems[0].code == "no_term"
    with served.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("subscription", "external_id", ["S-1"])
        uow.update_many("subscription", [(ids["S-1"], {"term_end": AUGUST})])
    for wrong, code in (
        ({}, "missing"),
        ({"rate_plan": "fee", "amount": Decimal(1)}, "two_fees"),
        ({"rate_plan": "fee", "next_period": True}, "missing"),
    ):
        with pytest.raises(Refused) as refused:
            amend("cancel", fee_percent=Decimal(50), **wrong)
        assert refused.value.problems[0].code == code
    amend("change_quantity", charge="s", quantity=Decimal(2), day=JULY)
    amend("cancel", rate_plan="fee", fee_percent=Decimal(50))
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-11": "-20.0000",
        "Early termination (50 % of 80.00 for the remaining term) 2024-06-11": "40.0000",
    }
    with served.database.transaction(now=NOW) as uow:
        line = uow.query("SELECT max(id) AS id FROM invoice_line WHERE amount = 40")[0]["id"]
        said = explain_line(uow, served.store, int(line)).sentences
    assert said[:4] == (
        "The remaining term, 2024-06-11 to 2024-07-31, would have cost 80.00 USD:",
        "Small room, 2024-06-11 to 2024-06-30: 1 × 30, in all 20.00 USD.",
        "Small room, 2024-07-01 to 2024-07-31: 2 × 30, in all 60.00 USD.",
        "50 percent of it, rounded half-up once, are 40.00 USD.",
    )


def test_what_happens_is_charged_as_often_as_it_happens(served: Company, amend: Amend) -> None:
    for quantity, amount in ((1, None), (3, None), (1, Decimal(20))):
        amend("charge_once", rate_plan="fee", quantities={"fee": Decimal(quantity)}, amount=amount)
        if amount is None:
            billed(served, MID)
    assert billed(served, MID) == {"Early termination 2024-06-11": "20.0000"}
    fees = [line[5] for line in served.lines() if line[1] == "Early termination"]
    assert fees == [50, 50, 20]
    for wrong, code in (
        ({"rate_plan": "fee", "amount": Decimal(30)}, "later_price"),
        ({"rate_plan": "large"}, "not_once"),
        ({"rate_plan": "fee", "quantities": {"s": Decimal(1)}}, "unknown_charge"),
        ({"rate_plan": "fee", "day": date(2024, 5, 1)}, "not_running"),
    ):
        with pytest.raises(Refused) as refused:
            amend("charge_once", **wrong)
        assert refused.value.problems[0].code == code
    amend("charge_once", rate_plan="fee", amount=Decimal(30), day=date(2024, 6, 10))
    assert billed(served, MID) == {"Early termination 2024-06-10": "30.0000"}


def leaving(subscription: int) -> Change:
    """It ends today, for a tenth of what the rest of its term would cost."""
    percent = Decimal(10)
    return Change(subscription=subscription, kind="cancel", rate_plan="fee", fee_percent=percent)


def test_a_site_full_of_subscriptions_ends_in_as_many_statements_as_two(served: Company) -> None:
    with served.database.transaction(now=NOW) as uow:
        account = uow.find("account", external_id="ACME")
        assert account is not None
        for name in ("TWO", "MANY"):
            uow.create(
                "site",
                {"external_id": name, "name": name, "account_id": account["id"], "country": "US"},
            )
    for number in range(6):
        site = "TWO" if number < 2 else "MANY"
        served.subscribe(f"T-{number}", "ACME", "small", JUNE, site=site)
    with served.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("subscription", "external_id", [f"T-{n}" for n in range(6)])
        uow.update_many("subscription", [(one, {"term_end": AUGUST}) for one in ids.values()])
    counts: list[int] = []
    for site in ("TWO", "MANY"):
        counted: list[object] = []

        def count(*arguments: object, to: list[object] = counted) -> None:
            to.append(arguments[2])

        event.listen(Engine, "before_cursor_execute", count)
        try:
            with served.database.transaction(now=NOW) as uow:
                (chosen,) = select_running(uow, [Selection(day=MID, site=site)])
                change_subscriptions(uow, [leaving(one) for one in chosen])
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        counts.append(len(counted))
    assert counts[0] == counts[1]
    assert "Early termination (10 % of 50.00 for the remaining term) 2024-06-11" in billed(
        served, MID
    )


def at(hour: int, minute: int = 0, *, day: date = MID) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def test_a_change_by_the_second_explains_itself(served: Company, amend: Amend) -> None:
    second = {"proration": "by_second"}
    amend("change_quantity", charge="s", quantity=Decimal(3), at=at(12), **second)
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-11": "-19.5000",
        "Small room 2024-06-11": "58.5000",
    }
    with served.database.transaction(now=NOW) as uow:
        line = uow.query("SELECT max(id) AS id FROM invoice_line WHERE amount = 58.5")[0]["id"]
        said = explain_line(uow, served.store, int(line)).sentences
        (made,) = uow.query("SELECT effective_at, billed_from FROM amendment")
    assert "Served 1684800 of 2592000 seconds." in said
    assert made == {"effective_at": at(12), "billed_from": MID}


def test_changes_by_the_second_follow_one_another(served: Company, amend: Amend) -> None:
    second = {"proration": "by_second", "charge": "s"}
    amend("change_quantity", quantity=Decimal(2), at=at(6), **second)
    with pytest.raises(Refused) as refused:
        amend("change_quantity", quantity=Decimal(3), at=at(5), **second)
    assert refused.value.problems[0].code == "split_day"
    with pytest.raises(Refused) as refused:
        amend("change_quantity", quantity=Decimal(3), charge="s", day=MID)
    assert refused.value.problems[0].code == "split_day"
    amend("change_quantity", quantity=Decimal(4), at=at(18), **second)
    # A quarter of the day one room, half of it two, then four: 10.25 + 1.00 + 77.00.
    assert billed(served, date(2024, 6, 12)) == {
        "Credit: Small room 2024-06-11": "-19.7500",
        "Small room 2024-06-11": "1.0000",
        "Small room 2024-06-12": "77.0000",
    }
    amend("change_quantity", quantity=Decimal(5), charge="s", day=date(2024, 6, 6))
    assert billed(served, date(2024, 6, 12)) == {
        "Credit: Small room 2024-06-06": "-5.2500",
        "Small room 2024-06-06": "26.2500",
    }
    amend("cancel", day=date(2024, 6, 8))
    served.bill(date(2024, 6, 12))
    assert sum(line[5] for line in served.lines()) == Decimal("15.00")


def test_renewals_at_the_same_time_raise_a_price_once(served: Company) -> None:
    with served.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("subscription", "external_id", ["S-1"])
        terms = {"term_end": JUNE, "term_months": 12, "renewal": "renew"}
        uow.update_many("subscription", [(ids["S-1"], {**terms, "renewal_uplift_percent": 10})])

    def renew(_: int) -> int:
        with served.database.transaction(now=NOW) as uow:
            return renew_subscriptions(uow, MID).terms

    with ThreadPoolExecutor(4) as hands:
        assert sorted(hands.map(renew, range(4))) == [0, 0, 0, 1]
    assert billed(served, MID) == {
        "Credit: Small room 2024-06-01": "-30.0000",
        "Small room 2024-06-01": "33.0000",
    }
