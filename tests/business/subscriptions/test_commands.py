"""Subscriptions begin, change and end."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.accounts.commands import create_account
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.commands import (
    Activation,
    activate_subscriptions,
    cancel_subscriptions,
    change_quantity,
)
from counterfoil.business.subscriptions.queries import (
    find_subscriptions,
    list_subscriptions,
    read_quantities,
)
from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 15, tzinfo=UTC)

BOOK = """\
products: [{id: rooms, name: Rooms}]
meters: [{id: seconds, name: Seconds, unit: second}]
rate_plans:
  - id: standard
    product: rooms
    name: Standard
    charges:
      - {id: room, name: Managed room, kind: recurring}
      - {id: minutes, name: Minutes, kind: usage, meter: seconds}
      - {id: set-up, name: Set-up, kind: one_time}
"""


def day(text: str) -> date:
    return date.fromisoformat(text)


def furnish(organisation: Organisation) -> None:
    """A plan, and the accounts top / division and other, each with a site of its name."""
    with organisation.database.transaction(now=NOW) as uow:
        book, problems = parse_price_book(BOOK, "book.yaml")
        assert problems == []
        save_price_book(uow, book)
        for name, parent in (
            ("top", None),
            ("division", "top"),
            ("sister", "top"),
            ("other", None),
        ):
            made = create_account(uow, {"external_id": name, "name": name}, parent=parent)
            site = {"external_id": f"{name} site", "account_id": made["id"], "name": name}
            uow.create("site", {**site, "country": "FR"})
            contact = {"external_id": f"{name} contact", "account_id": made["id"], "name": name}
            uow.create("contact", contact)
            contract = {"external_id": f"{name} contract", "account_id": made["id"], "name": name}
            uow.create("contract", {**contract, "start_date": day("2026-01-01")})


@pytest.fixture
def sold(furnishings: Furnishings) -> Iterator[Database]:
    with furnishings.copy(furnish) as organisation:
        yield organisation.database


def activation(name: str = "S-1", **changes: object) -> Activation:
    values: dict[str, object] = {
        "external_id": name,
        "account": "division",
        "rate_plan": "standard",
        "start_date": day("2026-01-10"),
        **changes,
    }
    return Activation(**values)  # type: ignore[arg-type]


def quantities(uow: UnitOfWork, subscription: int, charge: str = "room") -> list[tuple[str, ...]]:
    """Quantity, start and end of what is served, in order."""
    return [
        (
            f"{row['quantity']:f}".rstrip("0").rstrip("."),
            str(row["start_date"]),
            str(row["end_date"]),
        )
        for row in read_quantities(uow, subscription)
        if row["charge"] == charge
    ]


def refusals(answer: pytest.ExceptionInfo[Refused]) -> list[tuple[str, str, int | None]]:
    return [(problem.code, problem.field, problem.line) for problem in answer.value.problems]


def test_a_subscription_begins_with_every_charge_of_its_plan(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        wanted = activation(quantities={"room": Decimal("2.5")}, identifiers=("0800", "bridge"))
        (subscription,) = activate_subscriptions(uow, [wanted])
        assert quantities(uow, subscription, "room") == [("2.5", "2026-01-10", "None")]
        assert quantities(uow, subscription, "minutes") == [("1", "2026-01-10", "None")]
        assert quantities(uow, subscription, "set-up") == [("1", "2026-01-10", "None")]
        named = uow.query("SELECT identifier FROM usage_identifier ORDER BY 1")
        assert [row["identifier"] for row in named] == ["0800", "bridge"]


def test_a_subscription_may_be_under_a_contract_of_an_account_above(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        owners = {"contact": "division contact", "contract": "top contract"}
        (subscription,) = activate_subscriptions(uow, [activation(**owners)])
        stored = uow.get("subscription", subscription)
        contract = uow.get("contract", int(str(stored["contract_id"])))
        assert contract["external_id"] == "top contract"


def test_a_contract_ends_after_it_starts(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        contract = uow.find("contract", external_id="top contract")
        assert contract
        with pytest.raises(Refused) as answer:
            uow.update("contract", int(str(contract["id"])), {"end_date": day("2026-01-01")})
        assert refusals(answer) == [("ends_before_start", "end_date", None)]


def test_an_identifier_means_one_subscription_at_a_time(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        first = activation("S-1", identifiers=("0800",), end_date=day("2026-03-01"))
        activate_subscriptions(uow, [first])
    with pytest.raises(Refused) as answer, sold.transaction(now=NOW) as uow:
        activate_subscriptions(uow, [activation("S-2", identifiers=("0800", "0900"))])
    assert refusals(answer) == [("identifier_taken", "identifiers", None)]
    with sold.transaction(now=NOW) as uow:
        begins = {"identifiers": ("0800",), "start_date": day("2026-03-01")}
        activate_subscriptions(uow, [activation("S-3", **begins)])


def test_many_begin_at_once_in_order(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        names = [f"S-{number:03}" for number in range(300)]
        ids = activate_subscriptions(uow, [activation(name) for name in names])
        assert find_subscriptions(uow, names) == ids
        assert len(uow.query("SELECT 1 FROM subscription_charge")) == 900


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"account": "nobody"}, ("unknown_account", "account")),
        ({"rate_plan": "deluxe"}, ("unknown_rate_plan", "rate_plan")),
        ({"site": "moon"}, ("unknown_site", "site")),
        ({"site": "other site"}, ("wrong_site", "site_id")),
        ({"site": "sister site"}, ("wrong_site", "site_id")),
        ({"contact": "nobody"}, ("unknown_contact", "contact")),
        ({"contact": "sister contact"}, ("wrong_contact", "contact_id")),
        ({"contract": "nothing"}, ("unknown_contract", "contract")),
        ({"contract": "sister contract"}, ("wrong_contract", "contract_id")),
        ({"contract": "other contract"}, ("wrong_contract", "contract_id")),
        ({"quantities": {"chair": Decimal(1)}}, ("unknown_charge", "quantities.chair")),
        ({"quantities": {"room": Decimal(-1)}}, ("negative", "quantities.room")),
        ({"quantities": {"minutes": Decimal(5)}}, ("usage_quantity", "quantities.minutes")),
        ({"end_date": day("2026-01-10")}, ("ends_before_start", "end_date")),
        ({"end_date": day("2026-01-09")}, ("ends_before_start", "end_date")),
    ],
)
def test_a_wrong_activation_is_refused(
    sold: Database, changes: dict[str, object], refused: tuple[str, str]
) -> None:
    with sold.transaction(now=NOW) as uow:
        with pytest.raises(Refused) as answer:
            activate_subscriptions(uow, [activation(**changes)])
        assert refusals(answer) == [(*refused, None)]
        assert list_subscriptions(uow) == []


def test_all_problems_of_all_activations_are_told_at_once(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        activate_subscriptions(uow, [activation("taken")])
        wanted = [
            activation("taken"),
            activation("S-2", account="nobody", rate_plan="deluxe"),
            activation("S-3"),
            activation("S-3", quantities={"chair": Decimal(-1)}),
        ]
        with pytest.raises(Refused) as answer:
            activate_subscriptions(uow, wanted)
    assert refusals(answer) == [
        ("unknown_account", "account", 2),
        ("unknown_rate_plan", "rate_plan", 2),
        ("unknown_charge", "quantities.chair", 4),
        ("negative", "quantities.chair", 4),
        ("not_unique", "external_id", 1),
        ("not_unique", "external_id", 4),
    ]
    assert answer.value.problems[2].allowed == ("room", "minutes", "set-up")


@pytest.mark.parametrize("account", ["top", "division"])
def test_a_site_may_lie_above_or_below_its_account(sold: Database, account: str) -> None:
    with sold.transaction(now=NOW) as uow:
        sites = ["top site", "division site"]
        wanted = [activation(site, account=account, site=site) for site in sites]
        activate_subscriptions(uow, wanted)
        assert [row["site"] for row in list_subscriptions(uow)] == sorted(sites)


def test_a_change_of_quantity_ends_one_and_begins_the_next(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        (subscription,) = activate_subscriptions(uow, [activation(end_date=day("2026-12-01"))])
        change_quantity(uow, subscription, "room", Decimal(3), day("2026-03-15"))
        assert quantities(uow, subscription) == [
            ("1", "2026-01-10", "2026-03-15"),
            ("3", "2026-03-15", "2026-12-01"),
        ]


def test_a_change_in_the_past_reaches_to_the_next_change(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        (subscription,) = activate_subscriptions(uow, [activation()])
        change_quantity(uow, subscription, "room", Decimal(3), day("2026-03-15"))
        change_quantity(uow, subscription, "room", Decimal(2), day("2026-02-01"))
        assert quantities(uow, subscription) == [
            ("1", "2026-01-10", "2026-02-01"),
            ("2", "2026-02-01", "2026-03-15"),
            ("3", "2026-03-15", "None"),
        ]


def test_a_second_change_on_the_same_day_replaces_the_first(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        (subscription,) = activate_subscriptions(uow, [activation()])
        for quantity in (3, 5):
            change_quantity(uow, subscription, "room", Decimal(quantity), day("2026-03-15"))
        change_quantity(uow, subscription, "room", Decimal(5), day("2026-03-15"))
        assert quantities(uow, subscription) == [
            ("1", "2026-01-10", "2026-03-15"),
            ("5", "2026-03-15", "None"),
        ]


@pytest.mark.parametrize(
    ("charge", "quantity", "from_date", "refused"),
    [
        ("room", -1, "2026-02-01", ("negative", "quantity")),
        ("room", 2, "2026-01-09", ("not_running", "from_date")),
        ("room", 2, "2026-06-01", ("not_running", "from_date")),
        ("chair", 2, "2026-02-01", ("unknown_charge", "charge")),
        ("minutes", 2, "2026-02-01", ("unknown_charge", "charge")),
        ("set-up", 2, "2026-02-01", ("unknown_charge", "charge")),
    ],
)
def test_a_wrong_change_is_refused(
    sold: Database, charge: str, quantity: int, from_date: str, refused: tuple[str, str]
) -> None:
    with sold.transaction(now=NOW) as uow:
        (subscription,) = activate_subscriptions(uow, [activation(end_date=day("2026-06-01"))])
        with pytest.raises(Refused) as answer:
            change_quantity(uow, subscription, charge, Decimal(quantity), day(from_date))
        assert refusals(answer) == [(*refused, None)]
        assert quantities(uow, subscription) == [("1", "2026-01-10", "2026-06-01")]


def test_a_cancelled_subscription_ends_with_its_charges(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        first, second = activate_subscriptions(uow, [activation("S-1"), activation("S-2")])
        change_quantity(uow, first, "room", Decimal(2), day("2026-02-01"))
        change_quantity(uow, first, "room", Decimal(3), day("2026-05-01"))
        cancel_subscriptions(uow, [first, second], day("2026-03-01"))
        assert quantities(uow, first) == [
            ("1", "2026-01-10", "2026-02-01"),
            ("2", "2026-02-01", "2026-03-01"),
        ]
        assert quantities(uow, second, "minutes") == [("1", "2026-01-10", "2026-03-01")]
        assert [str(row["end_date"]) for row in list_subscriptions(uow)] == ["2026-03-01"] * 2


def test_cancelled_before_its_start_nothing_is_ever_served(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        (subscription,) = activate_subscriptions(uow, [activation()])
        cancel_subscriptions(uow, [subscription], day("2025-12-01"))
        assert read_quantities(uow, subscription) == []
        parts = uow.query("SELECT start_date, end_date FROM subscription_charge")
        assert [str(part["end_date"]) for part in parts] == ["2026-01-10"] * 3
        assert str(uow.get("subscription", subscription)["end_date"]) == "2026-01-10"


def test_an_end_may_come_earlier_but_not_later(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        (subscription,) = activate_subscriptions(uow, [activation(end_date=day("2026-06-01"))])
        cancel_subscriptions(uow, [subscription], day("2026-04-01"))
        cancel_subscriptions(uow, [subscription], day("2026-04-01"))
        with pytest.raises(Refused) as answer:
            cancel_subscriptions(uow, [subscription], day("2026-05-01"))
        assert refusals(answer) == [("ended_already", "end_date", None)]
        assert quantities(uow, subscription) == [("1", "2026-01-10", "2026-04-01")]


def test_unknown_subscriptions_are_named(sold: Database) -> None:
    with sold.transaction(now=NOW) as uow:
        with pytest.raises(Refused, match=r"'A'.*\n.*'B'"):
            find_subscriptions(uow, ["A", "B"])
        with pytest.raises(Refused, match="no subscription 4711"):
            cancel_subscriptions(uow, [4711], day("2026-04-01"))
