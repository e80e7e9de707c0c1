"""Custom fields in bills: they decide prices, and invoices tell them as they were."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.billing.simulation import simulate
from counterfoil.business.billing.window import Window
from counterfoil.business.documents.export import invoice_csv, invoice_json
from counterfoil.business.documents.presentment import presentment
from counterfoil.business.documents.queries import read_documents
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.model.applying import apply_change_set, retiring

JANUARY = date(2024, 1, 1)
FEBRUARY = date(2024, 2, 1)

MODEL = """
change_set: Regions
fields:
  account:
    x_region: {kind: choice, choices: [emea, amer], label: Region, on_invoice: true}
    x_deposit: {kind: money, label: Deposit, on_invoice: true}
    x_partner: {kind: boolean, on_invoice: true}
    x_secret: {kind: text}
    x_large: {kind: formula, returns: boolean, formula: x_deposit >= 1000}
  site:
    x_cost_centre: {kind: text, label: Cost centre, on_invoice: true}
  subscription:
    x_project: {kind: text, on_invoice: true}
    x_ends: {kind: date, on_invoice: true}
    x_factor: {kind: decimal, digits: 6, places: 3}
"""
BOOK = """
products: [{id: rooms, name: Rooms}]
rate_plans:
  - id: room
    product: rooms
    name: Room
    charges:
      - id: room
        name: Room
        kind: recurring
        timing: in_advance
        unit: room
        prices:
          - {currency: USD, model: per_unit, amount: 100}
      - id: support
        name: Support
        kind: recurring
        timing: in_advance
        unit: room
        condition: account.x_region = 'emea' and not account.x_large
        prices:
          - {currency: USD, model: formula, formula: quantity * 10 * subscription.x_factor}
"""


def furnish(organisation: Organisation) -> None:
    """EMEA and AMER with a room each; only EMEA's are in a project."""
    found = Company(organisation)
    apply_change_set(found.database, MODEL, now=NOW, source="cli")
    found.load_prices(BOOK)
    for name, region, deposit in (("EMEA", "emea", "999.99"), ("AMER", "amer", "5")):
        account = found.open_account(name)
        change(
            found,
            "account",
            account,
            x_region=region,
            x_deposit=deposit,
            x_deposit_currency="EUR",
            x_secret="not told",
        )
        with found.database.transaction(now=NOW) as uow:
            site = {"external_id": f"{name}-HQ", "account_id": account, "name": "HQ"}
            uow.create("site", {**site, "country": "US", "x_cost_centre": f"CC {name}"})
        subscription = found.subscribe(f"S-{name}", name, "room", JANUARY, site=f"{name}-HQ")
        change(found, "subscription", subscription, x_factor="1.125", x_ends="2025-12-31")
        if name == "EMEA":
            change(found, "subscription", subscription, x_project="Apollo")


