"""Re-rating: what was billed is rated again, and the difference stands on a document of its own."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.commands import discard_drafts
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.rerating import ReratingSummary, rerate_bills
from counterfoil.business.billing.window import Window
from counterfoil.business.subscriptions.commands import cancel_subscriptions, change_quantity
from counterfoil.core.problems import Refused

JAN, FEB, MAR, APR = (date(2024, month, 1) for month in (1, 2, 3, 4))
JANUARY = Window(JAN, FEB)
QUARTER = Window(JAN, APR)


def at(day: int, month: int = 1) -> datetime:
    return datetime(2024, month, day, 12, tzinfo=UTC)


def rerate(company: Company, window: Window = QUARTER, **more: object) -> ReratingSummary:
    return rerate_bills(company.database, company.store, window, now=NOW, **more)


def apply(company: Company, window: Window = QUARTER, **more: object) -> ReratingSummary:
    return rerate(company, window, apply=True, **more)


def found(summary: ReratingSummary) -> list[tuple[object, ...]]:
    """Subscription, charge, first day, billed, now and difference of what differs."""
    names = ("subscription", "charge", "cycle_start", "billed", "now", "difference")
    return [tuple(row[name] for name in names) for row in summary.listed]


def own_price(company: Company, account: str, charge: str, amount: str, **validity: date) -> None:
    """A price of the account's own, which goes before the list."""
    with company.database.transaction(now=NOW) as uow:
        price = uow.create(
            "price",
            {
                "charge_id": uow.ids_by("charge", "external_id", [charge])[charge],
                "layer": "account",
                "account_id": uow.ids_by("account", "external_id", [account])[account],
                "currency": "USD",
                "model": "per_unit",
                **validity,
            },
        )
        uow.create("price_tier", {"price_id": price["id"], "unit_amount": Decimal(amount)})


def cancel(company: Company, subscription: int, end: date) -> None:
    with company.database.transaction(now=NOW) as uow:
        cancel_subscriptions(uow, [subscription], end)


def lines(company: Company) -> list[tuple[object, ...]]:
    """Number, description, service period and amount of every line."""
    return [(*line[:4], line[5]) for line in company.lines()]


def furnish(organisation: Organisation) -> None:
    """ACME with two rooms and 13 minutes in January; billed until the end of February.

    13 minutes, 2 included: 10 at 0.22 and 1 at 0.20.
    """
    company = Company(organisation)
    company.load_prices()
    company.open_account("ACME")
    company.subscribe("R", "ACME", "rooms", JAN, quantities={"room": Decimal(2)})
    minutes = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(minutes, ("a", at(3), "780"))
    company.bill(FEB)
    assert [line[-1] for line in lines(company)] == [
        Decimal("499.90"),
        Decimal("499.90"),
        Decimal("2.40"),
    ]


