"""What one process does to accounts that others are busy with: amend, bill, correct, pay, use.

Business days pass while it works, a year and a half in all. Refusals are answers; an answer that
blames the others (a deadlock, a failed serialization) or any other exception is a fault.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pyarrow as pa

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.business.billing.arranging import merge_drafts, split_draft
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.credit_notes import (
    credit_invoice,
    debit_invoice,
    reissue_invoice,
    void_invoice,
)
from counterfoil.business.billing.drafts import refresh_drafts
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.one_off import OneOffLine, bill_one_off
from counterfoil.business.orders.commands import approve_orders, release_orders
from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.receivables.commands import (
    Credit,
    NewPayment,
    apply_credits,
    record_payment,
    refund_credit,
    unallocate_credit,
    write_off_document,
)
from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.business.usage.store import EVENT_SCHEMA, UsageStore, save_events
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

START, DAYS = date(2024, 1, 1), 540
BULK = 8
PLANS = ("rooms", "halls")

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Orders:
    """Where a process works, and for how many seconds."""

    url: str
    folder: str
    number: int
    seconds: float
    accounts: int


@dataclass(slots=True)
class Done:
    """What one process was answered: seconds by kind of work, refusals by their code, faults; and
    what must be found in the end: amendments, usage events, payments by their keys."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    amendments: dict[int, Decimal | None] = field(default_factory=dict)
    events: int = 0
    paid: dict[str, int] = field(default_factory=dict)


_STARTING: list[Barrier] = []


def begin_together(barrier: Barrier) -> None:
    """Tell a process what it waits at until all others have started, too."""
    _STARTING.append(barrier)


def work(orders: Orders) -> Done:
    """Do one thing after another until the time has come."""
    kinds = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]
    _STARTING[0].wait()
    rival = _Rival(orders)
    while time.time() < rival.until:
        rival.attempt(rival.chance.choice(kinds))
    return rival.done


