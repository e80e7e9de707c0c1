"""Formulas of charges and prices: what is refused when they are saved, and with which words."""

from datetime import UTC, datetime

import pytest

from counterfoil.bootstrap import Organisation
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2024, 6, 1, tzinfo=UTC)

BOOK = """
products: [{id: video, name: Video}]
meters:
  - {id: hd_minutes, name: HD minutes, unit: minute}
rate_plans:
  - id: rooms
    product: video
    name: Rooms
    charges:
      - id: room
        name: Room
        kind: recurring
        prices:
          - currency: USD
            model: formula
            formula: ROOM
      - id: support
        name: Support
        kind: recurring
        condition: CONDITION
        prices:
          - {currency: USD, model: per_unit, amount: 10}
"""
FINE = ("quantity * 100", "quantity('room', 'account') > 3")


def book_of(room: str, condition: str) -> str:
    return BOOK.replace("ROOM", room).replace("CONDITION", condition)


def load(uow: UnitOfWork, text: str) -> dict[str, int]:
    book, problems = parse_price_book(text, "book.yaml")
    assert problems == []
    return save_price_book(uow, book)


def problems_of(organisation: Organisation, text: str) -> list[Problem]:
    book, problems = parse_price_book(text, "book.yaml")
    if problems:
        return problems
    try:
        with organisation.database.rehearsal(now=NOW) as uow:
            save_price_book(uow, book)
    except Refused as refused:
        return list(refused.problems)
    return []


def told(problems: list[Problem]) -> list[tuple[str, int | None, str, str]]:
    return [(each.code, each.line, each.field, each.message) for each in problems]


def test_a_name_that_does_not_exist_is_told_with_its_place(organisation: Organisation) -> None:
    problems = problems_of(organisation, book_of("usage('hd', 'root')", "site.land = 'DE'"))
    assert told(problems) == [
        (
            "unknown_name",
            16,
            "rate_plans[0].charges[0].prices[0].formula",
            "usage does not know 'hd' (at character 1)",
        ),
        (
            "unknown_name",
            20,
            "rate_plans[0].charges[1].condition",
            "there is no 'site.land' here; did you mean 'site.name'? (at character 1)",
        ),
    ]
    assert {problem.file for problem in problems} == {"book.yaml"}
    assert problems[0].allowed == ("hd_minutes",)


def test_a_formula_must_yield_what_its_place_needs(organisation: Organisation) -> None:
    found = told(problems_of(organisation, book_of("account.name", "quantity('room', 'root')")))
    assert [(code, line, message) for code, line, _, message in found] == [
        ("wrong_type", 16, "must yield a number, but yields a text"),
        ("wrong_type", 20, "must yield a yes/no value, but yields a number"),
    ]


def test_only_recurring_charges_are_held(organisation: Organisation) -> None:
    text = book_of("quantity", "quantity('hd_minutes', 'account') > 3")
    assert [problem.code for problem in problems_of(organisation, text)] == ["unknown_name"]


def test_a_price_is_a_formula_or_has_tiers(organisation: Organisation) -> None:
    both = BOOK.replace("formula: ROOM", "formula: quantity\n            amount: 4")
    neither = BOOK.replace("formula: ROOM", "valid_from: 2024-01-01")
    other = BOOK.replace("model: formula", "model: per_unit\n            amount: 3")
    included = BOOK.replace("formula: ROOM", "formula: quantity\n            included: 3")
    assert [
        [(problem.code, problem.line) for problem in problems_of(organisation, text)]
        for text in (both, neither, other, included)
    ] == [
        [("amount_beside_formula", 17)],
        [("missing_formula", 14)],
        [("unexpected_formula", 17)],
        [("unexpected_included_quantity", 17)],
    ]


def test_charges_that_wait_for_each_other_are_refused(organisation: Organisation) -> None:
    text = book_of("amount('support', 'account') * 0.1", "amount('room', 'root') > 100")
    assert told(problems_of(organisation, text)) == [
        (
            "formula_cycle",
            20,
            "rate_plans[0].charges[1].condition",
            (
                "these wait for each other's amounts and can never be computed: "
                "room -> support -> room"
            ),
        )
    ]
    product = book_of("amount('video', 'account')", FINE[1])
    assert [problem.message[-12:] for problem in problems_of(organisation, product)] == [
        "room -> room"
    ]


def test_a_circle_through_what_is_stored_is_refused_from_every_writer(
    organisation: Organisation,
) -> None:
    with organisation.database.transaction(now=NOW) as uow:
        load(uow, book_of("quantity * 100", "amount('room', 'account') > 100"))
    template = (
        "pricing_templates: [{id: gold, name: Gold, prices: [{charge: room, currency: USD,"
        " model: formula,\n  formula: \"amount('support', 'site') + 1\"}]}]\n"
    )
    circle = "room -> support -> room"
    (problem,) = problems_of(organisation, template)
    assert (problem.code, problem.line, problem.message[-23:]) == ("formula_cycle", 2, circle)
    with organisation.database.transaction(now=NOW) as uow:
        charges = uow.ids_by("charge", "external_id", ["room", "support"])
        price = uow.find("price", charge_id=charges["room"])
        assert price is not None
        for entity, record, values in (
            ("price", price["id"], {"formula": "amount('support', 'site') + 1"}),
            ("charge", charges["room"], {"condition": "amount('support', 'root') = 0"}),
        ):
            with pytest.raises(Refused) as refused:
                uow.update(entity, record, values)
            (problem,) = refused.value.problems
            assert problem.code == "formula_cycle"
            assert problem.message.endswith(circle)
            assert problem.field in values


def test_a_record_with_a_wrong_formula_is_refused(organisation: Organisation) -> None:
    with organisation.database.transaction(now=NOW) as uow:
        load(uow, book_of(*FINE))
        charge = uow.find("charge", external_id="room")
        assert charge is not None
        with pytest.raises(Refused) as refused:
            uow.update("charge", charge["id"], {"condition": "quantity +"})
        assert [(each.code, each.field) for each in refused.value.problems] == [
            ("bad_formula", "condition")
        ]


def test_a_formula_is_loaded_again_without_a_change(organisation: Organisation) -> None:
    with organisation.database.transaction(now=NOW) as uow:
        load(uow, book_of(*FINE))
        counts = load(uow, book_of(*FINE))
        assert (counts["prices_unchanged"], counts["charges_unchanged"]) == (2, 2)
        counts = load(uow, book_of("quantity * 90", FINE[1]))
        assert (counts["prices_changed"], counts["prices_unchanged"]) == (1, 1)
        prices = uow.query("SELECT model, formula FROM price ORDER BY id")
    assert prices[0] == {"model": "formula", "formula": "quantity * 90"}
