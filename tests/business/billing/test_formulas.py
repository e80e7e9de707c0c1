"""Formulas in bills: prices, conditions and quantities that look beyond their own charge."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing import commands
from counterfoil.business.billing.current import current_charges
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.queries import preview_invoice

JANUARY = date(2024, 1, 1)
FEBRUARY = date(2024, 2, 1)
MARCH = date(2024, 3, 1)

BOOK = """
products: [{id: video, name: Video}, {id: support, name: Support}]
meters: [{id: seconds, name: HD minutes, unit: minute}]
rate_plans:
  - id: hd
    product: video
    name: HD
    charges:
      - id: hd_minute
        name: HD minutes
        kind: usage
        meter: seconds
        unit: minute
        prices:
          - currency: USD
            model: formula
            formula: >-
              case when usage('seconds', 'account') > 1000 then 0.04 else 0.05 end * quantity
"""


@pytest.fixture
def video(organisation: Organisation) -> Company:
    found = Company(organisation)
    found.load_prices(BOOK)
    return found


def on(month: int, day: int) -> datetime:
    """Midnight of a day of 2024."""
    return datetime(2024, month, day, tzinfo=UTC)


def amounts(company: Company) -> list[tuple[str, Decimal]]:
    """Description and amount of every line."""
    return [(str(line[1]), line[5]) for line in company.lines()]  # type: ignore[misc]


def test_the_price_of_a_minute_falls_with_the_usage_of_the_whole_account(video: Company) -> None:
    video.open_account("SMALL")
    video.open_account("LARGE")
    small = video.subscribe("S1", "SMALL", "hd", JANUARY)
    large = video.subscribe("L1", "LARGE", "hd", JANUARY)
    second = video.subscribe("L2", "LARGE", "hd", JANUARY)
    video.use(small, ("a", on(1, 5), "1000"))
    video.use(large, ("b", on(1, 5), "1000"))
    video.use(second, ("c", on(1, 31), "1"))
    video.bill(FEBRUARY)
    assert amounts(video) == [
        ("HD minutes", Decimal("50.0000")),
        ("HD minutes", Decimal("40.0000")),
        ("HD minutes", Decimal("0.0400")),
    ]


def test_the_counterfoil_keeps_the_formula_with_its_values(video: Company) -> None:
    video.open_account("LARGE")
    large = video.subscribe("L1", "LARGE", "hd", JANUARY)
    video.use(large, ("b", on(1, 5), "1000.5"))
    video.bill(FEBRUARY)
    with video.database.transaction(now=NOW) as uow:
        (row,) = uow.query("SELECT steps, formulas FROM rated_charge")
    assert row["steps"] == []
    assert row["formulas"] == [
        {
            "place": "price_formula",
            "formula": "case when usage('seconds', 'account') > 1000 then 0.04 else 0.05 end "
            "* quantity",
            "told": "case when 1000.5 > 1000 then 0.04 else 0.05 end * 1000.5",
            "values": {
                "usage('seconds', 'account')": Decimal("1000.5"),
                "quantity": Decimal("1000.5"),
            },
            "result": Decimal("40.02"),
            "before": None,
        }
    ]


def test_the_counterfoil_keeps_every_digit(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(BOOK.replace("end * quantity", "end * 0 + quantity / 7"))
    company.open_account("ACME")
    company.use(company.subscribe("S1", "ACME", "hd", JANUARY), ("a", on(1, 5), "1234567.890123"))
    company.bill(FEBRUARY)
    with company.database.transaction(now=NOW) as uow:
        (row,) = uow.query("SELECT exact_amount, formulas FROM rated_charge")
    assert row["exact_amount"] == Decimal("176366.841446142857143")
    assert row["formulas"][0]["result"] == Decimal("176366.841446142857143")
    assert row["formulas"][0]["values"]["quantity"] == Decimal("1234567.890123")


def test_the_counterfoil_says_it_in_words(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(ACROSS)
    company.open_account("ACME")
    company.subscribe("R1", "ACME", "rooms", JANUARY, quantities={"managed_room": 3})
    company.subscribe("C1", "ACME", "care", JANUARY, quantities={"premium": 2})
    company.bill(FEBRUARY)
    told = []
    with company.database.transaction(now=NOW) as uow:
        for row in uow.query("SELECT id FROM invoice_line ORDER BY position LIMIT 2"):
            told += explain_line(uow, company.store, row["id"]).sentences
    assert [sentence for sentence in told if ":" in sentence] == [
        (
            "The price is greatest(500 - amount('managed_room', 'account') * 0.5, 50) * quantity: "
            "greatest(500 - 300 * 0.5, 50) * 2 = 700 USD."
        ),
        (
            "The charge's condition is met: amount('premium', 'root') > 600 and "
            "amount('video', 'root') >= 300: 700 > 600 and 300 >= 300."
        ),
        "Tier from 0 and above: 0 units × 0 + 7 = 7 USD.",
    ]


def test_a_preview_says_what_the_bill_run_bills(video: Company) -> None:
    video.open_account("ACME")
    one = video.subscribe("S1", "ACME", "hd", JANUARY)
    two = video.subscribe("S2", "ACME", "hd", JANUARY)
    video.use(one, ("a", on(1, 5), "600"))
    video.use(two, ("b", on(1, 6), "500"))
    preview = preview_invoice(video.database, video.store, "ACME", FEBRUARY, now=NOW)
    video.bill(FEBRUARY)
    assert [line["amount"] for line in preview.lines] == [Decimal("24.00"), Decimal("20.00")]
    assert amounts(video) == [
        ("HD minutes", Decimal("24.0000")),
        ("HD minutes", Decimal("20.0000")),
    ]


ACROSS = """
products: [{id: video, name: Video}, {id: support, name: Support}]
meters: [{id: seconds, name: HD minutes, unit: minute}]
rate_plans:
  - id: hd
    product: video
    name: HD
    charges:
      - id: hd_minute
        name: HD minutes
        kind: usage
        meter: seconds
        unit: minute
        prices: [{currency: USD, model: per_unit, amount: 0.05}]
  - id: rooms
    product: video
    name: Rooms
    charges:
      - id: managed_room
        name: Managed room
        kind: recurring
        timing: in_arrears
        prices: [{currency: USD, model: per_unit, amount: 100}]
  - id: care
    product: support
    name: Care
    charges:
      - id: premium
        name: Premium support
        kind: recurring
        timing: in_arrears
        prices:
          - currency: USD
            model: formula
            formula: >-
              greatest(500 - amount('managed_room', 'account') * 0.5, 50) * quantity
      - id: survey
        name: Survey
        kind: recurring
        timing: in_arrears
        condition: amount('premium', 'root') > 600 and amount('video', 'root') >= 300
        prices: [{currency: USD, model: flat, amount: 7}]
