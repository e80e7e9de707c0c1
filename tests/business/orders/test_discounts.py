"""Agreed prices of orders are discounts: who may not give them does not approve them."""

from datetime import date
from decimal import Decimal

import pytest
from tests.business.orders.conftest import APR, FEB, MAR, MAY, Desk, room

from counterfoil.business.orders.commands import approve_orders, submit_orders
from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.placing import Placed, place_orders
from counterfoil.core.problems import Refused

AGREED = {"room": Decimal("248.00")}  # 310.00 in the list: 20 percent less


def place(desk: Desk, *lines: NewLine, actor: str = "sally", **more: object) -> Placed:
    order = NewOrder(external_id="D-1", account="ACME", lines=lines, **more)  # type: ignore[arg-type]
    with desk.work(actor) as uow:
        return place_orders(uow, [order])[0]


def approve(desk: Desk, order: Placed, actor: str) -> str:
    with desk.work(actor) as uow:
        return approve_orders(uow, [order.id])[0].status


def limit_of_amount(desk: Desk) -> None:
    with desk.work() as uow:
        uow.create("order_limit", {"currency": "USD", "amount": Decimal(5000)})


def test_an_agreed_price_is_approved_by_somebody_who_may_give_it(desk: Desk) -> None:
    limit_of_amount(desk)
    placed = place(desk, room("ACME-1"), room("ACME-2", prices=AGREED), amount=Decimal(100))
    assert placed.status == "submitted", "the amount needs no approval, the price does"
    told = desk.rows('SELECT discount_percent AS p, approved_at FROM "order"')[0]
    assert (told["p"], told["approved_at"]) == (20, None)
    lines = desk.rows("SELECT discount_percent AS p FROM order_line ORDER BY position")
    assert [row["p"] for row in lines] == [0, 20]
    for actor in ("sally", "nobody"):
        with pytest.raises(Refused, match="a discount of 20 percent has to be approved") as refused:
            approve(desk, placed, actor)
        assert (refused.value.problems[0].code, refused.value.status) == ("discount_too_high", 403)
    assert desk.rows('SELECT status FROM "order"') == [{"status": "submitted"}]
    assert approve(desk, placed, "boss") == "approved"


def test_within_both_limits_nobody_is_asked(desk: Desk) -> None:
    limit_of_amount(desk)
    line = room("ACME-1", prices={"room": Decimal("279.00")})
    assert place(desk, line, amount=Decimal(100)).status == "approved"
    (order,) = desk.rows('SELECT discount_percent, approved_by, approved_at FROM "order"')
    assert order == {"discount_percent": 10, "approved_by": "limit", "approved_at": desk.now}


def test_a_draft_is_held_against_the_limit_of_who_submits_it(desk: Desk) -> None:
    limit_of_amount(desk)
    placed = place(desk, room("ACME-1", prices=AGREED), amount=Decimal(100), draft=True)
    assert placed.status == "draft"
    with desk.work("sally") as uow:
        assert submit_orders(uow, [placed.id])[0].status == "submitted"
        uow.execute("UPDATE \"order\" SET status = 'draft'")
    with desk.work("boss") as uow:
        assert submit_orders(uow, [placed.id])[0].status == "approved"


def test_prices_of_running_subscriptions_count_once_for_every_time_they_are_set(
    desk: Desk,
) -> None:
    desk.released(room("ACME-1", subscription="RUN", effective_date=FEB), name="A-0")

    def change(kind: str, day: date, **more: object) -> NewLine:
        return NewLine(kind=kind, subscription="RUN", effective_date=day, **more)  # type: ignore[arg-type]

    half = {"large-room": Decimal(310)}
    placed = place(
        desk,
        change("change_quantity", MAR, charge="room", quantity=Decimal(2)),
        change("change_price", APR, charge="room", amount=Decimal("217.00")),
        change("change_plan", MAY, rate_plan="large", prices=half),
        change("change_plan", date(2024, 6, 1), rate_plan="rooms"),
    )
    lines = desk.rows(
        "SELECT discount_percent AS p FROM order_line WHERE order_id = :id ORDER BY position",
        id=placed.id,
    )
    assert [row["p"] for row in lines] == [0, 30, 50, 0]
    with pytest.raises(Refused, match="of 50 percent"):
        approve(desk, placed, "boss")
