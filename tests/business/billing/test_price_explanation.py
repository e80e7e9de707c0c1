"""Which price holds on a day: every layer is asked, and says why it won or did not."""

from datetime import UTC, date, datetime

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.price_explanation import (
    PriceExplanation,
    PriceQuestion,
    explain_price,
)
from counterfoil.core.problems import Refused

BOOK = """
products: [{id: p, name: P}]
rate_plans:
  - id: plan
    product: p
    name: Plan
    charges:
      - id: seat
        name: Seat
        kind: recurring
        prices: [{currency: USD, model: per_unit, amount: 10}]
price_regions:
  - id: asia
    name: Asia
    prices: [{charge: seat, currency: EUR, model: per_unit, amount: 9}]
pricing_templates:
  - id: base
    name: Base
    prices: [{charge: seat, currency: USD, model: per_unit, amount: 8, valid_to: 2024-03-01}]
  - {id: reseller, name: Reseller, base: base}
prices:
  - {account: GROUP, charge: seat, currency: USD, model: flat, amount: 7, valid_from: 2024-03-01}
  - {site: TOKYO, charge: seat, currency: USD, model: flat, amount: 6, valid_from: 2024-04-01}
template_assignments:
  - {account: GROUP, pricing_template: reseller, valid_from: 2024-02-01}
"""


@pytest.fixture
def group(company: Company) -> Company:
    """GROUP in Asia, with the account OFFICE below it and a site in Tokyo."""
    group = company.open_account("GROUP")
    with company.database.transaction(now=NOW) as uow:
        office = uow.create("account", {"external_id": "OFFICE", "name": "O", "parent_id": group})
        site = {"external_id": "TOKYO", "name": "Tokyo", "country": "JP"}
        uow.create("site", {**site, "account_id": office["id"]})
    company.load_prices(BOOK)
    with company.database.transaction(now=NOW) as uow:
        region = uow.ids_by("price_region", "external_id", ["asia"])["asia"]
        uow.update("account", group, {"price_region_id": region})
    return company


def explain(company: Company, day: date, **more: str) -> PriceExplanation:
    question = PriceQuestion(account="OFFICE", charge="seat", day=day, **more)
    with company.database.transaction(now=NOW) as uow:
        return explain_price(uow, question)


def test_every_layer_is_asked_and_answers(group: Company) -> None:
    told = explain(group, date(2024, 3, 15), site="TOKYO")
    assert [(row["layer"], row["owner"], row["verdict"]) for row in told.layers] == [
        ("site", "TOKYO", "not_valid"),
        ("account", "OFFICE", "none"),
        ("account", "GROUP", "wins"),
        ("template", "reseller", "none"),
        ("template", "base", "not_valid"),
        ("region", "asia", "none"),
        ("list", None, "passed_over"),
    ]
    assert told.sentences == (
        "Site TOKYO has a price from 2024-04-01 only.",
        "Account OFFICE has no price for this charge in USD.",
        "Account GROUP has a price from 2024-03-01, the most specific on this day.",
        "Template reseller has no price for this charge in USD.",
        "Template base had a price until 2024-02-29 only.",
        "Region asia has no price for this charge in USD.",
        "The list has a price without bounds, but a more specific one holds.",
    )
    assert [str(tier["flat_amount"]) for tier in told.tiers] == ["7.0000000000"]


@pytest.mark.parametrize(
    ("day", "site", "layer", "owner"),
    [
        (date(2024, 1, 31), None, "list", None),
        (date(2024, 2, 1), None, "template", "base"),
        (date(2024, 2, 29), "TOKYO", "template", "base"),
        (date(2024, 3, 1), None, "account", "GROUP"),
        (date(2024, 4, 1), None, "account", "GROUP"),
        (date(2024, 4, 1), "TOKYO", "site", "TOKYO"),
    ],
)
def test_the_winner_changes_with_day_and_site(
    group: Company, day: date, site: str | None, layer: str, owner: str | None
) -> None:
    told = explain(group, day, **({} if site is None else {"site": site}))
    winner = next(row for row in told.layers if row["verdict"] == "wins")
    assert (winner["layer"], winner["owner"]) == (layer, owner)


def test_a_subscription_brings_its_site(group: Company) -> None:
    group.subscribe("S", "OFFICE", "plan", date(2024, 4, 1), site="TOKYO")
    told = explain(group, date(2024, 4, 1), subscription="S")
    assert [(row["layer"], row["owner"]) for row in told.layers[:2]] == [
        ("subscription", "S"),
        ("site", "TOKYO"),
    ]
    assert told.asked["site"] == "TOKYO"


def test_without_any_price_it_says_that_nothing_can_be_billed(group: Company) -> None:
    told = explain(group, date(2024, 4, 1), currency="GBP")
    assert told.price is None
    assert told.sentences[-1] == ("So seat has no price on 2024-04-01: it cannot be billed.")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"site": "OSAKA"}, "unknown_site"),
        ({"contract": "FRAME"}, "unknown_contract"),
        ({"subscription": "S-9"}, "unknown_subscription"),
    ],
)
def test_unknown_names_are_refused(group: Company, more: dict[str, str], code: str) -> None:
    with pytest.raises(Refused) as answer:
        explain(group, date(2024, 4, 1), **more)
    assert [problem.code for problem in answer.value.problems] == [code]


