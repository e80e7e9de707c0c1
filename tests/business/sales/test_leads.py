"""Leads and opportunities go their paths; a lead becomes account, contacts, sites, opportunity."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from counterfoil.business.sales.leads import Conversion, Converted, convert_leads
from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def save(database: Database, entity: str, *rows: dict[str, Any]) -> list[int]:
    with database.transaction(now=NOW) as uow:
        return uow.create_many(entity, rows)


def refusal(database: Database, *conversions: Conversion) -> list[tuple[object, ...]]:
    with pytest.raises(Refused) as refused, database.transaction(now=NOW) as uow:
        convert_leads(uow, conversions)
    return [(one.code, one.field, one.line) for one in refused.value.problems]


def count(database: Database, *entities: str) -> list[int]:
    with database.transaction(now=NOW) as uow:
        return [uow.query(f"SELECT count(*) AS n FROM {one}")[0]["n"] for one in entities]


MADE = ("account", "billing_profile", "site", "contact", "opportunity")


@pytest.fixture
def leads(database: Database) -> Database:
    """Globex of the fair with two sites and a technician; Initech with its address only."""
    globex, _ = save(
        database,
        "lead",
        {
            "external_id": "GLOBEX",
            "company": "Globex Corporation",
            "person": "Ada Hartmann",
            "email": "ada@globex.example",
            "street": "1 Main Street",
            "city": "Denver",
            "country": "US",
            "currency": "USD",
            "time_zone": "America/Denver",
            "source": "fair",
            "owner": "sally",
            "status": "qualified",
        },
        {"external_id": "INI", "company": "Initech", "currency": "EUR", "country": "DE"},
    )
    save(
        database,
        "lead_site",
        {"external_id": "G-HQ", "lead_id": globex, "name": "Head office", "country": "US"},
        {"external_id": "G-PAR", "lead_id": globex, "name": "Paris", "country": "FR"},
    )
    save(database, "lead_contact", {"external_id": "G-TEC", "lead_id": globex, "name": "Tom Lee"})
    return database


def test_nothing_is_typed_twice(leads: Database) -> None:
    with leads.transaction(now=NOW) as uow:
        made = convert_leads(uow, [Conversion(lead="GLOBEX"), Conversion(lead="INI")])
    assert made == [
        Converted("GLOBEX", "GLOBEX", "GLOBEX", contacts=2, sites=2),
        Converted("INI", "INI", "INI", contacts=0, sites=1),
    ]
    with leads.transaction(now=NOW) as uow:
        account = uow.find("account", external_id="GLOBEX") or {}
        profile = uow.find("billing_profile", account_id=account["id"]) or {}
        opportunity = uow.find("opportunity", external_id="GLOBEX") or {}
        lead = uow.find("lead", external_id="GLOBEX") or {}
        site = uow.find("site", external_id="INI") or {}
        contact = uow.find("contact", external_id="GLOBEX") or {}
    assert account["name"] == "Globex Corporation"
    told = [profile[one] for one in ("currency", "time_zone", "attention", "city", "paper")]
    assert told == ["USD", "America/Denver", "Ada Hartmann", "Denver", "us-letter"]
    assert [opportunity[one] for one in ("stage", "probability", "owner", "source")] == [
        "qualification",
        25,
        "sally",
        "fair",
    ]
    assert (lead["status"], lead["account_id"]) == ("converted", account["id"])
    assert (site["name"], site["country"], contact["name"]) == ("Initech", "DE", "Ada Hartmann")


def test_converted_again_nothing_more_is_made(leads: Database) -> None:
    with leads.transaction(now=NOW) as uow:
        convert_leads(uow, [Conversion(lead="GLOBEX", account="A-1")])
    before = count(leads, *MADE)
    with leads.transaction(now=NOW) as uow:
        again = convert_leads(uow, [Conversion(lead="GLOBEX", account="A-2")])
    assert again == [Converted("GLOBEX", "A-1", "GLOBEX", fresh=False)]
    assert count(leads, *MADE) == before == [1, 1, 2, 2, 1]


def test_two_convert_at_once_and_one_account_is_made(leads: Database) -> None:
    def convert(_: int) -> Converted:
        with leads.transaction(now=NOW) as uow:
            return convert_leads(uow, [Conversion(lead="GLOBEX")])[0]

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(convert, range(4)))
    assert [one.fresh for one in made].count(True) == 1
    assert count(leads, *MADE) == [1, 1, 2, 2, 1]


def test_a_lead_joins_an_account_that_is_there(leads: Database) -> None:
    save(leads, "account", {"external_id": "OLD", "name": "Old customer"})
    with leads.transaction(now=NOW) as uow:
        convert_leads(uow, [Conversion(lead="GLOBEX", account="OLD")])
    assert count(leads, *MADE) == [1, 0, 2, 2, 1]


def test_what_cannot_be_converted_changes_nothing(leads: Database) -> None:
    with leads.transaction(now=NOW) as uow:
        lead = uow.find("lead", external_id="INI") or {}
        uow.update("lead", lead["id"], {"status": "unqualified"})
    asked = [Conversion(lead=name) for name in ("GLOBEX", "INI", "NOBODY", "GLOBEX")]
    assert refusal(leads, *asked) == [
        ("unqualified_lead", "lead", 2),
        ("unknown_lead", "lead", 3),
        ("named_twice", "lead", 4),
    ]
    save(leads, "account", {"external_id": "X", "name": "X"})
    with leads.transaction(now=NOW) as uow:
        other = uow.find("account", external_id="X") or {}
        taken = {"external_id": "G-PAR", "account_id": other["id"], "name": "P", "country": "FR"}
        uow.create("site", taken)
    assert [code for code, _, _ in refusal(leads, Conversion(lead="GLOBEX"))] == ["not_unique"]
    assert count(leads, "account", "opportunity") == [1, 0]


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ([{"status": "contacted"}, {"status": "qualified"}, {"status": "unqualified"}], []),
        ([{"status": "unqualified"}, {"status": "qualified"}], ["off_the_path"]),
        ([{"status": "converted"}], ["converted_by_command"]),
        ([{"currency": "XXQ"}], ["unknown_currency"]),
        ([{"country": "QQ"}, {"time_zone": "Mars/Base"}], ["unknown_country"]),
    ],
)
def test_a_lead_goes_along_its_path(
    leads: Database, changes: list[dict[str, Any]], codes: list[str]
) -> None:
    with leads.transaction(now=NOW) as uow:
        lead = uow.find("lead", external_id="INI") or {}
    found: list[str] = []
    for change in changes:
        try:
            with leads.transaction(now=NOW) as uow:
                uow.update("lead", lead["id"], change)
        except Refused as refused:
            found += [one.code for one in refused.problems]
            break
    assert found == codes


def test_the_probability_of_a_stage_is_the_usual_one(database: Database) -> None:
    (account,) = save(database, "account", {"external_id": "A", "name": "A"})
    row = {"external_id": "O", "account_id": account, "name": "Rooms", "stage": "proposal"}
    (one,) = save(database, "opportunity", row)

    def change(**values: object) -> tuple[object, ...]:
        with database.transaction(now=NOW) as uow:
            found = uow.update("opportunity", one, values)
        return found["stage"], found["probability"]

    assert change(name="Rooms and minutes") == ("proposal", 50)
    assert change(probability=60) == ("proposal", 60)
    assert change(stage="negotiation") == ("negotiation", 75)
    assert change(stage="won") == ("won", 100)
    with pytest.raises(Refused) as refused:
        change(stage="prospecting")
    assert refused.value.problems[0].allowed == ("negotiation",)
    with pytest.raises(Refused) as refused:
        change(amount=5)
    assert refused.value.problems[0].field == "currency"
