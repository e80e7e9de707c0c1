"""Orders are approved, released, provisioned and billed line by line."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.orders.conftest import APR, FEB, MAR, MAY, TODAY, Desk, money, room

from counterfoil.business.orders.commands import (
    approve_orders,
    cancel_orders,
    find_orders,
    release_orders,
    submit_orders,
)
from counterfoil.business.orders.notation import NewLine
from counterfoil.business.orders.queries import list_tasks, show_order
from counterfoil.business.orders.tasks import complete_tasks, retry_orders, skip_tasks
from counterfoil.core.problems import Refused


def refusal(desk: Desk, act: object, *ids: int, **more: object) -> str:
    """The code of what is refused; nothing is changed by it."""
    before = desk.everything()
    with pytest.raises(Refused) as told, desk.work() as uow:
        act(uow, list(ids), **more)  # type: ignore[operator]
    assert desk.everything() == before
    return told.value.problems[0].code


def test_the_path_of_an_order(desk: Desk):
    order = desk.place(room("ACME-1"), draft=True).id
    assert refusal(desk, approve_orders, order) == "wrong_status"
    with desk.work() as uow:
        assert submit_orders(uow, [order])[0].status == "submitted"
    assert refusal(desk, release_orders, order) == "wrong_status"
    with desk.work() as uow:
        assert approve_orders(uow, [order], comment="fine")[0].status == "approved"
        assert release_orders(uow, [order])[0].status == "completed"
        assert release_orders(uow, [order])[0].status == "completed"
    assert refusal(desk, cancel_orders, order, reason="late") == "wrong_status"
    (row,) = desk.rows('SELECT approved_by, comment FROM "order"')
    assert tuple(row.values()) == ("clerk", "fine")


def test_orders_up_to_the_limit_of_their_currency_need_no_approval(desk: Desk):
    with desk.work() as uow:
        uow.create("order_limit", {"currency": "USD", "amount": "1000"})
    statuses = [
        desk.place(room(), name=f"A-{n}", amount=amount).status
        for n, amount in enumerate((Decimal(1000), Decimal("1000.01"), None))
    ]
    assert statuses == ["approved", "submitted", "submitted"]
    placed = desk.place(room(), name="D", amount=Decimal(5), draft=True)
    assert placed.status == "draft"
    with desk.work() as uow:
        assert submit_orders(uow, [placed.id])[0].status == "approved"


def test_a_half_provisioned_order_bills_exactly_what_is_activated(desk: Desk):
    desk.step("Install")
    desk.step("Test", position=2)
    progress = desk.released(room("ACME-1", effective_date=MAR), room("ACME-2", effective_date=MAR))
    assert (progress.status, progress.lines) == ("in_progress", {"provisioning": 2})
    assert desk.billed(APR) == []
    desk.done(lines=[1], on=date(2024, 3, 5))
    assert desk.billed(APR) == []
    assert desk.done(lines=[1], on=date(2024, 3, 8)).lines == {"activated": 1, "provisioning": 1}
    assert desk.lines() == [
        (1, "activated", date(2024, 3, 8), date(2024, 3, 8)),
        (2, "provisioning", None, None),
    ]
    assert desk.billed(APR) == [
        ("Managed room", date(2024, 3, 8), APR, money("240.00")),
        ("Managed room", APR, MAY, money("310.00")),
    ]
    desk.done(lines=[2])
    assert desk.done(lines=[2]).status == "completed"
    assert desk.billed(APR) == [
        ("Managed room", TODAY, APR, money("220.00")),
        ("Managed room", APR, MAY, money("310.00")),
    ]
    assert desk.billed(APR) == []


def test_billing_starts_by_the_rule_of_the_line(desk: Desk):
    desk.step("Install")
    desk.released(
        room(billing_start="on_activation", effective_date=date(2024, 3, 21)),
        room(billing_start="on_acceptance", effective_date=date(2024, 3, 21)),
        room(billing_start="on_provisioning_done", effective_date=date(2024, 3, 21)),
        room(billing_start="on_date", billing_date=date(2024, 3, 31)),
        order_date=FEB,
        accepted_on=date(2024, 2, 29),
    )
    desk.done(on=date(2024, 3, 7))
    assert desk.lines() == [
        (1, "activated", date(2024, 3, 21), date(2024, 3, 21)),
        (2, "activated", date(2024, 2, 29), date(2024, 2, 29)),
        (3, "activated", date(2024, 3, 7), date(2024, 3, 7)),
        (4, "activated", date(2024, 3, 7), date(2024, 3, 31)),
    ]
    billed = [line for line in desk.billed(APR) if line[1] < APR]  # type: ignore[operator]
    assert [(line[1], line[3]) for line in billed] == [
        (date(2024, 2, 29), money("10.69")),
        (MAR, money("310.00")),
        (date(2024, 3, 7), money("250.00")),
        (date(2024, 3, 21), money("110.00")),
        (date(2024, 3, 31), money("10.00")),
    ]


def test_tasks_are_done_in_order_and_side_by_side(desk: Desk):
    desk.step("Survey")
    desk.step("Order circuit", position=2)
    desk.step("Order router", position=2)
    desk.step("Test", position=3)
    desk.released(room("ACME-1"))
    assert set(desk.states().items()) == {
        ("Survey", "open"),
        ("Order circuit", "waiting"),
        ("Order router", "waiting"),
        ("Test", "waiting"),
    }
    with desk.work() as uow:
        test = next(row["id"] for row in list_tasks(uow, everything=True) if row["name"] == "Test")
    assert refusal(desk, complete_tasks, test) == "wrong_state"
    assert refusal(desk, complete_tasks, 999) == "unknown_task"
    desk.done(name="Survey")
    desk.done(name="Order router")
    assert desk.states()["Test"] == "waiting"
    with desk.work() as uow:
        circuit = next(row["id"] for row in list_tasks(uow) if row["name"] == "Order circuit")
    assert refusal(desk, skip_tasks, circuit, reason=" ") == "required"
    assert refusal(desk, complete_tasks, circuit, on=date(2024, 3, 11)) == "in_future"
    with desk.work() as uow:
        skip_tasks(uow, [circuit], reason="the customer's own")
    assert desk.states()["Test"] == "open"
    assert desk.done().status == "completed"
    (row,) = desk.rows("SELECT note, done_by FROM provisioning_task WHERE state = 'skipped'")
    assert tuple(row.values()) == ("the customer's own", "clerk")


def test_a_wait_is_over_so_many_days_after_the_effective_date(desk: Desk):
    desk.step("Survey")
    desk.step("Cooling off", position=2, kind="wait", days=14)
    desk.released(
        room(effective_date=date(2024, 2, 1)),
        room(effective_date=date(2024, 3, 1)),
        room(),
    )
    desk.done(lines=[1, 2, 3])
    assert desk.lines() == [
        (1, "activated", TODAY, TODAY),
        (2, "provisioning", None, None),
        (3, "provisioning", None, None),
    ]
    rows = desk.rows("SELECT due_on FROM provisioning_task WHERE state = 'open' ORDER BY id")
    assert [row["due_on"] for row in rows] == [date(2024, 3, 15), date(2024, 3, 24)]
    desk.now = datetime(2024, 3, 20, tzinfo=UTC)
    with desk.work() as uow:
        retry_orders(uow, find_orders(uow, ["A-1"]))
    assert desk.lines()[1] == (2, "activated", date(2024, 3, 15), date(2024, 3, 15))


def test_only_the_steps_for_a_kind_of_line_of_its_plan_or_product_are_made(desk: Desk):
    desk.step("Install", plan="rooms")
    desk.step("Remove", line_kind="cancel")
    desk.step("Gone", retired=True)
    desk.step("Old", plan="trunk")
    desk.released(room("ACME-1", subscription="S"), NewLine(rate_plan="large"))
    assert desk.states() == {"Install": "open"}
    assert desk.lines()[1] == (2, "activated", TODAY, TODAY)
    desk.done()
    desk.released(NewLine(kind="cancel", subscription="S", effective_date=APR), name="A-2")
    assert desk.states() == {"Install": "done", "Remove": "open"}
    assert desk.done("A-2").status == "completed"
    (row,) = desk.rows("SELECT end_date FROM subscription WHERE external_id = 'S'")
    assert row["end_date"] == APR


def test_lines_change_what_is_there(desk: Desk):
    desk.released(
        *(
            room(f"ACME-{n}", subscription=f"S{n}", effective_date=FEB, identifiers=(f"T{n}",))
            for n in range(1, 8)
        ),
        term_months=12,
    )
    day = {"effective_date": APR}
    progress = desk.released(
        NewLine(kind="change_plan", subscription="S1", rate_plan="large", **day),  # type: ignore[arg-type]
        NewLine(kind="change_quantity", subscription="S2", charge="room", quantity=Decimal(3)),
        NewLine(kind="suspend", subscription="S3", **day),  # type: ignore[arg-type]
        NewLine(kind="transfer", subscription="S4", site="ACME-9", successor="S4b", **day),  # type: ignore[arg-type]
        NewLine(kind="renew", subscription="S5", term_months=24),
        NewLine(kind="cancel", subscription="S6", **day),  # type: ignore[arg-type]
        NewLine(kind="change_price", subscription="S7", charge="room", amount=Decimal(300)),
        NewLine(
            kind="change_quantity",
            subscription="S7",
            charge="room",
            quantity=Decimal(2),
            **day,  # type: ignore[arg-type]
        ),
        name="A-2",
    )
    assert progress.status == "completed"
    rows = desk.rows(
        "SELECT s.external_id AS name, a.kind, a.effective_date, a.reason FROM amendment a"
        " JOIN subscription s ON s.id = a.subscription_id ORDER BY 1, a.id"
    )
    assert [tuple(row.values())[:3] for row in rows] == [
        ("S1", "change_plan", APR),
        ("S2", "change_quantity", TODAY),
        ("S3", "suspend", APR),
        ("S4", "transfer", APR),
        ("S5", "renew", date(2025, 2, 1)),
        ("S6", "cancel", APR),
        ("S7", "change_price", TODAY),
        ("S7", "change_quantity", APR),
    ]
    (order,) = desk.rows("SELECT number FROM \"order\" WHERE external_id = 'A-2'")
    assert rows[0]["reason"] == f"order {order['number']}, line 1"
    ends = desk.rows(
        "SELECT external_id AS name, term_end, end_date FROM subscription"
        " WHERE external_id IN ('S4', 'S4b', 'S5') ORDER BY 1"
    )
    assert [tuple(row.values()) for row in ends] == [
        ("S4", date(2025, 2, 1), APR),
        ("S4b", date(2025, 2, 1), None),
        ("S5", date(2027, 2, 1), None),
    ]


def test_agreed_prices_hold_for_the_subscription_only(desk: Desk):
    desk.released(
        NewLine(
            rate_plan="trunk",
            quantities={"line": Decimal(10)},
            prices={"line": Decimal("25.00")},
            effective_date=MAR,
        ),
        NewLine(rate_plan="trunk", effective_date=MAR),
    )
    assert [line[3] for line in desk.billed(MAR)] == [
        money("31.00"),
        money("99.00"),
        money("99.00"),
        money("250.00"),
    ]


def test_an_agreed_price_ends_where_another_one_is_agreed(desk: Desk):
    def plan(name: str, day: date, price: str | None) -> NewLine:
        prices = {} if price is None else {"room": Decimal(price)}
        return NewLine(
            kind="change_plan",
            subscription="BACK",
            rate_plan=name,
            effective_date=day,
            prices=prices,
        )

    agreed = {"room": Decimal(279)}
    desk.released(room("ACME-1", subscription="BACK", prices=agreed, effective_date=FEB))
    desk.released(plan("large", MAR, None), name="A-2")
    desk.released(plan("rooms", APR, "248.00"), name="A-3")
    prices = desk.rows(
        "SELECT p.valid_from, p.valid_to, t.unit_amount FROM price p"
        " JOIN price_tier t ON t.price_id = p.id"
        " WHERE p.subscription_external_id = 'BACK' ORDER BY p.id"
    )
    assert [tuple(row.values()) for row in prices] == [(None, APR, 279), (APR, None, 248)]
    assert [line[3] for line in desk.billed(APR)] == [
        money("279.00"),
        money("620.00"),
        money("248"),
    ]
    desk.released(plan("large", MAY, None), name="A-4")
    with desk.work() as uow:
        uow.execute("UPDATE price SET valid_from = '2024-06-01' WHERE valid_from = '2024-04-01'")
    with pytest.raises(Refused, match="BACK has a price from 2024-06-01 already") as refused:
        desk.place(room("ACME-2"), plan("rooms", date(2024, 5, 15), "1.00"), name="A-5")
    (problem,) = refused.value.problems
    assert (problem.line, problem.field) == (2, "lines.effective_date")


def test_a_line_that_cannot_be_activated_any_more_fails_alone(desk: Desk):
    desk.step("Install")
    desk.released(room("ACME-1", subscription="S"), room("ACME-2"))
    desk.released(NewLine(rate_plan="trunk", subscription="T"), name="B")
    with desk.work() as uow:
        uow.execute("UPDATE order_line SET subscription_external_id = 'T' WHERE position = 1")
    progress = desk.done()
    assert progress.lines == {"activated": 1, "failed": 1}
    assert progress.problems == ["line 1: subscription: there is a subscription 'T' already"]
    with desk.work() as uow:
        uow.execute("UPDATE order_line SET subscription_external_id = 'U' WHERE status = 'failed'")
        again = retry_orders(uow, find_orders(uow, ["A-1"]))[0]
    assert (again.status, again.problems) == ("completed", [])


def test_what_is_not_activated_can_be_cancelled(desk: Desk):
    desk.step("Install")
    desk.released(room("ACME-1"), room("ACME-2"), room("ACME-3"))
    desk.done(lines=[1])
    with desk.work() as uow:
        ids = find_orders(uow, ["A-1"])
        assert cancel_orders(uow, ids, reason="wrong", positions=[2])[0].lines == {
            "activated": 1,
            "cancelled": 1,
            "provisioning": 1,
        }
    assert refusal(desk, cancel_orders, ids[0], reason="x", positions=[1]) == "unknown_line"
    assert refusal(desk, cancel_orders, ids[0], reason="") == "required"
    with desk.work() as uow:
        assert cancel_orders(uow, ids, reason="moved")[0].status == "completed"
    assert desk.rows("SELECT count(*) AS n FROM subscription") == [{"n": 1}]
    desk.place(room(), name="B")
    with desk.work() as uow:
        assert cancel_orders(uow, find_orders(uow, ["B"]), reason="no")[0].status == "cancelled"


def test_lines_are_shown_by_site_region_and_country(desk: Desk):
    desk.step("Install")
    lines = [room(f"ACME-{n % 12 + 1}", subscription=f"R{n}") for n in range(40)]
    desk.released(*lines, NewLine(rate_plan="trunk"))
    desk.done(lines=[1])
    with desk.work() as uow:
        (found,) = find_orders(uow, ["A-1"])
        shown = show_order(uow, found)
        assert find_orders(uow, [shown.order["number"]]) == [found]
    assert shown.order["lines"] == 41
    countries = {one.country: (one.lines, one.by_status) for one in shown.groups["country"]}
    assert countries == {
        "DE": (10, {"provisioning": 10}),
        "FR": (10, {"provisioning": 10}),
        "US": (20, {"activated": 1, "provisioning": 19}),
        "none": (1, {"activated": 1}),
    }
    assert [(g.country, g.region, g.lines) for g in shown.groups["region"]] == [
        ("DE", "BE", 10),
        ("FR", "IDF", 10),
        ("US", "CA", 10),
        ("US", "NY", 10),
        ("none", "none", 1),
    ]
    assert len(shown.groups["site"]) == 13
    assert shown.groups["site"][0].positions == [11, 23, 35]


def test_what_changes_before_billing_starts_is_billed_from_there(desk: Desk):
    desk.released(
        *(
            room(subscription=name, billing_start="on_date", billing_date=APR)
            for name in ("S1", "S2", "S3")
        )
    )
    quantity = NewLine(
        kind="change_quantity", subscription="S2", charge="room", quantity=Decimal(2)
    )
    desk.released(
        NewLine(kind="change_plan", subscription="S1", rate_plan="large"),
        quantity,
        NewLine(
            kind="transfer",
            subscription="S3",
            site="ACME-2",
            successor="S4",
            effective_date=date(2024, 3, 20),
        ),
        name="A-2",
    )
    assert desk.billed(APR) == [
        ("Managed room", APR, MAY, money("310.00")),
        ("Large room", APR, MAY, money("620.00")),
        ("Managed room", APR, MAY, money("620.00")),
    ]


def test_renewals_rise_and_early_ends_cost_as_the_lines_say(desk: Desk):
    desk.released(
        room(subscription="S1", effective_date=MAR, term_months=12, uplift_percent=Decimal(10)),
        room(subscription="S2", effective_date=MAR, term_months=12),
    )
    desk.released(
        NewLine(kind="renew", subscription="S1", term_months=12),
        NewLine(
            kind="cancel",
            subscription="S2",
            rate_plan="fee",
            fee_percent=Decimal(50),
            effective_date=APR,
        ),
        name="A-2",
    )
    rows = desk.rows(
        "SELECT kind, effective_date, until, amount FROM amendment ORDER BY subscription_id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("renew", date(2025, 3, 1), date(2026, 3, 1), None),
        ("cancel", APR, None, money("1705")),
    ]
    raised = desk.rows(
        "SELECT t.unit_amount FROM price p JOIN price_tier t ON t.price_id = p.id"
        " WHERE p.subscription_external_id = 'S1'"
    )
    assert raised == [{"unit_amount": money("341")}]