PARTS = """
products: [{id: p, name: P}]
meters: [{id: seconds, name: S, unit: second}]
rate_plans:
  - id: talk
    product: p
    name: Talk
    charges:
      - id: talk
        name: Talk
        kind: usage
        meter: seconds
        prices:
          - currency: USD
            model: graduated
            tiers: [{up_to: 100, amount: 3}, {up_to: 200, amount: 2}, {amount: 1}]
prices:
  - account: GROUP
    charge: talk
    currency: USD
    partial: true
    model: graduated
    tiers: [{from: 100, up_to: 200, amount: 1.5}, {amount: 0.5}]
  - account: OFFICE
    charge: talk
    currency: USD
    partial: true
    model: graduated
    valid_from: 2024-02-01
    tiers: [{from: 200, amount: 0.4}]
"""


def test_parts_say_which_tiers_they_set(group: Company) -> None:
    group.load_prices(PARTS)
    with group.database.transaction(now=NOW) as uow:
        question = PriceQuestion(account="OFFICE", charge="talk", day=date(2024, 2, 1))
        told = explain_price(uow, question)
    verdicts = [(row["owner"], row["verdict"]) for row in told.layers if row["price_id"]]
    assert verdicts == [("OFFICE", "part"), ("GROUP", "part"), (None, "wins")]
    assert told.sentences[:2] == (
        "Account OFFICE has a partial price from 2024-02-01, which sets the tier from 200.",
        "Account GROUP has a partial price without bounds, which sets the tier from 100.",
    )
    prices = {row["owner"]: row["price_id"] for row in told.layers}
    assert [(f"{tier['unit_amount']:.1f}", tier["price_id"]) for tier in told.tiers] == [
        ("3.0", prices[None]),
        ("1.5", prices["GROUP"]),
        ("0.4", prices["OFFICE"]),
    ]


def test_a_line_tells_which_price_each_tier_came_from(group: Company) -> None:
    group.load_prices(PARTS)
    subscription = group.subscribe("S", "OFFICE", "talk", date(2024, 2, 1))
    group.use(subscription, ("call", datetime(2024, 2, 3, tzinfo=UTC), "250"))
    group.bill(date(2024, 3, 1))
    with group.database.transaction(now=NOW) as uow:
        (line,) = uow.query("SELECT id, amount FROM invoice_line")
        told = explain_line(uow, group.store, line["id"])
        rows = uow.query(
            "SELECT p.id, a.external_id FROM price p LEFT JOIN account a ON a.id = p.account_id"
        )
    owners = {row["id"]: row["external_id"] for row in rows}
    assert f"{line['amount']:.2f}" == "470.00"
    assert [owners[step["price_id"]] for step in told.rated_charge["steps"]] == [
        None,
        "GROUP",
        "OFFICE",
    ]
    assert [row["verdict"] for row in told.layers] == ["part", "part", "wins"]
    assert sum(event["exact_amount"] for event in told.events) == line["amount"]
    by_parts = [said for said in told.sentences if "by the partial price" in said]
    assert len(by_parts) == 2


def test_parts_that_no_longer_fit_stop_the_bill_and_name_both(group: Company) -> None:
    group.load_prices(PARTS)
    other = "{account: OFFICE, charge: talk, currency: USD, model: per_unit, amount: 1}"
    group.load_prices(f"prices:\n  - {other}\n")
    group.subscribe("S", "OFFICE", "talk", date(2024, 2, 1))
    summary = group.bill(date(2024, 3, 1))
    ((_, code, message),) = summary.problems
    assert code == "conflicting_layers"
    assert "does not fit price" in message
    with group.database.transaction(now=NOW) as uow:
        question = PriceQuestion(account="OFFICE", charge="talk", day=date(2024, 2, 1))
        told = explain_price(uow, question)
    assert [row["verdict"] for row in told.layers if row["price_id"]] == [
        "conflict",
        "wins",
        "passed_over",
        "passed_over",
    ]


MATRIX = """
products: [{id: q, name: Q}]
meters: [{id: minutes, name: Minutes, unit: minute}]
rate_plans:
  - id: calls
    product: q
    name: Calls
    charges:
      - id: call
        name: Calls
        kind: usage
        meter: minutes
        prices:
          - currency: USD
            model: graduated
            amount: 0.5
            cells:
              - {when: {level: premier}, tiers: [{up_to: 100, amount: 0.2}, {amount: 0.1}]}
              - {when: {level: basic}, name: Basic, amount: 0.3}
prices:
  - account: GROUP
    charge: call
    currency: USD
    partial: true
    model: graduated
    amount: 0.4
    cells: [{when: {level: premier}, tiers: [{from: 100, amount: 0.05}]}]
"""


def test_the_cells_of_a_matrix_price_are_named(group: Company) -> None:
    group.load_prices(MATRIX)
    question = PriceQuestion(account="OFFICE", charge="call", day=date(2024, 3, 15))
    with group.database.transaction(now=NOW) as uow:
        told = explain_price(uow, question)
    assert told.sentences[1] == (
        "Account GROUP has a partial price without bounds, "
        "which sets level premier from 100 and everything else."
    )
    terms = [(tier["cell"], int(tier["from_quantity"]), tier["unit_amount"]) for tier in told.tiers]
    assert [(cell, bound, str(amount.normalize())) for cell, bound, amount in terms] == [
        ("level premier", 0, "0.2"),
        ("level premier", 100, "0.05"),
        ("Basic", 0, "0.3"),
        ("everything else", 0, "0.4"),
    ]
