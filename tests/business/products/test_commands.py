"""Saving price books: all or nothing, again without effect, history kept."""

from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Thread

import pytest

from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 15, tzinfo=UTC)
LATER = datetime(2026, 2, 15, tzinfo=UTC)

BOOK = """\
products: [{id: rooms, name: Rooms}]
meters: [{id: seconds, name: Seconds, unit: second}]
rate_plans:
  - id: standard
    product: rooms
    name: Standard
    charges:
      - id: room
        name: Managed room
        kind: recurring
        prices:
          - {currency: USD, model: per_unit, amount: 450}
      - id: minutes
        name: Minutes
        kind: usage
        meter: seconds
        unit_size: 60
        prices:
          - {currency: USD, model: graduated, tiers: [{up_to: 100, amount: 0.22}, {amount: 0.2}]}
pricing_templates:
  - id: reseller
    name: Reseller
    prices: [{charge: room, currency: USD, model: per_unit, amount: 400}]
prices:
  - {account: ACME, charge: room, currency: USD, model: flat, amount: 390}
  - {subscription: S-1, charge: room, currency: USD, model: flat, amount: 380}
"""


def load(uow: UnitOfWork, text: str) -> dict[str, int]:
    book, problems = parse_price_book(text, "book.yaml")
    assert problems == []
    return {name: count for name, count in save_price_book(uow, book).items() if count}


def refused(uow: UnitOfWork, text: str) -> tuple[Problem, ...]:
    with pytest.raises(Refused) as answer:
        load(uow, text)
    return answer.value.problems


@pytest.fixture
def loaded(database: Database) -> Database:
    with database.transaction(now=NOW) as uow:
        uow.create("account", {"external_id": "ACME", "name": "Acme"})
        load(uow, BOOK)
    return database


def rows(uow: UnitOfWork) -> list[dict[str, object]]:
    return uow.query(
        "SELECT 'price' AS entity, id, row_version, updated_at FROM price"
        " UNION ALL SELECT 'price_tier', id, row_version, updated_at FROM price_tier"
        " UNION ALL SELECT 'charge', id, row_version, updated_at FROM charge ORDER BY 1, 2"
    )


def rate_with(uow: UnitOfWork, charge: str) -> None:
    """Rate something with the list price of a charge, as billing does."""
    account = uow.find("account", external_id="ACME")
    plan = uow.find("rate_plan", external_id="standard")
    priced = uow.find("charge", external_id=charge)
    assert account and plan and priced
    price = uow.find("price", charge_id=priced["id"], layer="list")
    assert price
    day = date(2026, 1, 1)
    subscription = uow.create(
        "subscription",
        {
            "external_id": "S-1",
            "account_id": account["id"],
            "rate_plan_id": plan["id"],
            "start_date": day,
        },
    )
    part = uow.create(
        "subscription_charge",
        {"subscription_id": subscription["id"], "charge_id": priced["id"], "start_date": day},
    )
    run = uow.create("bill_run", {"billing_date": day})
    document = {"account_id": account["id"], "bill_run_id": run["id"], "currency": "USD"}
    invoice = uow.create(
        "invoice",
        {
            **document,
            "kind": "invoice",
            "state": "draft",
            "invoice_date": day,
            "due_date": day,
            "total": Decimal(0),
            "usage_segment_seen": 0,
            "snapshot": {},
        },
    )
    amounts = ("quantity", "quantity_before", "included_quantity", "list_amount", "exact_amount")
    days = ("cycle_start", "cycle_end", "service_start", "service_end")
    uow.create(
        "rated_charge",
        {
            "invoice_id": invoice["id"],
            "subscription_charge_id": part["id"],
            "kind": "recurring",
            "price_id": price["id"],
            "currency": "USD",
            "amount": Decimal(0),
            "steps": [],
            **dict.fromkeys(("part", "events", "days", "cycle_days"), 0),
            **dict.fromkeys(amounts, Decimal(0)),
            **dict.fromkeys(days, day),
        },
    )