"""


def test_what_rooms_cost_makes_support_cheaper_and_support_decides_on_more(
    organisation: Organisation,
) -> None:
    company = Company(organisation)
    company.load_prices(ACROSS)
    company.open_account("ACME")
    company.subscribe("R1", "ACME", "rooms", JANUARY, quantities={"managed_room": 2})
    company.subscribe("R2", "ACME", "rooms", date(2024, 1, 17))
    company.subscribe("C1", "ACME", "care", JANUARY, quantities={"premium": 2})
    company.bill(FEBRUARY)
    # 200 + 100 * 15/31 of rooms make 2 * (500 - half of it); below 300 of video no survey.
    assert amounts(company) == [
        ("Premium support", Decimal("751.6100")),
        ("Managed room", Decimal("200.0000")),
        ("Managed room", Decimal("48.3900")),
    ]
    company.bill(MARCH)
    assert amounts(company)[3:] == [
        ("Premium support", Decimal("700.0000")),
        ("Survey", Decimal("7.0000")),
        ("Managed room", Decimal("200.0000")),
        ("Managed room", Decimal("100.0000")),
    ]


def separately_billed(company: Company) -> dict[str, int]:
    """A group of three, each billed on its own."""
    top = company.open_account("GROUP")
    for name in ("NORTH", "SOUTH"):
        company.open_account(name)
    with company.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("account", "external_id", ["NORTH", "SOUTH"])
        for account in ids.values():
            uow.update("account", account, {"parent_id": top})
    return {"GROUP": top, **{str(name): account for name, account in ids.items()}}


@pytest.mark.parametrize("batch", [1, 2, 2000])
def test_accounts_of_a_group_billed_apart_count_for_each_other(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    company = Company(organisation)
    company.load_prices(ACROSS)
    separately_billed(company)
    company.subscribe("R1", "NORTH", "rooms", JANUARY, quantities={"managed_room": 3})
    company.subscribe("C1", "SOUTH", "care", JANUARY, quantities={"premium": 2})
    company.subscribe("C2", "GROUP", "care", JANUARY)
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", batch)
    preview = preview_invoice(company.database, company.store, "SOUTH", FEBRUARY, now=NOW)
    company.bill(FEBRUARY)
    # The rooms are NORTH's own, so support is in full; but the survey looks at the whole group.
    assert sorted(amounts(company)) == [
        ("Managed room", Decimal("300.0000")),
        ("Premium support", Decimal("500.0000")),
        ("Premium support", Decimal("1000.0000")),
        ("Survey", Decimal("7.0000")),
        ("Survey", Decimal("7.0000")),
    ]
    assert [line["amount"] for line in preview.lines] == [Decimal("1000.00"), Decimal("7.00")]


def test_billing_an_account_alone_bills_nobody_else(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(ACROSS)
    ids = separately_billed(company)
    company.subscribe("R1", "NORTH", "rooms", JANUARY, quantities={"managed_room": 3})
    company.subscribe("C1", "SOUTH", "care", JANUARY, quantities={"premium": 2})
    company.bill(FEBRUARY, accounts=[ids["SOUTH"]])
    assert amounts(company) == [
        ("Premium support", Decimal("1000.0000")),
        ("Survey", Decimal("7.0000")),
    ]
    company.bill(FEBRUARY)
    assert amounts(company)[2:] == [("Managed room", Decimal("300.0000"))]


CONDITIONAL = """
products: [{id: video, name: Video}]
meters: [{id: seconds, name: HD minutes, unit: minute}]
rate_plans:
  - id: hd
    product: video
    name: HD
    charges:
      - id: hd_minute
        name: HD minutes
        kind: usage
        meter: seconds
        unit: minute
        prices: [{currency: USD, model: per_unit, amount: 0.05}]
      - id: surcharge
        name: Heavy use
        kind: usage
        meter: seconds
        unit: minute
        condition: usage('seconds', 'root') > 1000
        prices: [{currency: USD, model: per_unit, amount: 0.01}]
