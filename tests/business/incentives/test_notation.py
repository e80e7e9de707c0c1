"""Incentives files: what they say, and what they are refused for, with line and field."""

from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, PRICE_BOOK

from counterfoil.bootstrap import Organisation
from counterfoil.business.incentives.commands import redeem_coupon, save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.core.problems import Refused

FILE = """
discounts:
  - {id: spring, name: Spring offer, percent: 10, code: SPRING, products: [conferencing]}
  - id: loyal
    name: Loyalty
    tiers: [{from: 0, percent: 0}, {from: 1000, percent: 5}]
    accounts: [ACME]
    requires: [{charge: minute, minimum_quantity: 100}]
commitments:
  - {id: floor, name: Minimum, minimum: 500, currency: USD, account: ACME, start: 2024-01-01,
     period: quarter}
grants:
  - {id: G1, account: ACME, currency: USD, amount: 17.9699999999999988631316, start: 2024-01-01}
"""


def refusals(text: str) -> list[tuple[int | None, str, str]]:
    return [(one.line, one.field, one.code) for one in parse_incentives(text, "i.yaml")[1]]


@pytest.fixture
def shop(organisation: Organisation) -> Organisation:
    book, _ = parse_price_book(PRICE_BOOK, "prices.yaml")
    with organisation.database.transaction(now=NOW) as uow:
        save_price_book(uow, book)
        uow.create("account", {"external_id": "ACME", "name": "Acme"})
    return organisation


def test_a_file_is_saved_and_saving_it_again_changes_nothing(shop: Organisation) -> None:
    file, problems = parse_incentives(FILE, "i.yaml")
    assert problems == []
    with shop.database.transaction(now=NOW) as uow:
        first = save_incentives(uow, file)
        assert (first["discounts_created"], first["commitments_created"]) == (2, 1)
    with shop.database.transaction(now=NOW) as uow:
        again = save_incentives(uow, file)
        assert again["discounts_unchanged"] == 2
        assert again["prepaid_grants_unchanged"] == 1
        assert uow.query("SELECT amount FROM prepaid_grant") == [{"amount": Decimal("17.97")}]
        assert uow.query("SELECT period_count AS n FROM commitment") == [{"n": 3}]


def test_what_a_file_says_otherwise_is_changed(shop: Organisation) -> None:
    with shop.database.transaction(now=NOW) as uow:
        save_incentives(uow, parse_incentives(FILE, "i.yaml")[0])
    changed = FILE.replace("percent: 5", "percent: 6").replace("name: Minimum", "name: Least")
    with shop.database.transaction(now=NOW) as uow:
        counts = save_incentives(uow, parse_incentives(changed, "i.yaml")[0])
        assert (counts["discounts_changed"], counts["commitments_changed"]) == (1, 1)
        tiers = uow.query("SELECT percent FROM discount_tier ORDER BY from_amount")
        assert [tier["percent"] for tier in tiers] == [0, 6]


def test_an_incentive_that_refers_to_nothing_is_refused_with_its_place(shop: Organisation) -> None:
    text = FILE.replace("charge: minute", "charge: minutes").replace("[conferencing]", "[audio]")
    text = text.replace("USD, account: ACME, start", "USD, account: NOBODY, start")
    with (
        shop.database.transaction(now=NOW) as uow,
        pytest.raises(Refused) as refused,
    ):
        save_incentives(uow, parse_incentives(text, "i.yaml")[0])
    assert [(one.line, one.code, one.field) for one in refused.value.problems] == [
        (3, "unknown_product", "discounts[0].products"),
        (8, "unknown_charge", "discounts[1].requires[0].charge"),
        (10, "unknown_account", "commitments[0].account"),
    ]
    assert "there is no charge 'minutes'" in refused.value.problems[1].message


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{id: a, name: A}", "one_value"),
        ("{id: a, name: A, percent: 10, amount: 5, currency: USD}", "one_value"),
        ("{id: a, name: A, amount: 5}", "missing"),
        ("{id: a, name: A, percent: 101}", "too_large"),
        ("{id: a, name: A, amount: 5, currency: XXX}", "unknown_currency"),
        ("{id: a, name: A, percent: 5, invoice_maximum: 5}", "missing"),
        (
            "{id: a, name: A, percent: 5, valid_from: 2024-02-01, valid_to: 2024-02-01}",
            "ends_before_start",
        ),
        ("{id: a, name: A, percent: 5, requires: [{}]}", "wrong_target"),
        ("{id: a, name: A, tiers: [{percent: 1}, {percent: 2}]}", "double_tier"),
    ],
)
def test_a_faulty_discount_is_refused(entry: str, expected: str) -> None:
    assert [code for _, _, code in refusals(f"discounts: [{entry}]")] == [expected]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("minimum: 5, maximum: 6, account: A, start: 2024-01-01", "one_value"),
        ("minimum: 5, account: A", "missing"),
        ("minimum: 5", "missing_owner"),
        (
            "minimum: 5, account: A, scope: subtree, subscription: S, start: 2024-01-01",
            "wrong_owner",
        ),
    ],
)
def test_a_faulty_commitment_is_refused(entry: str, expected: str) -> None:
    text = f"commitments: [{{id: a, name: A, currency: USD, {entry}}}]"
    assert [code for _, _, code in refusals(text)] == [expected]