@pytest.fixture
def rooms(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        yield Company(organisation)


def change(company: Company, entity: str, record_id: int, **values: object) -> None:
    with company.database.transaction(now=NOW) as uow:
        uow.update(entity, record_id, values)


def documents(company: Company) -> list[tuple[Record, list[Record]]]:
    with company.database.transaction(now=NOW) as uow:
        ids = [row["id"] for row in uow.query("SELECT id FROM invoice ORDER BY account_id")]
        return read_documents(uow, ids)


def test_a_custom_field_decides_what_is_billed_and_for_how_much(rooms: Company) -> None:
    rooms.bill(JANUARY)
    billed = [
        [(line["description"], line["amount"]) for line in lines] for _, lines in documents(rooms)
    ]
    assert billed == [
        [("Room", Decimal("100.0000")), ("Support", Decimal("11.2500"))],
        [("Room", Decimal("100.0000"))],
    ]


def test_a_computed_field_decides_as_well(rooms: Company) -> None:
    with rooms.database.transaction(now=NOW) as uow:
        emea = uow.ids_by("account", "external_id", ["EMEA"])["EMEA"]
    change(rooms, "account", emea, x_deposit="1000")
    assert rooms.bill(JANUARY).totals == {"USD": Decimal(200)}


def test_the_invoice_tells_the_fields_that_ask_for_it(rooms: Company) -> None:
    rooms.bill(JANUARY)
    (emea, amer) = documents(rooms)
    page = presentment(*emea)
    assert page["facts"][-2:] == [["Region", "emea"], ["Deposit", "EUR 999.99"]]
    line = page["groups"][0]["lines"][0]
    assert line["explanation"] == ("Cost centre: CC EMEA · Project: Apollo · Ends: Dec 31, 2025")
    other = presentment(*amer)["groups"][0]["lines"][0]
    assert other["explanation"] == "Cost centre: CC AMER · Ends: Dec 31, 2025"
    assert "not told" not in json.dumps(page)


def test_the_invoice_says_the_same_whatever_becomes_of_the_fields(rooms: Company) -> None:
    rooms.bill(JANUARY)
    before = [presentment(*one) for one in documents(rooms)]
    with rooms.database.transaction(now=NOW) as uow:
        account = uow.ids_by("account", "external_id", ["EMEA"])["EMEA"]
        hide = retiring(uow, "site", "x_cost_centre")
    change(rooms, "account", account, x_region="amer")
    apply_change_set(rooms.database, hide, now=NOW, source="cli")
    assert [presentment(*one) for one in documents(rooms)] == before


def test_exports_have_them_in_columns_of_their_own(rooms: Company) -> None:
    rooms.bill(JANUARY)
    found = documents(rooms)
    rows = list(csv.DictReader(io.StringIO(invoice_csv(found))))
    assert [row["subscription.x_project"] for row in rows] == ["Apollo", "Apollo", ""]
    assert {row["account.x_deposit"] for row in rows} == {"999.99", "5"}
    exported = json.loads(invoice_json(*found[0]))
    assert exported["account"]["custom_fields"] == {
        "account.x_region": "emea",
        "account.x_deposit": "999.99",
        "account.x_deposit_currency": "EUR",
    }
    assert exported["lines"][0]["custom_fields"]["site.x_cost_centre"] == "CC EMEA"


def test_a_preview_shows_what_the_invoice_will(rooms: Company) -> None:
    preview = preview_invoice(rooms.database, rooms.store, "EMEA", JANUARY, now=NOW)
    assert preview.invoice is not None
    previewed = presentment(preview.invoice, preview.lines)["groups"]
    rooms.bill(JANUARY)
    assert presentment(*documents(rooms)[0])["groups"] == previewed


def test_without_fields_to_tell_nothing_is_different(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("R", "ACME", "rooms", JANUARY)
    company.bill(JANUARY)
    ((invoice, lines),) = documents(company)
    assert "custom_fields" not in invoice["snapshot"]
    assert lines[0]["custom_fields"] is None
    assert "custom_fields" not in invoice_json(invoice, lines)


def test_a_field_that_a_price_reads_cannot_be_retired(rooms: Company) -> None:
    readers = {"x_region": "condition of charge support", "x_factor": "formula of a price"}
    for owner, name in (("account", "x_region"), ("subscription", "x_factor")):
        with rooms.database.transaction(now=NOW) as uow:
            hide = retiring(uow, owner, name)
        with pytest.raises(Refused, match=f"is read by the {readers[name]}"):
            apply_change_set(rooms.database, hide, now=NOW, source="cli")
    with rooms.database.transaction(now=NOW) as uow:
        assert uow.catalogue.version == 1
        hide = retiring(uow, "subscription", "x_project")
    apply_change_set(rooms.database, hide, now=NOW, source="cli")


def test_price_books_and_incentives_are_loaded_as_before(rooms: Company) -> None:
    everywhere = "change_set: Everywhere\nfields:\n" + "".join(
        f"  {entity}:\n"
        "    x_note: {kind: text}\n"
        "    x_words: {kind: multi_choice, choices: [a, b]}\n"
        "    x_length: {kind: formula, returns: number, formula: length(x_note)}\n"
        for entity in ("product", "charge", "price", "price_tier", "discount", "discount_target")
    )
    apply_change_set(rooms.database, everywhere, now=NOW, source="cli")
    rooms.load_prices(BOOK)
    offer, problems = parse_incentives(
        "discounts: [{id: spring, name: Spring, code: S, percent: 10, products: [rooms]}]", "offer"
    )
    assert problems == []
    for _ in range(2):
        with rooms.database.transaction(now=NOW) as uow:
            counts = save_incentives(uow, offer)
    assert counts["discounts_unchanged"] == 1
    rooms.bill(JANUARY)
    assert len(documents(rooms)) == 2
    draft, problems = parse_price_book(BOOK.replace("amount: 100", "amount: 110"), "draft")
    assert problems == []
    window = Window(JANUARY, FEBRUARY)
    report = simulate(rooms.database, rooms.store, draft, window, now=NOW)
    assert [row.amounts.change for row in report.totals] == [Decimal(20)]
