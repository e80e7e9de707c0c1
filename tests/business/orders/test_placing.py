"""Orders are placed as a whole, once, and refused with the place of every mistake."""

from datetime import date
from decimal import Decimal

import pytest
from tests.business.orders.conftest import APR, MAR, TODAY, Desk, room

from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.placing import place_orders
from counterfoil.core.problems import Refused


def refused(desk: Desk, *lines: NewLine, **more: object) -> list[tuple[object, ...]]:
    """The problems of an order: line, field, code. Nothing of it stays."""
    before = desk.everything()
    with pytest.raises(Refused) as told:
        desk.place(*lines, name="bad", **more)
    assert desk.everything() == before
    return [(one.line, one.field, one.code) for one in told.value.problems]


def test_an_order_is_placed_under_a_number_with_its_lines(desk: Desk):
    placed = desk.place(room("ACME-1", quantities={"room": Decimal(2)}), room("ACME-2"))
    assert (placed.number, placed.status, placed.created) == (
        f"ORD-{placed.id:06}",
        "submitted",
        True,
    )
    assert desk.place(room("ACME-3"), name="A-2").number != placed.number
    rows = desk.rows(
        "SELECT position, status, subscription_external_id AS name FROM order_line ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (1, "waiting", "A-1-1"),
        (2, "waiting", "A-1-2"),
        (1, "waiting", "A-2-1"),
    ]
    assert desk.rows("SELECT count(*) AS n FROM subscription") == [{"n": 0}]


def test_the_same_order_again_is_harmless_and_another_one_refused(desk: Desk):
    first = desk.place(room("ACME-1"))
    again = desk.place(room("ACME-1"))
    assert (again.id, again.created) == (first.id, False)
    with pytest.raises(Refused) as told:
        desk.place(room("ACME-2"), amount=Decimal(9), purchase_order="PO 7")
    assert told.value.status == 409
    (problem,) = told.value.problems
    assert problem.code == "other_order"
    assert problem.message.endswith("with other contents: lines, purchase order, amount")
    assert desk.place(room("ACME-2"), name="A-2").created


def test_every_mistake_is_told_with_its_line_and_field(desk: Desk):
    lines = (
        room("ACME-1"),
        NewLine(rate_plan="rooms", site="nowhere"),
        NewLine(rate_plan="palace"),
        NewLine(kind="change_quantity", subscription="S-9", charge="room"),
        NewLine(site="ACME-1", charge="room"),
        NewLine(rate_plan="rooms", billing_start="on_date"),
        NewLine(kind="give", rate_plan="rooms"),
        room(account="OTHER"),
    )
    assert refused(desk, *lines) == [
        (2, "lines.site", "unknown_site"),
        (3, "lines.rate_plan", "unknown_rate_plan"),
        (4, "lines.quantity", "required"),
        (4, "lines.subscription", "unknown_subscription"),
        (5, "lines.charge", "unknown_field"),
        (5, "lines.rate_plan", "required"),
        (6, "lines.billing_date", "required"),
        (7, "lines.kind", "unknown_choice"),
        (8, "lines.account", "other_customer"),
    ]


def test_what_activation_would_refuse_is_refused_when_it_is_ordered(desk: Desk):
    assert refused(
        desk,
        room("ACME-1"),
        room("OTHER-1"),
    ) == [(2, "lines.site", "wrong_site")]
    assert refused(
        desk,
        room("ACME-1", quantities={"desk": Decimal(1)}),
        room(effective_date=APR, end_date=MAR),
        room(prices={"room": Decimal(5)}),
    ) == [
        (1, "lines.quantities.desk", "unknown_charge"),
        (2, "lines.end_date", "ends_before_start"),
    ]
    assert refused(desk, room(), room(prices={"desk": Decimal(1)})) == [
        (2, "lines.prices.desk", "unknown_charge")
    ]
    desk.released(room("ACME-1", subscription="S"), name="A-0", order_date=MAR)
    assert refused(desk, room(), NewLine(kind="resume", subscription="S")) == [
        (2, "lines.effective_date", "not_suspended")
    ]
    renewal = NewLine(kind="renew", subscription="S", prices={"room": Decimal(5)})
    assert refused(desk, renewal) == [(1, "lines.rate_plan", "required")]
    change = NewLine(kind="change_quantity", subscription="S", charge="line", quantity=Decimal(2))
    assert refused(desk, change) == [(1, "lines.charge", "unknown_charge")]


def test_an_amount_in_another_currency_is_held_against_no_limit(desk: Desk):
    with desk.work() as uow:
        uow.create("order_limit", {"currency": "JPY", "amount": 1_000_000})
    asked = {"amount": Decimal(900_000), "currency": "JPY"}
    assert refused(desk, room(), **asked) == [(None, "currency", "other_currency")]


def test_two_lines_cannot_begin_the_same_subscription(desk: Desk):
    assert refused(desk, room(subscription="S"), room(subscription="S")) == [
        (2, "lines.subscription", "not_unique")
    ]
    desk.place(room(subscription="S"))
    assert refused(desk, room(subscription="S")) == [(1, "lines.subscription", "not_unique")]


def test_an_order_needs_lines_and_a_known_account(desk: Desk):
    with pytest.raises(Refused) as told, desk.work() as uow:
        place_orders(uow, [NewOrder(external_id="A", account="ACME", lines=())])
    assert str(told.value) == "lines: order A: an order needs a line"
    with pytest.raises(Refused) as told, desk.work() as uow:
        place_orders(uow, [NewOrder(external_id="A", account="NOBODY", lines=[room()])])
    assert [one.code for one in told.value.problems] == ["unknown_account"]


def test_orders_and_lines_have_data_of_their_own(desk: Desk):
    with desk.work() as uow:
        account = uow.ids_by("account", "external_id", ["ACME"])["ACME"]
    assert account
    desk.place(room("ACME-1", purchase_order="PO-2"), room("ACME-2"), purchase_order="PO-1")
    rows = desk.rows("SELECT purchase_order FROM order_line ORDER BY position")
    assert [row["purchase_order"] for row in rows] == ["PO-2", "PO-1"]
    assert refused(desk, room(custom={"x_rack": "7"})) == [(1, "lines.x_rack", "unknown_field")]


def test_the_order_date_is_the_day_where_the_account_is_billed(desk: Desk):
    desk.place(room())
    (row,) = desk.rows('SELECT order_date, accepted_on, placed_by FROM "order"')
    assert tuple(row.values()) == (TODAY, TODAY, "clerk")
    desk.place(room(), name="A-2", order_date=date(2024, 2, 1), accepted_on=date(2024, 2, 5))
    (row,) = desk.rows("""SELECT accepted_on FROM "order" WHERE external_id = 'A-2'""")
    assert row["accepted_on"] == date(2024, 2, 5)