pricing_templates:
  - id: volume
    name: Volume
    prices:
      - charge: hd_minute
        currency: USD
        model: per_unit
        amount: 0.03
        condition: usage('seconds', 'root') > 1000 and contract.months >= 12
"""


def test_a_condition_switches_on_a_charge_by_what_the_group_uses(
    organisation: Organisation,
) -> None:
    company = Company(organisation)
    company.load_prices(CONDITIONAL)
    separately_billed(company)
    north = company.subscribe("N", "NORTH", "hd", JANUARY)
    south = company.subscribe("S", "SOUTH", "hd", JANUARY)
    company.use(north, ("a", on(1, 3), "600"), ("b", on(2, 3), "600"))
    company.use(south, ("c", on(1, 3), "400"), ("d", on(2, 3), "401"))
    company.bill(FEBRUARY)
    assert sorted(amounts(company)) == [
        ("HD minutes", Decimal("20.0000")),
        ("HD minutes", Decimal("30.0000")),
    ]
    company.bill(MARCH)
    assert sorted(amounts(company)[2:]) == [
        ("HD minutes", Decimal("20.0500")),
        ("HD minutes", Decimal("30.0000")),
        ("Heavy use", Decimal("4.0100")),
        ("Heavy use", Decimal("6.0000")),
    ]


def test_late_usage_of_one_account_switches_on_the_charge_of_another(
    organisation: Organisation,
) -> None:
    company = Company(organisation)
    company.load_prices(CONDITIONAL)
    separately_billed(company)
    north = company.subscribe("N", "NORTH", "hd", JANUARY)
    south = company.subscribe("S", "SOUTH", "hd", JANUARY)
    company.use(north, ("a", on(1, 3), "600"))
    company.use(south, ("c", on(1, 3), "400"))
    company.bill(FEBRUARY)
    company.use(south, ("late", on(1, 4), "1"))
    company.bill(MARCH)
    assert sorted(amounts(company)[2:]) == [
        ("HD minutes (late usage)", Decimal("0.0500")),
        ("Heavy use", Decimal("4.0100")),
        ("Heavy use", Decimal("6.0000")),
    ]
    company.bill(MARCH)
    assert len(amounts(company)) == 5


def test_a_price_whose_condition_is_not_met_gives_way_to_the_next_layer(
    organisation: Organisation,
) -> None:
    company = Company(organisation)
    company.load_prices(CONDITIONAL)
    account = company.open_account("ACME")
    with company.database.transaction(now=NOW) as uow:
        template = uow.ids_by("pricing_template", "external_id", ["volume"])["volume"]
        uow.update("account", account, {"pricing_template_id": template})
        for name, months in (("LONG", 12), ("SHORT", 6)):
            uow.create(
                "contract",
                {
                    "external_id": name,
                    "account_id": account,
                    "name": name,
                    "start_date": JANUARY,
                    "months": months,
                },
            )
    long = company.subscribe("L", "ACME", "hd", JANUARY, contract="LONG")
    short = company.subscribe("S", "ACME", "hd", JANUARY, contract="SHORT")
    none = company.subscribe("N", "ACME", "hd", JANUARY)
    for number, subscription in enumerate((long, short, none)):
        company.use(subscription, (f"a{number}", on(1, 3), "400"))
    company.bill(FEBRUARY)
    assert sorted(amount for name, amount in amounts(company) if name == "HD minutes") == [
        Decimal("12.0000"),
        Decimal("20.0000"),
        Decimal("20.0000"),
    ]


QUANTITIES = """
products: [{id: video, name: Video}]
meters: [{id: seconds, name: Minutes, unit: minute}]
rate_plans:
  - id: mixed
    product: video
    name: Mixed
    charges:
      - id: seat
        name: Seats
        kind: recurring
        timing: in_arrears
        quantity_formula: greatest(quantity, quantity('seat', 'account') / 4)
        prices:
          - {currency: USD, model: graduated, tiers: [{up_to: 2, amount: 10}, {amount: 8}]}
      - id: minute
        name: Minutes
        kind: usage
        meter: seconds
        unit: minute
        quantity_formula: greatest(quantity - 10 * quantity('seat', 'subscription'), 5)
        prices:
          - {currency: USD, model: per_unit, amount: 0.1, valid_to: 2024-01-16}
          - {currency: USD, model: per_unit, amount: 0.2, valid_from: 2024-01-16}