def test_ids_and_codes_are_given_once() -> None:
    text = """discounts:
  - {id: a, name: A, percent: 5, code: X}
  - {id: a, name: B, percent: 5}
  - {id: b, name: B, percent: 5, code: X}
"""
    assert refusals(text) == [
        (3, "discounts[1].id", "double_id"),
        (4, "discounts[2].code", "double_code"),
    ]


def test_a_coupon_is_redeemed_once(shop: Organisation) -> None:
    with shop.database.transaction(now=NOW) as uow:
        save_incentives(uow, parse_incentives(FILE, "i.yaml")[0])
        redeem_coupon(uow, "SPRING", "ACME")
        redeem_coupon(uow, "SPRING", "ACME")
        assert uow.query("SELECT count(*) AS n FROM discount_holder") == [{"n": 2}]
        with pytest.raises(Refused, match="there is no coupon 'AUTUMN'"):
            redeem_coupon(uow, "AUTUMN", "ACME")


def test_what_never_changes_is_refused_in_another_file(shop: Organisation) -> None:
    with shop.database.transaction(now=NOW) as uow:
        save_incentives(uow, parse_incentives(FILE, "i.yaml")[0])
    text = FILE.replace("amount: 17.9699999999999988631316", "amount: 18")
    with shop.database.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        save_incentives(uow, parse_incentives(text, "i.yaml")[0])
    assert [(one.line, one.field) for one in refused.value.problems] == [(13, "grants[0].amount")]


def test_a_discount_counts_over_what_pools_count_over_or_is_refused() -> None:
    text = """
discounts:
  - {id: group, name: Group, tiers: [{from: 9, percent: 5}], basis: subtree}
  - {id: planet, name: Planet, tiers: [{from: 9, percent: 5}], basis: planet}
  - {id: plain, name: Plain, percent: 10, basis: root}
"""
    _, problems = parse_incentives(text, "i.yaml")
    assert [(one.line, one.field, one.code) for one in problems] == [
        (4, "discounts[1].basis", "unknown_value"),
        (5, "discounts[2].basis", "not_for_this_kind"),
    ]
    assert problems[0].allowed == ("subscription", "site", "account", "subtree", "root")


def test_what_is_wrong_with_a_threshold_of_spending_is_told_by_line() -> None:
    text = """
spending_thresholds:
  - {id: a, name: A, account: ACME, amount: 0, currency: USD}
  - {id: b, name: B, account: ACME, amount: 5, currency: XXQ}
  - {id: c, name: C, account: ACME, amount: 5, currency: USD, alignment: anniversary}
  - {id: d, name: D, account: ACME, amount: 5, currency: USD, period: quarter, every: 41}
  - {id: e, name: E, amount: 5, currency: USD}
  - {id: f, name: F, account: ACME, amount: 5, currency: USD, start: 2024-02-01, end: 2024-02-01}
"""
    assert [(line, code) for line, _, code in refusals(text)] == [
        (3, "too_small"),
        (4, "unknown_currency"),
        (5, "missing"),
        (6, "too_large"),
        (7, "missing"),
        (8, "ends_before_start"),
    ]
