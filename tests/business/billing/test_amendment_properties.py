"""Any legal sequence of amendments: every service day is billed once, or lawfully not at all.

The model is a calendar: which account owes which charge on which day, and in which quantity.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
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

START, DAY = date(2024, 1, 1), timedelta(days=1)
HORIZON = date(2025, 6, 1)
NOW = datetime(2024, 1, 1, tzinfo=UTC)
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


@dataclass
class Signed:
    """Days billed, by account, charge and day: quantity billed less what was given back."""

    billed: dict[tuple[str, str, date], Decimal] = field(
        default_factory=lambda: defaultdict(Decimal)
    )


class Amendments(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, server: Settings) -> None:
        super().__init__()
        self.scratch = scratch_organisation(server)
        self.company = Company(self.scratch.__enter__())
        self.today = START
        self.agreed: list[Agreed] = []
        self.final: dict[int, tuple[object, ...]] = {}

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
        with self.company.database.transaction(now=NOW) as uow:
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
        for key in owed.keys() | found.billed.keys():
            billed = found.billed.get(key, Decimal(0))
            if key[2] < up_to:
                assert billed == owed.get(key, 0), key
            else:
                assert 0 <= billed <= owed.get(key, 0), key

    def _read(self) -> Signed:
        with self.company.database.transaction(now=NOW) as uow:
            rows = uow.query(
                "SELECT r.id, r.kind, r.quantity, r.amount, r.reverses_id, r.service_start, "
                "r.service_end, a.external_id AS account, c.external_id AS charge, i.number "
                "FROM rated_charge r JOIN invoice i ON i.id = r.invoice_id "
                "JOIN account a ON a.id = i.account_id "
                "JOIN subscription_charge sc ON sc.id = r.subscription_charge_id "
                "JOIN charge c ON c.id = sc.charge_id ORDER BY r.id"
            )
        signed = Signed()
        amounts = {row["id"]: row["amount"] for row in rows}
        returned: dict[object, Decimal] = defaultdict(Decimal)
        for row in rows:
            sign = -1 if row["kind"] == "reversal" else 1
            day = row["service_start"]
            while day < row["service_end"]:
                signed.billed[row["account"], row["charge"], day] += sign * row["quantity"]
                day += DAY
            if sign < 0:
                returned[row["reverses_id"]] -= row["amount"]
        assert all(back <= amounts[charge] for charge, back in returned.items())
        final = {row["id"]: tuple(row.values()) for row in rows}
        assert self.final.items() <= final.items()
        self.final = final
        return signed


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