"""


def test_the_quantity_that_is_priced_is_a_formula(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(QUANTITIES)
    company.open_account("ACME")
    one = company.subscribe("S1", "ACME", "mixed", JANUARY, quantities={"seat": 1})
    company.subscribe("S2", "ACME", "mixed", JANUARY, quantities={"seat": 11})
    company.use(one, ("a", on(1, 3), "12"), ("b", on(1, 20), "8"))
    company.bill(FEBRUARY)
    assert [(line[1], line[4], line[5]) for line in company.lines()] == [
        # After 12 minutes the least of 5 is due at 0.1, at the end 10: 5 more at 0.2.
        ("Minutes", Decimal(5), Decimal("0.5000")),
        ("Minutes", Decimal(5), Decimal("1.0000")),
        ("Minutes", Decimal(5), Decimal("0.5000")),
        ("Seats", Decimal(3), Decimal("28.0000")),
        ("Seats", Decimal(11), Decimal("92.0000")),
    ]
    with company.database.transaction(now=NOW) as uow:
        line = uow.query("SELECT id FROM invoice_line WHERE position = 2")[0]["id"]
        sentences = explain_line(uow, company.store, line).sentences
    assert (
        "The quantity is greatest(quantity - 10 * quantity('seat', 'subscription'), 5): "
        "greatest(20 - 10 * 1, 5) = 10 minutes, of which 5 minutes is the quantity before."
    ) in sentences


def test_events_add_up_to_what_formulas_made_of_them(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(QUANTITIES + LATE)
    company.open_account("ACME")
    one = company.subscribe("S1", "ACME", "mixed", JANUARY, quantities={"seat": 1})
    hd = company.subscribe("H1", "ACME", "hd", JANUARY)
    company.use(one, ("a", on(1, 3), "12"), ("b", on(1, 20), "8"))
    company.use(hd, ("c", on(1, 4), "900"), ("d", on(1, 5), "100.5"))
    company.bill(FEBRUARY)
    told = {}
    with company.database.transaction(now=NOW) as uow:
        for row in uow.query("SELECT id FROM invoice_line WHERE unit = 'minute' ORDER BY position"):
            line = explain_line(uow, company.store, row["id"])
            events = [(each["event_id"], each["exact_amount"].normalize()) for each in line.events]
            assert sum(amount for _, amount in events) == line.rated_charge["exact_amount"]
            told[line.line["description"], line.line["service_start"]] = events
    assert told == {
        ("HD minutes", JANUARY): [("c", Decimal(36)), ("d", Decimal("4.02"))],
        ("Minutes", JANUARY): [("a", Decimal("0.5"))],
        ("Minutes", date(2024, 1, 16)): [("b", Decimal(1))],
    }


def test_current_charges_follow_formulas(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(QUANTITIES + LATE)
    company.open_account("ACME")
    hd = company.subscribe("H1", "ACME", "hd", JANUARY)
    company.use(hd, ("c", on(1, 4), "1000.5"))
    found = current_charges(
        company.database, company.store, "ACME", now=datetime(2024, 1, 5, 12, tzinfo=UTC)
    )
    assert [each.amount for each in found.charges] == [Decimal("40.02")]


def test_what_is_late_is_priced_as_if_it_had_come_in_time(organisation: Organisation) -> None:
    company = Company(organisation)
    company.load_prices(QUANTITIES + LATE)
    company.open_account("ACME")
    one = company.subscribe("S1", "ACME", "mixed", JANUARY, quantities={"seat": 1})
    hd = company.subscribe("H1", "ACME", "hd", JANUARY)
    company.use(one, ("a", on(1, 3), "12"))
    company.use(hd, ("h", on(1, 4), "900"))
    company.bill(FEBRUARY)
    company.use(one, ("b", on(1, 5), "8"))
    company.use(hd, ("late", on(1, 6), "200"))
    company.bill(MARCH)
    lines = [(line[1], line[4], line[5]) for line in company.lines()]
    january = [line for line in lines if "late" not in str(line[0]) and line[0] != "Seats"][:2]
    late = [line for line in lines if "late" in str(line[0])]
    # 900 minutes at 0.05 are billed; 1,112 and 8 of the account make all 1,100 cheaper.
    assert sorted(january) == [
        ("HD minutes", Decimal(900), Decimal("45.0000")),
        ("Minutes", Decimal(5), Decimal("0.5000")),
    ]
    # The quantity formula says 10 of 20, of which 5 are billed.
    assert sorted(late) == [
        ("HD minutes (late usage)", Decimal(200), Decimal("-1.0000")),
        ("Minutes (late usage)", Decimal(5), Decimal("0.5000")),
    ]
    company.bill(MARCH)
    assert len(company.lines()) == len(lines)


LATE = """
  - id: hd
    product: video
    name: HD
    charges:
      - id: hd_minute
        name: HD minutes
        kind: usage
        meter: seconds
        unit: minute
        prices:
          - currency: USD
            model: formula
            formula: >-
              case when usage('seconds', 'account') > 1000 then 0.04 else 0.05 end * quantity
"""