def test_a_book_becomes_records(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        prices = uow.query(
            "SELECT layer, subscription_external_id AS sub, model, unit_amount, flat_amount"
            " FROM price JOIN price_tier ON price_id = price.id"
            " JOIN charge ON charge_id = charge.id"
            " WHERE charge.external_id = 'room' ORDER BY flat_amount, unit_amount"
        )
    assert [tuple(price.values()) for price in prices] == [
        ("template", None, "per_unit", Decimal(400), Decimal(0)),
        ("list", None, "per_unit", Decimal(450), Decimal(0)),
        ("subscription", "S-1", "flat", Decimal(0), Decimal(380)),
        ("account", None, "flat", Decimal(0), Decimal(390)),
    ]


def test_the_same_book_again_changes_nothing(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        before = rows(uow)
        assert load(uow, BOOK) == {
            "products_unchanged": 1,
            "meters_unchanged": 1,
            "rate_plans_unchanged": 1,
            "charges_unchanged": 2,
            "pricing_templates_unchanged": 1,
            "prices_unchanged": 5,
        }
        assert rows(uow) == before


def test_a_price_that_was_never_used_is_replaced(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        changed = BOOK.replace("{up_to: 100, amount: 0.22}", "{up_to: 50, amount: 0.3}")
        assert load(uow, changed)["prices_changed"] == 1
        tiers = uow.query(
            "SELECT from_quantity, up_to, unit_amount FROM price_tier JOIN price"
            " ON price.id = price_id JOIN charge ON charge.id = charge_id"
            " WHERE charge.external_id = 'minutes' ORDER BY from_quantity"
        )
    assert [tuple(tier.values()) for tier in tiers] == [
        (Decimal(0), Decimal(50), Decimal("0.3")),
        (Decimal(50), None, Decimal("0.2")),
    ]


def test_a_price_may_change_its_model(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        flat = BOOK.replace("model: per_unit, amount: 450", "model: flat, amount: 500")
        assert load(uow, flat)["prices_changed"] == 1


def test_a_price_that_was_used_keeps_its_terms(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        rate_with(uow, "room")
    with loaded.transaction(now=LATER) as uow:
        (problem,) = refused(uow, BOOK.replace("amount: 450", "amount: 500"))
        assert (problem.code, problem.line, problem.file) == ("price_used", 12, "book.yaml")
        assert "valid_from" in problem.message


def test_a_used_price_ends_where_its_successor_begins(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        rate_with(uow, "room")
    old = "          - {currency: USD, model: per_unit, amount: 450}\n"
    new = (
        "          - {currency: USD, model: per_unit, amount: 450, valid_to: 2026-03-01}\n"
        "          - {currency: USD, model: per_unit, amount: 500, valid_from: 2026-03-01}\n"
    )
    with loaded.transaction(now=LATER) as uow:
        counts = load(uow, BOOK.replace(old, new))
        assert (counts["prices_created"], counts["prices_changed"]) == (1, 1)


def test_a_price_beside_a_stored_one_is_refused(loaded: Database) -> None:
    rival = (
        "prices:\n"
        "- {account: ACME, charge: room, currency: USD, model: flat, amount: 1,\n"
        "   valid_from: 2026-05-01}\n"
    )
    with loaded.transaction(now=LATER) as uow:
        (problem,) = refused(uow, rival)
    assert (problem.code, problem.line) == ("overlapping_validity", 3)


def test_unknown_names_are_refused_all_at_once(loaded: Database) -> None:
    text = """\
rate_plans:
  - id: other
    product: hotels
    name: Other
    charges:
      - {id: other-minutes, name: Minutes, kind: usage, meter: hours}
prices:
  - {account: ACNE, charge: rooms, currency: USD, model: flat, amount: 1}
"""
    with loaded.transaction(now=LATER) as uow:
        problems = refused(uow, text)
        assert uow.find("rate_plan", external_id="other") is None
    assert [(problem.code, problem.line, problem.allowed) for problem in problems] == [
        ("unknown_product", 3, ("rooms",)),
        ("unknown_meter", 6, ("seconds",)),
        ("unknown_charge", 8, ("minutes", "other-minutes", "room")),
        ("unknown_account", 8, ("ACME",)),
    ]


def test_what_never_changes_is_refused(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        (problem,) = refused(
            uow, BOOK.replace("kind: recurring", "kind: recurring\n        period: year")
        )
    assert (problem.code, problem.line) == ("immutable_field", 11)
    assert problem.field == "rate_plans[0].charges[0].period"


def test_checking_saves_nothing(loaded: Database) -> None:
    book, _ = parse_price_book(BOOK.replace("amount: 450", "amount: 1"), "book.yaml")
    with loaded.transaction(now=LATER) as uow:
        before = rows(uow)
    with loaded.rehearsal(now=LATER) as uow:
        assert save_price_book(uow, book)["prices_changed"] > 0
    with loaded.transaction(now=LATER) as uow:
        assert rows(uow) == before


LAYERS = """\
price_regions: [{id: asia, name: Asia}]
pricing_templates:
  - {id: gold, name: Gold, base: silver}
  - {id: silver, name: Silver}
prices:
  - {price_region: asia, charge: room, currency: JPY, model: flat, amount: 9}
  - {site: HQ, charge: room, currency: USD, model: flat, amount: 9}
  - {contact: ANN, charge: room, currency: USD, model: flat, amount: 8}
  - {contract: FRAME, charge: room, currency: USD, model: flat, amount: 7}
template_assignments:
  - {account: ACME, pricing_template: gold, valid_from: 2026-02-01}
"""


@pytest.fixture
def placed(loaded: Database) -> Database:
    """ACME has a site and a contact."""
    with loaded.transaction(now=NOW) as uow:
        acme = uow.ids_by("account", "external_id", ["ACME"])["ACME"]
        site = {"external_id": "HQ", "name": "HQ", "country": "US", "account_id": acme}
        uow.create("site", site)
        uow.create("contact", {"external_id": "ANN", "name": "Ann", "account_id": acme})
    return loaded


def test_layers_are_saved_once(placed: Database) -> None:
    with placed.transaction(now=LATER) as uow:
        assert load(uow, LAYERS) == {
            "price_regions_created": 1,
            "pricing_templates_created": 2,
            "prices_created": 4,
            "template_assignments_created": 1,
        }
    with placed.transaction(now=LATER) as uow:
        assert load(uow, LAYERS) == {
            "price_regions_unchanged": 1,
            "pricing_templates_unchanged": 2,
            "prices_unchanged": 4,
            "template_assignments_unchanged": 1,
        }
        gold = uow.find("pricing_template", external_id="gold")
        silver = uow.find("pricing_template", external_id="silver")
        assert gold and silver and gold["base_template_id"] == silver["id"]


def test_a_template_may_stop_building_on_another(placed: Database) -> None:
    with placed.transaction(now=LATER) as uow:
        load(uow, LAYERS)
        assert load(uow, LAYERS.replace(", base: silver", ""))["pricing_templates_changed"] == 1
        gold = uow.find("pricing_template", external_id="gold")
        assert gold and gold["base_template_id"] is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("site: HQ", "site: SHED", ("unknown_site", 7, "prices[1].site")),
        ("contact: ANN", "contact: BOB", ("unknown_contact", 8, "prices[2].contact")),
        (
            "price_region: asia",
            "price_region: mars",
            ("unknown_price_region", 6, "prices[0].price_region"),
        ),
        (
            "base: silver",
            "base: tin",
            ("unknown_pricing_template", 3, "pricing_templates[0].base"),
        ),
        (
            "account: ACME, pricing_template: gold",
            "account: ACME, pricing_template: tin",
            ("unknown_pricing_template", 11, "template_assignments[0].pricing_template"),
        ),
    ],
)
def test_owners_there_are_none_of_are_refused_at_their_line(
    placed: Database, old: str, new: str, expected: tuple[str, int, str]
) -> None:
    with placed.transaction(now=LATER) as uow:
        (problem,) = refused(uow, LAYERS.replace(old, new))
    assert (problem.code, problem.line, problem.field) == expected


def test_a_circle_closed_by_a_second_book_is_refused(placed: Database) -> None:
    with placed.transaction(now=LATER) as uow:
        load(uow, LAYERS)
    text = "pricing_templates:\n  - {id: silver, name: Silver, base: gold}\n"
    with placed.transaction(now=LATER) as uow:
        (problem,) = refused(uow, text)
    assert (problem.code, problem.line) == ("template_circle", 2)


def test_an_assignment_that_reaches_into_a_stored_one_is_refused(placed: Database) -> None:
    with placed.transaction(now=LATER) as uow:
        load(uow, LAYERS)
    text = (
        "template_assignments:\n  - {account: ACME, pricing_template: gold, valid_to: 2026-03-01}\n"
    )
    with placed.transaction(now=LATER) as uow:
        (problem,) = refused(uow, text)
    assert (problem.code, problem.line) == ("overlapping_validity", 2)


def test_of_two_writers_of_one_price_the_second_sees_the_first(placed: Database) -> None:
    """The second waits for the lock until the first has ended, and is then refused."""
    price = "prices: [{account: ACME, charge: minutes, currency: USD, model: flat, amount: 1%s}]"
    answers: list[list[str]] = []

    def write() -> None:
        with placed.transaction(now=LATER) as uow:
            told = refused(uow, price % ", valid_from: 2026-02-01")
            answers.append([problem.code for problem in told])

    with placed.transaction(now=LATER) as uow:
        load(uow, price % "")
        second = Thread(target=write)
        second.start()
        second.join(timeout=0.2)
        assert answers == []
    second.join()
    assert answers == [["overlapping_validity"]]


PARTIAL = """\
prices:
  - account: ACME
    charge: minutes
    currency: USD
    partial: true
    model: graduated
    tiers: [{from: 100, amount: 0.15}]
"""


def test_a_partial_price_that_fits_is_saved(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        assert load(uow, PARTIAL) == {"prices_created": 1}
    with loaded.transaction(now=LATER) as uow:
        assert load(uow, PARTIAL) == {"prices_unchanged": 1}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from: 100", "from: 50", "which has no tier from 50: its tiers begin at 0, 100"),
        ("from: 100", "from: 100, up_to: 200", "tier from 100 ends at 200, there at without end"),
        ("graduated", "volume", "one is volume, the other graduated"),
    ],
)
def test_a_partial_price_that_fits_none_is_refused_and_names_both(
    loaded: Database, old: str, new: str, said: str
) -> None:
    with loaded.transaction(now=LATER) as uow:
        (problem,) = refused(uow, PARTIAL.replace(old, new))
    assert (problem.code, problem.line, problem.field) == (
        "conflicting_layers",
        7,
        "prices[0].tiers",
    )
    assert "the partial price of account ACME does not fit the price of the list" in problem.message
    assert said in problem.message


def test_it_is_enough_to_fit_one_of_several_prices(loaded: Database) -> None:
    other = "{account: ACME, charge: minutes, currency: USD, model: graduated, amount: 1}"
    with loaded.transaction(now=LATER) as uow:
        load(uow, f"prices:\n  - {other}\n")
        load(uow, PARTIAL)


def test_without_a_price_below_nothing_is_known(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        load(uow, PARTIAL.replace("USD", "EUR").replace("from: 100", "from: 7"))


def test_tiers_written_one_by_one_must_fit_too(loaded: Database) -> None:
    with loaded.transaction(now=LATER) as uow:
        charge = uow.ids_by("charge", "external_id", ["minutes"])["minutes"]
        account = uow.ids_by("account", "external_id", ["ACME"])["ACME"]
        price = uow.create(
            "price",
            {
                "charge_id": charge,
                "layer": "account",
                "account_id": account,
                "currency": "USD",
                "partial": True,
                "model": "graduated",
            },
        )
        with pytest.raises(Refused) as answer:
            uow.create("price_tier", {"price_id": price["id"], "from_quantity": 50})
        assert [problem.code for problem in answer.value.problems] == ["conflicting_layers"]
        tier = {"price_id": price["id"], "from_quantity": 0, "up_to": 100, "unit_amount": "0.5"}
        uow.create("price_tier", tier)
