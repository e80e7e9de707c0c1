"""What entitlements include: how much is used, and the thresholds that usage reaches."""

from datetime import UTC, date, datetime

import pytest
from tests.business.billing.conftest import Company

from counterfoil.bootstrap import USAGE_WATCHERS
from counterfoil.business.billing.included import Included, included_quantities
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.usage.watching import watch_usage_by_all
from counterfoil.core.problems import Refused

JAN, FEB = date(2024, 1, 1), date(2024, 2, 1)

ENTITLEMENTS = """
entitlements:
  - id: minutes-of-acme
    name: Minutes of Acme
    quantity: 100
    account: ACME
    charges: [minute]
    overuse: refused
    thresholds: [50, 100]
"""


def at(day: int, month: int = 1) -> datetime:
    return datetime(2024, month, day, 12, tzinfo=UTC)


@pytest.fixture
def acme(company: Company) -> tuple[int, int]:
    """Two subscriptions of ACME that draw on its hundred minutes."""
    company.open_account("ACME")
    first = company.subscribe("M1", "ACME", "minutes", JAN)
    second = company.subscribe("M2", "ACME", "minutes", JAN)
    file, problems = parse_incentives(ENTITLEMENTS, "incentives.yaml")
    assert problems == []
    with company.database.transaction(now=at(1)) as uow:
        save_incentives(uow, file)
    return first, second


def included(company: Company, now: datetime) -> list[Included]:
    return included_quantities(company.database, company.store, "ACME", now=now)


def told(company: Company, now: datetime) -> list[tuple[str, str]]:
    """Percent and quantity used of every event there is, after the watchers have looked."""
    watch_usage_by_all(company.database, company.store, USAGE_WATCHERS, now=now)
    with company.database.transaction(now=now) as uow:
        rows = uow.query(
            "SELECT data FROM outgoing_event WHERE type = 'entitlement.threshold_reached' "
            "ORDER BY id"
        )
    return [(row["data"]["percent"], row["data"]["used"]) for row in rows]


def test_what_is_left_is_that_of_all_who_draw(company: Company, acme: tuple[int, int]) -> None:
    company.use(acme[0], ("a", at(3), "600"))
    company.use(acme[1], ("b", at(4), "1200"))
    (found,) = included(company, at(15))
    assert (found.entitlement, found.owner) == ("minutes-of-acme", "ACME")
    assert (found.cycle_start, found.cycle_end) == (JAN, FEB)
    assert (found.granted, found.used, found.left, found.may_go_on) == (100, 30, 70, True)


def test_who_has_used_all_is_told_not_to_go_on(company: Company, acme: tuple[int, int]) -> None:
    company.use(acme[0], ("a", at(3), "6600"))
    (found,) = included(company, at(15))
    assert (found.used, found.left, found.may_go_on) == (100, 0, False)


def test_each_threshold_is_told_once_in_a_cycle(company: Company, acme: tuple[int, int]) -> None:
    company.use(acme[0], ("a", at(3), "2940"))
    assert told(company, at(3)) == []
    company.use(acme[1], ("b", at(4), "60"))
    fifty = [("50", "50")]
    assert told(company, at(4)) == fifty
    company.use(acme[1], ("c", at(5), "60"))
    assert told(company, at(5)) == fifty
    company.use(acme[0], ("d", at(6), "6000"))
    assert told(company, at(6)) == [*fifty, ("100", "100")]
    company.use(acme[0], ("e", at(2, month=2), "3000"))
    assert told(company, at(2, month=2)) == [*fifty, ("100", "100"), ("50", "50")]


def test_an_unknown_account_is_refused(company: Company, acme: tuple[int, int]) -> None:
    with pytest.raises(Refused, match="there is no account 'NOBODY'"):
        included_quantities(company.database, company.store, "NOBODY", now=at(15))


def test_an_entitlement_needs_usage_that_adds_up(company: Company) -> None:
    company.open_account("ACME")
    company.load_prices(
        "meters: [{id: level, name: Level, unit: seat, aggregation: latest}]\n"
        "products: [{id: p, name: P}]\n"
        "rate_plans: [{id: seats, product: p, name: Seats, charges: [{id: seat, name: Seat,"
        " kind: usage, meter: level, prices: [{currency: USD, model: per_unit, amount: 1}]}]}]"
    )
    file, problems = parse_incentives(ENTITLEMENTS.replace("[minute]", "[seat]"), "incentives.yaml")
    assert problems == []
    with (
        pytest.raises(Refused, match="'seat' is no charge of usage that is summed or counted"),
        company.database.transaction(now=at(1)) as uow,
    ):
        save_incentives(uow, file)
    with company.database.transaction(now=at(1)) as uow:
        assert uow.query("SELECT id FROM entitlement") == []


def test_an_entitlement_is_per_unit_of_what_is_held(company: Company) -> None:
    owner = "rate_plan: minutes\n    per: minute"
    text = ENTITLEMENTS.replace("account: ACME", owner)
    file, problems = parse_incentives(text, "incentives.yaml")
    assert problems == []
    with (
        pytest.raises(Refused) as answer,
        company.database.transaction(now=at(1)) as uow,
    ):
        save_incentives(uow, file)
    (problem,) = answer.value.problems
    assert (problem.code, problem.field, problem.line) == (
        "not_for_this_kind",
        "entitlements[0].per",
        7,
    )
    assert problem.message == "'minute' is no recurring charge, of which units could be held"
    with company.database.transaction(now=at(1)) as uow:
        assert uow.query("SELECT id FROM entitlement") == []


def test_an_amount_per_event_needs_usage_that_adds_up(company: Company) -> None:
    with pytest.raises(Refused, match="summed or counted, event by event"):
        company.load_prices(
            "meters: [{id: level, name: Level, unit: seat, aggregation: latest}]\n"
            "products: [{id: p, name: P}]\n"
            "rate_plans: [{id: seats, product: p, name: Seats, charges: [{id: seat, name: Seat,"
            " kind: usage, meter: level, prices:"
            " [{currency: USD, model: per_unit, amount: 1, event_amount: 2}]}]}]"
        )
