"""Prices, tiers and charges written one at a time obey the same rules as a price book."""

from datetime import UTC, datetime

import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 15, tzinfo=UTC)


def create_charge(uow: UnitOfWork, **values: object) -> Record:
    product = uow.create("product", {"external_id": "p", "name": "P"})
    plan = uow.create("rate_plan", {"external_id": "r", "name": "R", "product_id": product["id"]})
    charge = {"external_id": "c", "name": "C", "kind": "recurring", "rate_plan_id": plan["id"]}
    return uow.create("charge", {**charge, **values})


def list_price(uow: UnitOfWork, **values: object) -> Record:
    charge = uow.find("charge", external_id="c") or create_charge(uow)
    price = {"charge_id": charge["id"], "layer": "list", "currency": "USD", "model": "graduated"}
    return uow.create("price", {**price, **values})


def codes(refused: pytest.ExceptionInfo[Refused]) -> list[tuple[str, str]]:
    return [(problem.code, problem.field) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"currency": "XYZ"}, [("unknown_currency", "currency")]),
        ({"layer": "account"}, [("missing_owner", "account_id")]),
        (
            {"subscription_external_id": "S"},
            [("wrong_owner", "subscription_external_id")],
        ),
        ({"model": "package"}, [("missing_package_size", "package_size")]),
        (
            {"model": "stairstep", "package_size": "5"},
            [("unexpected_package_size", "package_size")],
        ),
        ({"model": "volume", "package_size": "0"}, [("missing_package_size", "package_size")]),
        (
            {"valid_from": "2026-02-01", "valid_to": "2026-01-01"},
            [("ends_before_start", "valid_to")],
        ),
    ],
)
def test_a_wrong_price_is_refused(
    database: Database, values: Record, refused: list[tuple[str, str]]
) -> None:
    with database.transaction(now=NOW) as uow:
        with pytest.raises(Refused) as answer:
            list_price(uow, **values)
        assert codes(answer) == refused
        assert uow.list("price").records == []


def test_a_second_price_on_the_same_days_is_refused(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        list_price(uow, valid_to="2026-02-01")
        list_price(uow, valid_from="2026-02-01")
        list_price(uow, currency="EUR")
        with pytest.raises(Refused) as answer:
            list_price(uow, valid_from="2026-03-01")
        assert codes(answer) == [("overlapping_validity", "valid_from")]


def test_the_end_of_a_price_may_not_reach_into_the_next(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        first = list_price(uow, valid_to="2026-02-01")
        list_price(uow, valid_from="2026-02-01")
        with pytest.raises(Refused) as answer:
            uow.update("price", int(str(first["id"])), {"valid_to": None})
        assert codes(answer) == [("overlapping_validity", "valid_from")]


def test_tiers_may_come_one_at_a_time(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        price = list_price(uow)
        for bounds in ({"up_to": "10"}, {"from_quantity": "10", "up_to": "20"}):
            uow.create("price_tier", {"price_id": price["id"], "unit_amount": "1", **bounds})
        uow.create("price_tier", {"price_id": price["id"], "from_quantity": "20"})
        assert len(uow.list("price_tier").records) == 3


@pytest.mark.parametrize(
    ("tier", "refused"),
    [
        ({"from_quantity": "5"}, [("overlapping_tiers", "from_quantity")]),
        ({"from_quantity": "11"}, [("tier_gap", "from_quantity")]),
        ({"from_quantity": "10", "up_to": "9"}, [("decreasing_bounds", "up_to")]),
        ({"from_quantity": "10", "unit_amount": "-1"}, [("too_small", "unit_amount")]),
    ],
)
def test_a_tier_that_does_not_fit_is_refused(
    database: Database, tier: Record, refused: list[tuple[str, str]]
) -> None:
    with database.transaction(now=NOW) as uow:
        price = list_price(uow)
        uow.create("price_tier", {"price_id": price["id"], "unit_amount": "1", "up_to": "10"})
        with pytest.raises(Refused) as answer:
            uow.create("price_tier", {"price_id": price["id"], **tier})
        assert codes(answer) == refused


def test_a_flat_price_has_one_tier_without_a_unit_amount(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        price = list_price(uow, model="flat")
        with pytest.raises(Refused) as answer:
            uow.create("price_tier", {"price_id": price["id"], "unit_amount": "1"})
        assert codes(answer) == [("unexpected_unit_amount", "unit_amount")]


def test_several_tiers_cannot_become_flat(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        price = list_price(uow)
        tiers = [
            {"price_id": price["id"], "up_to": "10"},
            {"price_id": price["id"], "from_quantity": "10"},
        ]
        uow.create_many("price_tier", tiers)
        with pytest.raises(Refused) as answer:
            uow.update("price", int(str(price["id"])), {"model": "flat"})
        assert codes(answer) == [("several_tiers", "model")]


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({"kind": "usage"}, [("missing_meter", "meter_id")]),
        ({"event_increment": "60"}, [("not_for_this_kind", "event_increment")]),
        ({"event_increment": "-60"}, [("too_small", "event_increment")]),
        ({"unit_size": 60}, [("not_for_this_kind", "unit_size")]),
    ],
)
def test_a_wrong_charge_is_refused(
    database: Database, values: Record, refused: list[tuple[str, str]]
) -> None:
    with database.transaction(now=NOW) as uow:
        with pytest.raises(Refused) as answer:
            create_charge(uow, **values)
        assert codes(answer) == refused