@pytest.fixture
def billed(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        company = Company(organisation)
        with company.database.transaction(now=NOW) as uow:
            ids = uow.ids_by("subscription", "external_id", ["R", "M"])
        company.rooms, company.minutes = ids["R"], ids["M"]
        yield company


def test_what_has_not_changed_is_not_adjusted(billed: Company) -> None:
    before = billed.counts()
    assert found(rerate(billed)) == []
    run = apply(billed)
    assert (run.accounts, run.differences, run.invoices, run.totals) == (1, 0, 0, {})
    assert billed.counts() == before


def test_a_raised_price_in_the_past_is_charged_for(billed: Company) -> None:
    own_price(billed, "ACME", "minute", "0.30")
    preview = rerate(billed)
    assert found(preview) == [
        ("M", "minute", JAN, Decimal("2.40"), Decimal("3.90"), Decimal("1.50"))
    ]
    assert preview.bill_run_id is None
    before = lines(billed)
    run = apply(billed, invoice_date=date(2024, 2, 10))
    assert found(run) == found(preview)
    assert lines(billed) == [
        *before,
        ("INV-000002", "Credit: Toll-free minutes (INV-000001)", JAN, FEB, Decimal("-2.40")),
        ("INV-000002", "Toll-free minutes (rated again)", JAN, FEB, Decimal("3.90")),
    ]
    with billed.database.transaction(now=NOW) as uow:
        invoice = uow.find("invoice", number="INV-000002")
        adjustments = uow.query(
            "SELECT a.billed_amount, a.rated_amount, r.kind, r.reverses_id, o.amount AS corrected "
            "FROM adjustment a JOIN rated_charge r ON r.adjustment_id = a.id "
            "LEFT JOIN rated_charge o ON o.id = r.reverses_id ORDER BY r.kind"
        )
    assert invoice is not None
    assert (invoice["total"], invoice["invoice_date"]) == (Decimal("1.5"), date(2024, 2, 10))
    assert [tuple(row.values())[:3] for row in adjustments] == [
        (Decimal("2.4"), Decimal("3.9"), "adjustment"),
        (Decimal("2.4"), Decimal("3.9"), "usage"),
    ]
    assert adjustments[0]["corrected"] == Decimal("2.4")


def test_a_lowered_price_in_the_past_gives_a_credit_note(billed: Company) -> None:
    own_price(billed, "ACME", "room", "200", valid_from=date(2024, 1, 16))
    apply(billed)
    # January: 15 days at 249.95 and 16 at 200, for two rooms; February at 200.
    assert lines(billed)[3:] == [
        ("CN-000001", "Credit: Managed room (INV-000001)", JAN, FEB, Decimal("-499.90")),
        ("CN-000001", "Managed room (rated again)", JAN, date(2024, 1, 16), Decimal("241.89")),
        ("CN-000001", "Managed room (rated again)", date(2024, 1, 16), FEB, Decimal("206.45")),
        ("CN-000001", "Credit: Managed room (INV-000001)", FEB, MAR, Decimal("-499.90")),
        ("CN-000001", "Managed room (rated again)", FEB, MAR, Decimal("400.00")),
    ]


def test_doing_it_again_adds_nothing(billed: Company) -> None:
    own_price(billed, "ACME", "minute", "0.30")
    own_price(billed, "ACME", "room", "200", valid_from=date(2024, 1, 16))
    assert apply(billed).differences == 3
    before = billed.counts()
    assert apply(billed).differences == 0
    assert billed.bill(FEB).lines == 0
    assert billed.counts() == before


def test_only_the_window_is_adjusted(billed: Company) -> None:
    own_price(billed, "ACME", "room", "200")
    assert [row[2] for row in found(rerate(billed, JANUARY))] == [JAN]
    # A cycle counts when one of its days lies in the window.
    assert [row[2] for row in found(rerate(billed, Window(date(2024, 1, 31), FEB)))] == [JAN]


def test_late_usage_after_an_adjustment_goes_on_at_the_adjusted_price(billed: Company) -> None:
    own_price(billed, "ACME", "minute", "0.30")
    apply(billed)
    billed.use(billed.minutes, ("late", at(20), "120"))
    billed.bill(FEB)
    assert lines(billed)[-1] == (
        "INV-000003",
        "Toll-free minutes (late usage)",
        JAN,
        FEB,
        Decimal("0.60"),
    )
    assert apply(billed).differences == 0


def test_a_cycle_in_which_nothing_differed_keeps_its_price_for_late_usage(billed: Company) -> None:
    """All 13 minutes were used before the 20th, from which on a minute costs 0.305: January costs
    the 2.40 it was billed, and gets no document. So two minutes of the 20th are billed at 0.20 as
    January was, and only what is rated again then has them at 0.305."""
    own_price(billed, "ACME", "minute", "0.305", valid_from=date(2024, 1, 20))
    before = lines(billed)
    assert apply(billed).differences == 0
    assert lines(billed) == before

    billed.use(billed.minutes, ("late", at(20), "120"))
    assert found(rerate(billed)) == [
        ("M", "minute", JAN, Decimal("2.40"), Decimal("3.01"), Decimal("0.61"))
    ]
    billed.bill(FEB)
    late = ("INV-000002", "Toll-free minutes (late usage)", JAN, FEB, Decimal("0.40"))
    assert lines(billed) == [*before, late]

    assert found(apply(billed)) == [
        ("M", "minute", JAN, Decimal("2.80"), Decimal("3.01"), Decimal("0.21"))
    ]
    rated_again, twentieth = "Toll-free minutes (rated again)", date(2024, 1, 20)
    assert lines(billed)[len(before) + 1 :] == [
        ("INV-000003", "Credit: Toll-free minutes (INV-000001)", JAN, FEB, Decimal("-2.40")),
        ("INV-000003", "Credit: Toll-free minutes (INV-000002)", JAN, FEB, Decimal("-0.40")),
        ("INV-000003", rated_again, JAN, twentieth, Decimal("2.40")),
        ("INV-000003", rated_again, twentieth, FEB, Decimal("0.61")),
    ]
    # From now on it is the price that January was billed at.
    billed.use(billed.minutes, ("later", at(21), "120"))
    billed.bill(FEB)
    late = ("INV-000004", "Toll-free minutes (late usage)", twentieth, FEB, Decimal("0.61"))
    assert lines(billed)[-1] == late
    assert apply(billed).differences == 0


def test_late_usage_that_was_adjusted_is_not_billed_again(billed: Company) -> None:
    billed.use(billed.minutes, ("late", at(20), "120"))
    assert found(rerate(billed)) == [
        ("M", "minute", JAN, Decimal("2.40"), Decimal("2.80"), Decimal("0.40"))
    ]
    apply(billed)
    assert billed.bill(FEB).lines == 0


def test_late_lines_are_taken_back_together_with_what_they_followed(billed: Company) -> None:
    billed.use(billed.minutes, ("late", at(20), "120"))
    billed.bill(FEB)
    assert found(rerate(billed)) == []
    own_price(billed, "ACME", "minute", "0.10")
    apply(billed)
    assert [line[-1] for line in lines(billed)[4:]] == [
        Decimal("-2.40"),
        Decimal("-0.40"),
        Decimal("1.50"),
    ]


def test_a_cancellation_after_an_adjustment_gives_back_a_share_of_the_net(billed: Company) -> None:
    own_price(billed, "ACME", "room", "200")
    apply(billed, JANUARY)
    cancel(billed, billed.rooms, date(2024, 1, 21))
    billed.bill(FEB)
    # January was 400.00 net: 11 of 31 days are 141.935...; February, not adjusted, in full.
    assert lines(billed)[-2:] == [
        ("CN-000002", "Credit: Managed room", date(2024, 1, 21), FEB, Decimal("-141.94")),
        ("CN-000002", "Credit: Managed room", FEB, MAR, Decimal("-499.90")),
    ]
    cancel(billed, billed.rooms, JAN)
    billed.bill(FEB)
    with billed.database.transaction(now=NOW) as uow:
        rooms = uow.query(
            "SELECT sum(r.amount) AS net FROM rated_charge r JOIN subscription_charge c "
            "ON c.id = r.subscription_charge_id WHERE c.subscription_id = :id",
            id=billed.rooms,
        )
    assert rooms[0]["net"] == 0
    assert apply(billed).differences == 0


def test_what_was_cut_short_and_given_back_is_adjusted_for_its_served_days(
    billed: Company,
) -> None:
    cancel(billed, billed.rooms, date(2024, 1, 21))
    billed.bill(FEB)
    # 499.90 less 11/31 of it, 177.38; rated again 20/31 of it is 322.516...: no difference.
    assert found(rerate(billed)) == []
    own_price(billed, "ACME", "room", "200")
    assert found(apply(billed)) == [
        ("R", "room", JAN, Decimal("322.52"), Decimal("258.06"), Decimal("-64.46"))
    ]
    cancel(billed, billed.rooms, date(2024, 1, 11))
    billed.bill(FEB)
    # 10 of the 20 days that were billed 258.06.
    assert lines(billed)[-1][-1] == Decimal("-129.03")


def test_a_quantity_changed_in_the_past_is_the_business_of_the_bill_run(billed: Company) -> None:
    with billed.database.transaction(now=NOW) as uow:
        change_quantity(uow, billed.rooms, "room", Decimal(3), date(2024, 1, 17))
    billed.bill(FEB)
    assert found(rerate(billed)) == []


def test_a_cent_counts(billed: Company) -> None:
    own_price(billed, "ACME", "room", "249.955", valid_from=FEB)
    assert found(rerate(billed)) == [
        ("R", "room", FEB, Decimal("499.90"), Decimal("499.91"), Decimal("0.01"))
    ]


def test_drafts_of_adjustments_can_be_discarded(billed: Company) -> None:
    own_price(billed, "ACME", "minute", "0.30")
    apply(billed, finalize=False)
    assert lines(billed)[-1][0] is None
    assert rerate(billed).problems == []
    own_price(billed, "ACME", "room", "200", valid_from=FEB)
    # Nothing is built on a draft.
    blocked = apply(billed)
    assert (blocked.differences, [one[1] for one in blocked.problems]) == (0, ["open_draft"])
    assert discard_drafts(billed.database, now=NOW) == 1
    with billed.database.transaction(now=NOW) as uow:
        assert uow.query("SELECT id FROM adjustment") == []
        through = uow.query("SELECT DISTINCT billed_through FROM subscription_charge ORDER BY 1")
    assert [row["billed_through"] for row in through] == [FEB, MAR]
    assert apply(billed).differences == 2


def test_an_account_without_a_price_now_is_reported(billed: Company) -> None:
    other = billed.open_account("OTHER")
    billed.subscribe("O", "OTHER", "rooms", JAN)
    billed.bill(JAN)
    own_price(billed, "OTHER", "room", "200")
    with billed.database.transaction(now=NOW) as uow:
        uow.execute("UPDATE price SET valid_to = '2024-01-31' WHERE layer = 'list'")
    run = apply(billed, accounts=[other])
    assert (run.differences, run.problems) == (1, [])
    whole = apply(billed)
    assert [(code, message[:20]) for _, code, message in whole.problems] == [
        ("no_price", "no price in USD for ")
    ]
    with billed.database.transaction(now=NOW) as uow:
        assert len(uow.query("SELECT id FROM billing_problem")) == 1


def test_usage_of_a_billed_cycle_that_had_none_is_adjusted(billed: Company) -> None:
    billed.bill(MAR)
    billed.use(billed.minutes, ("late", at(20, 2), "300"))
    assert found(apply(billed)) == [
        ("M", "minute", FEB, Decimal(0), Decimal("0.66"), Decimal("0.66"))
    ]
    assert billed.bill(MAR).lines == 0


def test_the_counterfoil_of_an_adjustment_tells_before_and_now(billed: Company) -> None:
    own_price(billed, "ACME", "minute", "0.30", valid_from=date(2024, 1, 2))
    apply(billed)
    with billed.database.transaction(now=NOW) as uow:
        found = uow.query("SELECT id FROM invoice_line ORDER BY id DESC LIMIT 2")
        now, before = (explain_line(uow, billed.store, int(row["id"])) for row in found)
    difference = (
        "The cycle from 2024-01-01 to before 2024-02-01 was billed 2.40 USD net and costs "
        "3.90 USD rated again: a difference of 1.50 USD."
    )
    assert before.sentences == (
        "rated charge 3 (INV-000001, line 3) was billed 2.40 USD.",
        "Then: Tier from 0 to 10: 10 minutes × 0.22 = 2.2 USD.",
        "Then: Tier from 10 and above: 1 minutes × 0.2 = 0.2 USD.",
        "Its cycle was rated again, so all that is left of it is taken back: -2.40 USD.",
        difference,
    )
    assert now.sentences[-1] == (
        f"{difference} This stands in place of rated charge 3 (INV-000001, line 3)."
    )
    assert [event["exact_amount"] for event in now.events] == [Decimal("3.90")]
    assert now.adjustment is not None
    assert [one["rated_charge_id"] for one in now.adjustment.corrected] == [3]


def test_two_bill_runs_at_once_are_refused(billed: Company) -> None:
    with billed.database.transaction(now=NOW) as uow:
        assert uow.lock("bill_run")
        assert found(rerate(billed)) == []
        with pytest.raises(Refused, match="another bill run is going on"):
            apply(billed)
