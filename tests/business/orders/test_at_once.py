"""The same orders in many hands at once; and many lines with as many statements as few."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from tests.business.automation.conftest import SECRET, Receiver
from tests.business.orders.conftest import TODAY, Desk, room

from counterfoil.bootstrap import open_worker
from counterfoil.business.orders import activation
from counterfoil.business.orders.commands import (
    Progress,
    approve_orders,
    cancel_orders,
    find_orders,
    release_orders,
)
from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.orders.tasks import complete_tasks
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.commands import Activation, activate_subscriptions
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.working import Worker
from counterfoil.platform.records.refusals import TRY_AGAIN
from counterfoil.platform.records.unit_of_work import UnitOfWork

HANDS = 8

CALLS = """
rate_plans:
  - id: calls
    product: lines
    name: Calls
    charges:
      - {id: second, name: Calls, kind: usage, meter: seconds,
         prices: [{currency: USD, model: per_unit, amount: 0.01}]}
"""


def at_once(desk: Desk, act: Callable[[UnitOfWork, int], object]) -> list[str]:
    """Several do something in transactions of their own; what each was refused for, or ''."""

    def work(number: int) -> str:
        try:
            with desk.database.transaction(now=desk.now, actor=f"clerk {number}") as uow:
                act(uow, number)
        except Refused as refused:
            return refused.problems[0].code
        return ""

    with ThreadPoolExecutor(HANDS) as hands:
        return list(hands.map(work, range(HANDS)))


def test_an_order_that_many_place_at_once_is_placed_once(desk: Desk):
    order = NewOrder(external_id="A-1", account="ACME", lines=[room("ACME-1"), room("ACME-2")])
    assert at_once(desk, lambda uow, _: place_orders(uow, [order])) == [""] * HANDS
    rows = desk.rows(
        'SELECT (SELECT count(*) FROM "order") AS orders,'
        " (SELECT count(*) FROM order_line) AS lines"
    )
    assert rows == [{"orders": 1, "lines": 2}]


def test_who_places_an_order_waits_for_nobody_who_places_another(desk: Desk):
    with desk.work() as first, desk.work() as second:
        second.execute("SET LOCAL lock_timeout = '5s'")
        placed = [
            place_orders(uow, [NewOrder(external_id=name, account="ACME", lines=[room(site)])])
            for uow, name, site in ((first, "A-1", "ACME-1"), (second, "A-2", "ACME-2"))
        ]
    assert [one.created for (one,) in placed] == [True, True]
    assert desk.rows('SELECT count(DISTINCT number) AS n FROM "order"') == [{"n": 2}]


def test_who_begins_service_under_an_identifier_waits_for_who_does_so_too(desk: Desk):
    book, _ = parse_price_book(CALLS, "calls.yaml")
    with desk.work() as uow:
        save_price_book(uow, book)

    def begin(uow: UnitOfWork, name: str) -> None:
        uow.execute("SET LOCAL lock_timeout = '200ms'")
        one = Activation(
            external_id=name,
            account="ACME",
            rate_plan="calls",
            start_date=TODAY,
            identifiers=("0049 30 1",),
        )
        activate_subscriptions(uow, [one])

    with desk.work() as first:
        begin(first, "S-1")
        with pytest.raises(OperationalError, match="lock timeout"), desk.work() as second:
            begin(second, "S-2")
    with pytest.raises(Refused) as refused, desk.work() as third:
        begin(third, "S-3")
    assert refused.value.problems[0].code == "identifier_taken"
    assert desk.rows("SELECT external_id AS name FROM subscription") == [{"name": "S-1"}]


def test_many_orders_in_one_call_take_few_locks(desk: Desk):
    orders = [
        NewOrder(external_id=f"B-{n}", account="NOBODY", lines=[room("ACME-1")])
        for n in range(2000)
    ]
    with desk.work() as uow:
        with pytest.raises(Refused):
            place_orders(uow, orders)
        (held,) = uow.query(
            "SELECT count(*) AS n FROM pg_locks"
            " WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
    assert held["n"] <= 256


def test_an_order_that_many_release_at_once_is_provisioned_once(desk: Desk):
    desk.step("Install")
    order = desk.place(*(room(f"ACME-{n}") for n in range(1, 5)), NewLine(rate_plan="trunk")).id
    with desk.work() as uow:
        approve_orders(uow, [order])
    assert at_once(desk, lambda uow, _: release_orders(uow, [order])) == [""] * HANDS
    assert desk.rows("SELECT count(*) AS n FROM provisioning_task") == [{"n": 4}]
    assert desk.rows("SELECT count(*) AS n FROM subscription") == [{"n": 1}]


def test_tasks_that_many_finish_at_once_activate_each_line_once(desk: Desk):
    desk.step("Install")
    desk.step("Test")
    desk.released(*(room(f"ACME-{n}") for n in range(1, 5)))
    ids = [row["id"] for row in desk.rows("SELECT id FROM provisioning_task ORDER BY id")]
    told = at_once(desk, lambda uow, n: complete_tasks(uow, [ids[n]]))
    assert told == [""] * HANDS
    assert {line[1] for line in desk.lines()} == {"activated"}
    assert desk.rows("SELECT count(*) AS n FROM subscription") == [{"n": 4}]
    assert desk.rows('SELECT status FROM "order"') == [{"status": "completed"}]


def test_a_line_is_activated_or_cancelled_never_both(desk: Desk):
    desk.step("Install")
    desk.released(room("ACME-1"), room("ACME-2"))
    (order,) = (row["id"] for row in desk.rows('SELECT id FROM "order"'))
    ids = [row["id"] for row in desk.rows("SELECT id FROM provisioning_task ORDER BY id")]

    def act(uow: UnitOfWork, number: int) -> object:
        if number % 2:
            return complete_tasks(uow, ids)
        return cancel_orders(uow, [order], reason="late")

    told = at_once(desk, act)
    assert set(told) <= {"", "wrong_state", "wrong_status"}
    statuses = {line[1] for line in desk.lines()}
    made = desk.rows("SELECT count(*) AS n FROM subscription")[0]["n"]
    assert (statuses, made) in (({"activated"}, 2), ({"cancelled"}, 0))


def test_many_workers_call_an_outside_system_once(desk: Desk, receiver: Receiver):
    desk.step("Port", kind="webhook", url=receiver.url, secret=SECRET)
    desk.released(*(room(f"ACME-{n}") for n in range(1, 5)))
    handlers = open_worker(desk.organisation).handlers
    later = desk.now + timedelta(seconds=1)
    with ThreadPoolExecutor(4) as hands:
        list(hands.map(lambda _: Worker(desk.database, handlers, lambda: later).run_due(), "1234"))
    assert len(receiver.received) == len(set(receiver.ids())) == 4
    assert desk.rows('SELECT status FROM "order"') == [{"status": "completed"}]


def statements(desk: Desk, name: str, lines: int) -> int:
    """How many statements an order takes from being placed to its last line's activation."""
    counted: list[str] = []

    def count(*arguments: object) -> None:
        counted.append(str(arguments[2]))

    event.listen(Engine, "before_cursor_execute", count)
    try:
        asked = [
            room(
                f"ACME-{n % 12 + 1}", prices={"room": Decimal(300)}, quantities={"room": Decimal(n)}
            )
            for n in range(1, lines + 1)
        ]
        desk.released(*asked, name=name, term_months=12)
        desk.done(name)
        desk.released(
            *(NewLine(kind="suspend", subscription=f"{name}-{n}") for n in range(1, lines + 1)),
            name=f"{name}-2",
        )
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return len(counted)


def test_forty_lines_over_twelve_sites_take_as_many_statements_as_two(desk: Desk):
    desk.step("Install")
    desk.step("Test", position=2, kind="wait", days=0)
    few, many = statements(desk, "few", 2), statements(desk, "many", 40)
    assert many == few
    with desk.work() as uow:
        assert find_orders(uow, ["many"])
    assert desk.rows("SELECT count(*) AS n FROM subscription") == [{"n": 42}]


def test_a_line_that_met_a_deadlock_is_activated_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = desk.place(room())
    deadlocks = [Refused(Problem(TRY_AGAIN, "others changed the same records"), 503)]
    activate = activation.activate_subscriptions

    def sometimes(uow: UnitOfWork, activations: Sequence[Activation]) -> list[int]:
        if deadlocks:
            raise deadlocks.pop()
        return activate(uow, activations)

    monkeypatch.setattr(activation, "activate_subscriptions", sometimes)

    def release(uow: UnitOfWork) -> list[Progress]:
        approve_orders(uow, [placed.id])
        return release_orders(uow, [placed.id])

    (progress,) = desk.database.attempt(release, now=desk.now)
    assert (progress.status, progress.problems) == ("completed", [])
