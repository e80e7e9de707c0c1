"""What a draft of prices would have changed: rated twice, compared, and nothing stored."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from tests.business.billing.conftest import NOW, PRICE_BOOK, Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.simulation import Amounts, Row, Simulation, simulate
from counterfoil.business.billing.window import Window
from counterfoil.business.products.commands import lay_price_book_over
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Refused

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)
TWO_MONTHS = Window(JAN, MAR)


def at(day: int, month: int = 1) -> datetime:
    return datetime(2024, month, day, 12, tzinfo=UTC)


def simulated(
    company: Company, text: str, window: Window = TWO_MONTHS, **more: object
) -> Simulation:
    book, problems = parse_price_book(text, "draft.yaml")
    assert problems == []
    return simulate(company.database, company.store, book, window, now=NOW, **more)


def amounts(row: Row) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    found: Amounts = row.amounts
    return found.billed, found.present, found.draft, found.change


def price_of(charge: str, amount: str, **more: str) -> str:
    """A draft with one list price of a charge of the rooms or minutes plan."""
    terms = "".join(f", {name}: {value}" for name, value in more.items())
    kind = {
        "room": "kind: recurring, timing: in_advance, unit: room",
        "minute": "kind: usage, meter: seconds, event_increment: 60, unit: minute, unit_size: 60",
    }[charge]
    name = {"room": "Managed room", "minute": "Toll-free minutes"}[charge]
    plan = {"room": "rooms, name: Rooms", "minute": "minutes, name: Minutes"}[charge]
    return (
        f"rate_plans: [{{id: {plan}, product: conferencing, charges: [{{id: {charge}, "
        f"name: {name}, {kind}, prices: [{{currency: USD, model: per_unit, "
        f"amount: {amount}{terms}}}]}}]}}]"
    )


def furnish(organisation: Organisation) -> None:
    """ACME with 2 rooms and 13 minutes a month, OTHER with one room; January and February billed.

    The rooms cost 249.95 each. 13 minutes, 2 included: 10 x 0.22 is not reached: 8 at 0.22 up to
    the tenth after the included, so 10 x 0.22 + 1 x 0.20 = 2.40.
    """
    company = Company(organisation)
    company.load_prices()
    company.open_account("ACME")
    company.open_account("OTHER")
    company.subscribe("R", "ACME", "rooms", JAN, quantities={"room": Decimal(2)})
    company.subscribe("O", "OTHER", "rooms", JAN)
    minutes = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(minutes, ("a", at(3), "780"), ("b", at(3, 2), "780"))
    company.bill(FEB)
    company.bill(MAR)


@pytest.fixture
def billed(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        yield Company(organisation)


def test_the_same_prices_change_nothing(billed: Company) -> None:
    before = billed.counts()
    report = simulated(billed, PRICE_BOOK)
    # 2 x 2 x 249.95 + 2 x 249.95 + 2 x 2.40
    total = Decimal("1504.50")
    assert [amounts(row) for row in report.totals] == [(total, total, total, Decimal(0))]
    assert {row.amounts.change for row in (*report.products, *report.accounts)} == {Decimal(0)}
    assert report.problems == ()
    assert billed.counts() == before


def test_a_draft_of_one_price_changes_its_charge_only(billed: Company) -> None:
    report = simulated(billed, price_of("minute", "0.30"))
    # 13 minutes at 0.30 without anything included: 3.90 in place of 2.40, twice.
    assert [(row.names, amounts(row)) for row in report.products] == [
        (("conferencing", "minute"), tuple(map(Decimal, ("4.80", "4.80", "7.80", "3.00")))),
        (("conferencing", "room"), (*[Decimal("1499.70")] * 3, Decimal(0))),
    ]
    assert [(row.names, row.amounts.change, row.change_percent) for row in report.accounts] == [
        (("ACME", "ACME"), Decimal("3.00"), Decimal("0.3")),
        (("OTHER", "OTHER"), Decimal("0.00"), Decimal("0.0")),
    ]


def test_a_draft_holds_on_its_own_days_only(billed: Company) -> None:
    draft = price_of("room", "300", valid_from="2024-01-16", valid_to="2024-02-15")
    report = simulated(billed, draft)
    # Per room: January 249.95 x 15/31 + 300 x 16/31, February 300 x 14/29 + 249.95 x 15/29.
    # January: 3 rooms; each line is rounded by itself: 241.89 + 309.68 and 120.94 + 154.84.
    room = next(row for row in report.products if row.names[1] == "room")
    january = sum(map(Decimal, ("241.89", "309.68", "120.94", "154.84")))
    february = sum(map(Decimal, ("289.66", "258.57", "144.83", "129.28")))
    assert room.amounts.draft == january + february


def test_one_account_and_its_lines(billed: Company) -> None:
    with billed.database.transaction(now=NOW) as uow:
        account = uow.ids_by("account", "external_id", ["ACME"])["ACME"]
    batches: list[pa.Table] = []
    draft = price_of("minute", "0.30")
    report = simulated(billed, draft, accounts=[account], lines=batches.append)
    assert (report.accounts_rated, len(batches)) == (1, 1)
    rows = [
        (row["subscription"], row["charge"], row["cycle_start"], row["present"], row["change"])
        for row in batches[0].to_pylist()
    ]
    assert rows == [
        ("M", "minute", JAN, Decimal("2.40"), Decimal("1.50")),
        ("M", "minute", FEB, Decimal("2.40"), Decimal("1.50")),
        ("R", "room", JAN, Decimal("499.90"), Decimal(0)),
        ("R", "room", FEB, Decimal("499.90"), Decimal(0)),
    ]


def test_a_template_reprices_every_account_that_inherits_it(billed: Company) -> None:
    reseller = (
        "pricing_templates: [{id: reseller, name: Reseller, "
        "prices: [{charge: room, currency: USD, model: per_unit, amount: AMOUNT}]}]"
    )
    billed.load_prices(reseller.replace("AMOUNT", "240"))
    with billed.database.transaction(now=NOW) as uow:
        other = uow.ids_by("account", "external_id", ["OTHER"])["OTHER"]
        template = uow.ids_by("pricing_template", "external_id", ["reseller"])["reseller"]
        uow.update("account", other, {"pricing_template_id": template})
    report = simulated(billed, reseller.replace("AMOUNT", "230"), template="reseller")
    assert report.accounts_rated == 1
    assert [(row.names[0], amounts(row)) for row in report.accounts] == [
        ("OTHER", tuple(map(Decimal, ("499.90", "480.00", "460.00", "-20.00"))))
    ]
    with pytest.raises(Refused, match="there is no pricing template 'gold'"):
        simulated(billed, PRICE_BOOK, template="gold")


def test_a_draft_may_change_how_usage_counts(billed: Company) -> None:
    """A billed charge keeps its terms; what other terms would bring may be asked."""
    draft = (
        "rate_plans: [{id: minutes, product: conferencing, name: Minutes, charges: [{id: minute, "
        "name: Toll-free minutes, kind: usage, meter: seconds, event_increment: 3600, "
        "unit: minute, unit_size: 60}]}]"
    )
    report = simulated(billed, draft)
    minute = report.products[0]
    # 60 minutes: 2 included, 10 at 0.22, 48 at 0.20 = 11.80; twice.
    assert (minute.names[1], minute.amounts.draft) == ("minute", Decimal("23.60"))
    with billed.database.transaction(now=NOW) as uow:
        charge = uow.find("charge", external_id="minute")
    assert charge is not None
    assert charge["event_increment"] == Decimal(60)


def test_an_account_that_the_draft_cannot_rate_is_reported_and_in_no_sum(billed: Company) -> None:
    never = price_of("minute", "0.30", valid_to="2024-01-01")
    draft = never.replace("valid_to", "valid_from: 2023-01-01, valid_to")
    without = simulated(billed, draft)
    assert without.problems == ()
    end = "UPDATE price SET valid_to = '2024-02-01' WHERE model = 'graduated'"
    with billed.database.transaction(now=NOW) as uow:
        uow.execute(end)
    report = simulated(billed, price_of("minute", "0.30", valid_to="2024-02-01"))
    assert [(one.account, one.side, one.code) for one in report.problems] == [
        ("ACME", "present", "no_price"),
        ("ACME", "draft", "no_price"),
    ]
    assert [row.names[0] for row in report.accounts] == ["OTHER"]


def test_what_was_billed_otherwise_is_shown_beside(billed: Company) -> None:
    minutes_id = 0
    with billed.database.transaction(now=NOW) as uow:
        minutes_id = uow.ids_by("subscription", "external_id", ["M"])["M"]
    billed.use(minutes_id, ("late", at(20), "60"))
    report = simulated(billed, PRICE_BOOK)
    # One more minute at 0.20 that is not billed yet.
    assert amounts(report.totals[0]) == tuple(
        map(Decimal, ("1504.50", "1504.70", "1504.70", "0.00"))
    )


def test_cycles_belong_to_the_window_in_which_they_begin(billed: Company) -> None:
    parts = [
        simulated(billed, PRICE_BOOK, Window(JAN, FEB)),
        simulated(billed, PRICE_BOOK, Window(FEB, MAR)),
    ]
    assert sum(part.totals[0].amounts.present for part in parts) == Decimal("1504.50")
    assert [part.totals[0].amounts.present for part in parts] == [Decimal("752.25")] * 2


def test_a_draft_that_names_what_there_is_not_is_refused(billed: Company) -> None:
    draft = "prices: [{account: NOBODY, charge: room, currency: USD, model: flat, amount: 1}]"
    with pytest.raises(Refused, match="there is no account 'NOBODY'"):
        simulated(billed, draft)
    with pytest.raises(Refused, match="before the first one"):
        Window(MAR, MAR)


def test_more_accounts_than_are_allowed_are_refused(billed: Company) -> None:
    with pytest.raises(Refused, match="are 2 billed accounts; at most 1"):
        simulated(billed, PRICE_BOOK, most_accounts=1)


def test_a_rehearsal_keeps_no_bill_run_waiting(billed: Company) -> None:
    book, _ = parse_price_book(price_of("room", "300"), "draft.yaml")
    with billed.database.rehearsal(now=NOW) as uow:
        lay_price_book_over(uow, book)
        run = billed.bill(date(2024, 4, 1))
    # Two months of three rooms.
    assert run.totals == {"USD": Decimal("749.85")}
