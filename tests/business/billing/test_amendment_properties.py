"""Any legal sequence of amendments: every service day is billed once, or lawfully not at all.

The model is a calendar: which account owes which charge on which day, and in which quantity.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.business.billing.conftest import Company

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record

START, DAY = date(2024, 1, 1), timedelta(days=1)
HORIZON = date(2027, 6, 1)
PLANS = ("advance", "arrears", "other")
BOOK = "products: [{id: p, name: P}]\nrate_plans:\n" + "".join(
    f"""  - id: {plan}
    product: p
    name: {plan}
    charges:
      - {{id: c-{plan}, name: {plan}, kind: recurring, timing: {timing}, alignment: {alignment},
         prices: [{{currency: USD, model: per_unit, amount: {amount}}}]}}
"""
    for plan, timing, alignment, amount in (
        ("advance", "in_advance", "calendar", "31.10"),
        ("arrears", "in_arrears", "calendar", "47.77"),
        ("other", "in_advance", "anniversary", "99.99"),
    )
)


@dataclass
class Agreed:
    """A subscription as the model knows it: (plan, quantity) of each day, None: nothing."""

    name: str
    account: str
    days: dict[date, tuple[str, Decimal] | None]
    last_change: date
    suspended: tuple[str, Decimal] | None = None
    changes: int = 0
    over: bool = False

    def state(self, day: date) -> tuple[str, Decimal] | None:
        """What is owed for the day."""
        return self.days.get(day)

    def set_from(self, day: date, state: tuple[str, Decimal] | None) -> None:
        """The state from a day on."""
        while day < HORIZON:
            self.days[day] = state
            day += DAY


class Amendments(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, server: Settings) -> None:
        super().__init__()
        self.scratch = scratch_organisation(server)
        self.company = Company(self.scratch.__enter__())
        self.today = START
        self.agreed: list[Agreed] = []
        self.final: dict[int, str] = {}

    def teardown(self) -> None:
        self.scratch.__exit__(None, None, None)

    @initialize()
    def begin(self) -> None:
        """Two accounts, the second with its own cycle day, and a subscription of each plan."""
        self.company.load_prices(BOOK)
        self.company.open_account("A")
        self.company.open_account("B", cycle_day=31)
        for number, plan in enumerate(PLANS):
            name, account = f"S{number}", "AB"[number % 2]
            self.company.subscribe(name, account, plan, START)
            made = Agreed(name, account, {}, START)
            made.set_from(START, (plan, Decimal(1)))
            self.agreed.append(made)

    def _amend(self, agreed: Agreed, kind: str, day: date, **more: object) -> None:
        with self.company.database.transaction(now=self.company.now) as uow:
            ids = uow.ids_by("subscription", "external_id", [agreed.name])
            change = Change(subscription=ids[agreed.name], kind=kind, day=day, **more)
            amend_subscriptions(uow, [change])
        agreed.last_change = day

    def _draw(
        self, data: st.DataObject, legal: Callable[[Agreed], bool]
    ) -> tuple[Agreed, date] | None:
        """A subscription to which something may happen, and a day around today."""
        chosen = [each for each in self.agreed if not each.over and legal(each)]
        if not chosen:
            return None
        agreed = data.draw(st.sampled_from(chosen))
        day = self.today + data.draw(st.integers(-35, 15)) * DAY
        return agreed, max(day, agreed.last_change + DAY)

    @rule(data=st.data(), plan=st.sampled_from(PLANS), quantity=st.sampled_from([1, 2]))
    def change_plan(self, data: st.DataObject, plan: str, quantity: int) -> None:
        found = self._draw(data, lambda each: each.suspended is None)
        if found is None or (found[0].state(found[1]) or (plan,))[0] == plan:
            return
        agreed, day = found
        number = Decimal(quantity)
        self._amend(agreed, "change_plan", day, rate_plan=plan, quantities={f"c-{plan}": number})
        agreed.set_from(day, (plan, number))

    @rule(data=st.data(), quantity=st.sampled_from([0, 1, 3]))
    def change_quantity(self, data: st.DataObject, quantity: int) -> None:
        found = self._draw(data, lambda each: each.suspended is None)
        if found is None:
            return
        agreed, day = found
        plan, _ = agreed.state(day) or ("", None)
        number = Decimal(quantity)
        self._amend(agreed, "change_quantity", day, charge=f"c-{plan}", quantity=number)
        agreed.set_from(day, (plan, number))

    @rule(data=st.data())
    def suspend(self, data: st.DataObject) -> None:
        found = self._draw(data, lambda each: each.suspended is None)
        if found is None:
            return
        agreed, day = found
        self._amend(agreed, "suspend", day)
        agreed.suspended = agreed.state(day)
        agreed.set_from(day, None)
        with pytest.raises(Refused):
            self._amend(agreed, "suspend", day)

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        found = self._draw(data, lambda each: each.suspended is not None)
        if found is None:
            return
        agreed, day = found
        self._amend(agreed, "resume", day)
        agreed.set_from(day, agreed.suspended)
        agreed.suspended = None

    @rule(data=st.data())
    def transfer(self, data: st.DataObject) -> None:
        found = self._draw(data, lambda each: each.suspended is None)
        if found is None:
            return
        agreed, day = found
        other = "B" if agreed.account == "A" else "A"
        successor = f"T{len(self.agreed)}"
        self._amend(agreed, "transfer", day, account=other, successor=successor)
        made = Agreed(successor, other, {}, day)
        made.set_from(day, agreed.state(day))
        agreed.set_from(day, None)
        agreed.over = True
        self.agreed.append(made)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        found = self._draw(data, lambda each: not each.over)
        if found is None or len(self.agreed) < 4:
            return
        agreed, day = found
        self._amend(agreed, "cancel", day)
        agreed.set_from(day, None)
        agreed.over = True

    @precondition(lambda self: self.today < date(2024, 12, 1))
    @rule(days=st.sampled_from([0, 9, 31]))
    def bill(self, days: int) -> None:
        """No day is billed that is not owed; the same run again adds nothing."""
        self.today += days * DAY
        assert self.company.bill(self.today).problems == []
        assert self.company.bill(self.today).lines == 0
        self._check(up_to=self.today - 32 * DAY)

    def _check(self, up_to: date) -> None:
        """Every day before ``up_to`` is billed as owed, later ones as owed or not yet."""
        owed: dict[tuple[str, str, date], Decimal] = defaultdict(Decimal)
        for agreed in self.agreed:
            for day, state in agreed.days.items():
                if state is not None:
                    owed[agreed.account, f"c-{state[0]}", day] += state[1]
        found = self._read()
        for key in owed.keys() | found.keys():
            billed = found.get(key, Decimal(0))
            if key[2] < up_to:
                assert billed == owed.get(key, 0), key
            else:
                assert 0 <= billed <= owed.get(key, 0), key

    def _read(self) -> dict[tuple[str, str, date], Decimal]:
        """Days billed, by account, charge and day: quantity billed less what was given back."""
        with self.company.database.transaction(now=self.company.now) as uow:
            rows = uow.query(_SERVICE)
        billed: dict[tuple[str, str, date], Decimal] = defaultdict(Decimal)
        for row in rows:
            # What was rated again was taken back to the cent, and stands anew in another row. By
            # hand it may be debited all the same.
            if row["taken"] is not None:
                assert row["amount"] - row["back"] + row["taken"] == 0 <= row["by_hand"], row
                continue
            for day in _days_billed(row):
                billed[row["account"], row["charge"], day] += row["quantity"]
        assert all(row["amount"] - row["back"] + row["by_hand"] >= 0 for row in rows)
        final = {row["id"]: row["as_billed"] for row in rows if row["state"] == "final"}
        assert self.final.items() <= final.items()
        self.final = final
        return billed


def _days_billed(row: Record) -> Iterator[date]:
    """The days of a charge that are billed and not given back.

    What was credited by hand is billed all the same. When all of it was, nothing is left to be
    given back when service ends.
    """
    day, end = row["service_start"], row["back_from"] or row["service_end"]
    if row["by_hand"] and row["amount"] - row["back"] + row["by_hand"] == 0 and row["ends"]:
        end = min(end, row["ends"])
    while day < end:
        yield day
        day += DAY


# Credit notes and debit notes for a charge, with those for a debit note.
BY_HAND = """
SELECT coalesce(o.applies_to_id, r.applies_to_id, r.reverses_id) AS base_id, sum(r.amount) AS amount
FROM rated_charge r LEFT JOIN rated_charge o ON o.id = r.reverses_id AND o.kind = 'debit'
WHERE r.kind IN ('credit', 'debit') GROUP BY 1
"""

# What a re-rating took back, with what it found given back before.
TAKEN = """
SELECT reverses_id AS base_id, sum(amount) AS amount
FROM rated_charge WHERE kind = 'adjustment' GROUP BY 1
"""

_SERVICE = f"""
SELECT r.id, r.quantity, r.amount, r.service_start, r.service_end, sc.end_date AS ends,
       a.external_id AS account, c.external_id AS charge, i.state,
       concat(i.number, r.amount, r.quantity, r.service_start, r.service_end) AS as_billed,
       coalesce(b.amount, 0) AS back, b.service_start AS back_from,
       coalesce(h.amount, 0) AS by_hand, t.amount AS taken
FROM rated_charge r JOIN invoice i ON i.id = r.invoice_id
JOIN account a ON a.id = i.account_id
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN charge c ON c.id = sc.charge_id
LEFT JOIN (SELECT reverses_id, -sum(amount) AS amount, min(service_start) AS service_start
           FROM rated_charge WHERE kind = 'reversal' GROUP BY 1) b ON b.reverses_id = r.id
LEFT JOIN ({BY_HAND}) h ON h.base_id = r.id
LEFT JOIN ({TAKEN}) t ON t.base_id = r.id
WHERE r.kind = 'recurring' ORDER BY r.id
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_is_amended_every_day_is_billed_once(server: Settings) -> None:
    run_state_machine_as_test(
        lambda: Amendments(server),
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