class _Rival:
    """One process, with its own chances and connections."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.database = Database(orders.url, CATALOGUE, CHECKS)
        self.store = UsageStore(Path(orders.folder))
        self.chance = random.Random(orders.number)
        self.done = Done()
        self.orders_made = 0
        self.begin = time.time()
        self.until = self.begin + orders.seconds

    def attempt(self, kind: str) -> None:
        """One piece of work, with its time or why there was none."""
        begin = time.perf_counter()
        try:
            _KINDS[kind](self)
        except Refused as refused:
            problem = refused.problems[0]
            self.done.refused[f"{kind}: {problem.code}"] += 1
            if refused.status >= 500:
                self.done.faults.append(f"{kind}: {problem.code} {problem.message}")
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is told in the end
            self.done.faults.append(f"{kind}: {type(fault).__name__}: {fault}"[:1000])
        else:
            self.done.seconds.setdefault(kind, []).append(time.perf_counter() - begin)

    @property
    def today(self) -> date:
        """The business day it is for everybody."""
        passed = (time.time() - self.begin) / self.orders.seconds
        return START + timedelta(days=int(DAYS * min(passed, 1.0)))

    @property
    def now(self) -> datetime:
        """Noon of it."""
        return datetime(self.today.year, self.today.month, self.today.day, 12, tzinfo=UTC)

    def transact(self, action: Callable[[UnitOfWork], Answer]) -> Answer:
        """The action in a unit of work of its own."""
        return self.database.attempt(action, now=self.now)

    def account(self) -> int:
        """An account; ids begin with 1."""
        return self.chance.randrange(1, self.orders.accounts + 1)

    def some_id(self, uow: UnitOfWork, sql: str) -> int | None:
        """One of the newest rows of an account that a query finds."""
        rows = uow.query(f"{sql} ORDER BY id DESC LIMIT 8", account=self.account())
        return int(self.chance.choice(rows)["id"]) if rows else None

    def document(self, uow: UnitOfWork) -> int:
        """A final document that can be corrected; refused where there is none is an answer, too."""
        sql = "SELECT id FROM invoice WHERE account_id = :account AND state = 'final'"
        return self.some_id(uow, f"{sql} AND kind <> 'credit_note'") or 0

    def amount(self) -> Decimal:
        """Some cents or hundreds."""
        return Decimal(self.chance.randrange(1, 30_000)).scaleb(-2)


def _change(rival: _Rival, subscription: int) -> Change:
    kind = rival.chance.choice(
        ("change_quantity",) * 12
        + ("change_plan", "suspend", "resume") * 4
        + ("transfer", "transfer", "cancel")
    )
    chance = rival.chance
    plan = chance.choice(PLANS)
    return Change(
        subscription=subscription,
        kind=kind,
        day=rival.today + timedelta(days=chance.randrange(-40, 20)),
        rate_plan=plan if kind == "change_plan" else None,
        charge=plan if kind == "change_quantity" else None,
        quantity=Decimal(chance.randrange(1, 9)) if kind == "change_quantity" else None,
        account=f"A{rival.account()}" if kind == "transfer" else None,
        reason="as asked",
    )


_CHANGEABLE = "SELECT id FROM subscription WHERE external_id LIKE 'S%'"
_WITH_ROOMS = """
SELECT DISTINCT sc.subscription_id AS id FROM subscription_charge sc
JOIN charge c ON c.id = sc.charge_id WHERE c.external_id = 'rooms' AND sc.end_date IS NULL
"""


def _amend_with(rival: _Rival, find: str, count: int, make: Callable[[int], Change]) -> None:
    def amend(uow: UnitOfWork) -> list[tuple[int | None, Change]]:
        ids = [int(row["id"]) for row in uow.query(find)]
        chosen = rival.chance.sample(ids, min(count, len(ids)))
        changes = [make(one) for one in chosen]
        return list(zip(amend_subscriptions(uow, changes), changes, strict=True))

    made = rival.transact(amend)
    rival.done.amendments |= {one: change.quantity for one, change in made if one is not None}


def _amend(rival: _Rival) -> None:
    _amend_with(rival, _CHANGEABLE, 1, lambda one: _change(rival, one))


def _amend_many(rival: _Rival) -> None:
    """The same new number of rooms for several, from today on."""
    rooms = Decimal(rival.chance.randrange(1, 9))
    change = Change(subscription=0, kind="change_quantity", charge="rooms", quantity=rooms)
    _amend_with(rival, _WITH_ROOMS, BULK, lambda one: replace(change, subscription=one))


_RUNNING = """
SELECT s.external_id AS subscription, c.external_id AS charge FROM subscription s
JOIN subscription_charge sc ON sc.subscription_id = s.id
JOIN charge c ON c.id = sc.charge_id AND c.kind = 'recurring'
WHERE s.account_id = :account AND sc.end_date IS NULL ORDER BY s.id
"""


def _order(rival: _Rival) -> None:
    """A new subscription and another quantity of one there is, ordered and released at once."""
    account, seats = rival.account(), Decimal(rival.chance.randrange(1, 9))
    name = f"SO{rival.orders.number}-{rival.orders_made}"
    rival.orders_made += 1

    def order(uow: UnitOfWork) -> list[Record]:
        lines = [NewLine(rate_plan="rooms", subscription=name)]
        rows = uow.query(_RUNNING, account=account)
        if rows:
            found = rival.chance.choice(rows)
            lines.append(NewLine(kind="change_quantity", quantity=seats, **found))
        (placed,) = place_orders(
            uow, [NewOrder(external_id=name, account=f"A{account}", lines=lines)]
        )
        approve_orders(uow, [placed.id])
        release_orders(uow, [placed.id])
        return uow.query(
            "SELECT amendment_id FROM order_line WHERE order_id = :id AND amendment_id IS NOT NULL",
            id=placed.id,
        )

    rival.done.amendments |= {row["amendment_id"]: seats for row in rival.transact(order)}


def _bill(rival: _Rival) -> None:
    chance = rival.chance
    some = [rival.account() for _ in range(10)] if chance.random() < 0.7 else None
    summary = run_bills(
        rival.database,
        rival.store,
        rival.today - timedelta(days=chance.choice((0, 0, 0, 40))),
        now=rival.now,
        finalize=chance.random() < 0.6,
        accounts=None if some is None else sorted(set(some)),
    )
    bad = {code for _, code, _ in summary.problems} - {"open_draft"}
    if bad:
        rival.done.faults.append(f"bill: {bad}")


def _pay(rival: _Rival) -> None:
    account, number = rival.account(), rival.chance.randrange(40)
    key = f"A{account}-{number}"
    payment = NewPayment(account=f"A{account}", amount=rival.amount(), key=key)
    made = rival.transact(lambda uow: record_payment(uow, payment))
    rival.done.paid[key] = int(made["id"])


def _use(rival: _Rival) -> None:
    """A batch of ten events, for as many accounts, up to 50 days late."""

    def use(uow: UnitOfWork) -> None:
        key = f"{rival.orders.number}-{rival.done.events}"
        rows = uow.query("SELECT id FROM subscription WHERE external_id LIKE 'U%'")
        meter = uow.ids_by("meter", "external_id", ["units"])["units"]
        collector = uow.query("SELECT min(id) AS id FROM collector")[0]["id"]
        batch = uow.create("usage_batch", {"batch_key": key, "collector_id": collector})
        events = [
            {
                "source": "rivals",
                "event_id": f"{key}-{line}",
                "time": max(
                    rival.now.replace(tzinfo=None) - timedelta(days=rival.chance.randrange(50)),
                    datetime(START.year, START.month, START.day, 12),  # noqa: DTZ001 - UTC
                ),
                "subscription_id": rival.chance.choice(rows)["id"],
                "meter_id": meter,
                "quantity": Decimal(1),
                "batch_id": batch["id"],
                "line": line,
                "attributes": "{}",
            }
            for line in range(1, 11)
        ]
        table = pa.Table.from_pylist(events, EVENT_SCHEMA)
        save_events(uow, rival.store, table, int(batch["id"]))

    rival.transact(use)
    rival.done.events += 10


def _unpay(rival: _Rival) -> None:
    def unpay(uow: UnitOfWork) -> None:
        found = rival.some_id(uow, "SELECT id FROM payment WHERE account_id = :account")
        credit = Credit(payment=found or 0)
        unallocate_credit(uow, credit)
        refund_credit(uow, credit, rival.amount())

    rival.transact(unpay)


_ASKED = Request(reason="as asked")


def _by_hand(rival: _Rival, uow: UnitOfWork) -> None:
    line = OneOffLine(description="Work", unit_amount=rival.amount())
    request = Request(reason="as asked", finalize=rival.chance.random() < 0.7)
    bill_one_off(uow, f"A{rival.account()}", [line], request)


def _credit(rival: _Rival, uow: UnitOfWork) -> None:
    finalize = rival.chance.random() < 0.8
    request = Request(reason="as asked", finalize=finalize)
    note = credit_invoice(uow, rival.document(uow), request, amount=rival.amount())
    apply_credits(uow, [int(note["account_id"])])


def _arrange(rival: _Rival, uow: UnitOfWork) -> None:
    """All drafts of an account are merged, or its only one is split."""
    rows = uow.query(
        "SELECT account_id, array_agg(id ORDER BY id) AS ids FROM invoice WHERE state = 'draft' "
        "GROUP BY account_id"
    )
    for ids in [rival.chance.choice(rows)["ids"]] if rows else ():
        if len(ids) == 1:
            split_draft(uow, ids[0], [1])
        else:
            merge_drafts(uow, ids)


def _in_one(action: Callable[[_Rival, UnitOfWork], object]) -> Callable[[_Rival], object]:
    return lambda rival: rival.transact(lambda uow: action(rival, uow))


_KINDS: dict[str, Callable[[_Rival], object]] = {
    "amend": _amend,
    "amend many": _amend_many,
    "order": _order,
    "bill": _bill,
    "finalize": lambda rival: finalize_invoices(rival.database, now=rival.now),
    "refresh": lambda rival: refresh_drafts(
        rival.database, rival.store, now=rival.now, today=rival.today
    ),
    "credit": _in_one(_credit),
    "void": _in_one(lambda rival, uow: void_invoice(uow, rival.document(uow), _ASKED)),
    "reissue": _in_one(lambda rival, uow: reissue_invoice(uow, rival.document(uow), _ASKED)),
    "debit": _in_one(
        lambda rival, uow: debit_invoice(uow, rival.document(uow), _ASKED, amount=rival.amount())
    ),
    "one-off": _in_one(_by_hand),
    "pay": _pay,
    "unpay": _unpay,
    "write off": _in_one(lambda rival, uow: write_off_document(uow, rival.document(uow), "lost")),
    "apply": _in_one(lambda _rival, uow: apply_credits(uow)),
    "use": _use,
    "arrange": _in_one(_arrange),
}
_WEIGHTS = {
    "amend": 28,
    "amend many": 6,
    "order": 6,
    "bill": 14,
    "finalize": 5,
    "refresh": 5,
    "credit": 9,
    "void": 4,
    "reissue": 4,
    "debit": 3,
    "one-off": 4,
    "pay": 15,
    "unpay": 4,
    "write off": 2,
    "apply": 3,
    "use": 8,
    "arrange": 4,
}
