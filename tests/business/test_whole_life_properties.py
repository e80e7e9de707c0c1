"""Quote, order, amend, use, bill, credit, void, reissue, pay in any legal order, for years.

After each step: billing again adds nothing; every service day is billed once, or lawfully not at
all, and every unit used, too; debits are credits; nothing final changed; no more is given back
than was billed. COUNTERFOIL_LIVES=200 plays so many lives, of 40 steps each, in place of a few.
"""

import os
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.business.billing.test_amendment_properties import (
    BY_HAND,
    PLANS,
    START,
    TAKEN,
    Agreed,
    Amendments,
)
from tests.business.receivables.conftest import Ledger
from tests.business.receivables.test_ledger_properties import Books

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.business.billing.arranging import merge_drafts, split_draft
from counterfoil.business.billing.changing import change_subscriptions
from counterfoil.business.billing.commands import discard_drafts
from counterfoil.business.billing.drafts import refresh_drafts
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.orders.commands import approve_orders, cancel_orders, release_orders
from counterfoil.business.orders.entities import BILLING_STARTS
from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.orders.tasks import complete_tasks, find_open_tasks
from counterfoil.business.sales.accepting import Acceptance, accept_by_hand
from counterfoil.business.sales.conversion import convert_quotes
from counterfoil.business.sales.drafting import make_quotes
from counterfoil.business.sales.notation import NewQuote, NewQuoteLine
from counterfoil.business.sales.sending import send_quote
from counterfoil.business.subscriptions.changes import Change

LIVES = int(os.environ.get("COUNTERFOIL_LIVES", "0"))
LAST_BILL = date(2026, 9, 1)
DAY = timedelta(days=1)
ZONES = {"A": "America/New_York", "B": "Pacific/Auckland"}
BOOK = (
    "products: [{id: p, name: P}]\nmeters: [{id: seconds, name: Time, unit: second}]\n"
    "rate_plans:\n"
    + "".join(
        f"""  - id: {plan}
    product: p
    name: {plan}
    charges:
      - {{id: c-{plan}, name: {plan}, kind: recurring, timing: {timing}, alignment: {alignment},
         period: {period}{more}, prices: [{{currency: USD, model: per_unit, amount: {amount}}}]}}
      - {{id: u-{plan}, name: Use, kind: usage, meter: seconds, alignment: {alignment},
         prices: [{{currency: USD, model: graduated, included: 5,
                   tiers: [{{up_to: 40, amount: 0.55}}, {{amount: 0.125}}]}}]}}
"""
        for plan, timing, alignment, period, more, amount in (
            ("advance", "in_advance", "calendar", "month", ", periods_ahead: 3", "31.10"),
            ("arrears", "in_arrears", "calendar", "week", "", "47.77"),
            ("other", "in_advance", "anniversary", "year", "", "1999.99"),
        )
    )
)

# Of a charge, what is left with all that corrects it may not be of the other sign; what was given
# back of one that is taken back to the cent may not be billed once more.
_OVERDRAWN = f"""
SELECT b.id FROM rated_charge b
LEFT JOIN (SELECT reverses_id, sum(amount) AS amount FROM rated_charge
           WHERE kind = 'reversal' GROUP BY 1) r ON r.reverses_id = b.id
LEFT JOIN ({BY_HAND}) h ON h.base_id = b.id
LEFT JOIN ({TAKEN}) t ON t.base_id = b.id
WHERE b.amount > 0
  AND b.amount + coalesce(r.amount, 0) + coalesce(h.amount, 0) + coalesce(t.amount, 0) < 0
UNION ALL
SELECT b.id FROM rated_charge b JOIN ({BY_HAND}) h ON h.base_id = b.id
WHERE b.kind = 'reversal' AND h.amount <> 0
  AND EXISTS (SELECT 1 FROM ({TAKEN}) t WHERE t.base_id = b.reverses_id)
"""

_USED = f"""
SELECT s.external_id AS subscription, c.external_id AS charge,
       sum(CASE WHEN r.kind = 'usage' THEN r.quantity ELSE -r.quantity END) AS quantity,
       bool_or(h.base_id IS NOT NULL) AS by_hand
FROM rated_charge r
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN charge c ON c.id = sc.charge_id AND c.kind = 'usage'
JOIN subscription s ON s.id = sc.subscription_id
LEFT JOIN ({BY_HAND}) h ON h.base_id = r.id
WHERE r.kind IN ('usage', 'reversal')
  AND NOT EXISTS (SELECT 1 FROM ({TAKEN}) t WHERE t.base_id IN (r.id, r.reverses_id))
GROUP BY 1, 2
"""


class WholeLife(Amendments, Books):
    """See the module. The calendar of what is owed is that of the amendments, the books are those
    of the receivables; both belong to two accounts, and one of them is the clerk's at a time."""

    overdrawn = _OVERDRAWN

    def __init__(self, server: Settings) -> None:
        RuleBasedStateMachine.__init__(self)
        self.scratch = scratch_organisation(server)
        self.ledger = self.company = Ledger(self.scratch.__enter__())
        self.agreed: list[Agreed] = []
        self.used: list[tuple[str, date, Decimal]] = []
        self.final: dict[int, str] = {}
        self.seen: dict[int, object] = {}
        self.pending: dict[int, tuple[str, NewLine]] = {}
        self.accepted: dict[str, date] = {}
        self.draft = False
        self.steps = 0
        self._go_on_to(START)

    @initialize(
        zero_amount=st.sampled_from(["issue", "suppress", "carry"]),
        split_by=st.sampled_from(["none", "purchase_order"]),
    )
    def begin(self, zero_amount: str = "issue", split_by: str = "none") -> None:
        """Two accounts on either side of the date line, with a subscription of each plan."""
        self.company.load_prices(BOOK)
        self.company.open_account("A", time_zone=ZONES["A"], grace_days=40, split_by=split_by)
        self.company.open_account(
            "B", time_zone=ZONES["B"], cycle_day=31, zero_amount=zero_amount, split_by=split_by
        )
        with self.company.database.transaction(now=self.company.now) as uow:
            plan_id = uow.ids_by("rate_plan", "external_id", ["other"])["other"]
            step = {"external_id": "dig", "name": "Dig", "position": 1, "kind": "checklist"}
            uow.create("provisioning_step", {**step, "rate_plan_id": plan_id})
        for number, plan in enumerate(PLANS):
            name, account = f"S{number}", "AB"[number % 2]
            self.company.subscribe(name, account, plan, START, purchase_order=f"PO{number % 2}")
            made = Agreed(name, account, {}, START)
            made.set_from(START, (plan, Decimal(1)))
            self.agreed.append(made)
        self.turn_to("A")

    @rule(account=st.sampled_from("AB"))
    def turn_to(self, account: str) -> None:
        """The clerk turns to an account: the books of it are worked on."""
        self.account = account
        with self.company.database.transaction(now=self.company.now) as uow:
            self.account_id = uow.ids_by("account", "external_id", [account])[account]

    @rule(
        data=st.data(),
        ago=st.integers(0, 70),
        at=st.sampled_from([time(0), time(2, 30), time(23, 59, 59)]),
        quantity=st.sampled_from([1, 3, 50]),
    )
    def use(self, data: st.DataObject, ago: int, at: time, quantity: int) -> None:
        """Usage on a local day, perhaps long ago, perhaps of service that is over."""
        agreed = data.draw(st.sampled_from(self.agreed))
        day = max(self.today - ago * DAY, START)
        moment = datetime.combine(day, at, ZoneInfo(ZONES[agreed.account])).astimezone(UTC)
        with self.company.database.transaction(now=self.company.now) as uow:
            ids = uow.ids_by("subscription", "external_id", [agreed.name])
        event = (f"e{len(self.used)}", moment, str(quantity))
        self.company.use(ids[agreed.name], event)
        self.used.append((agreed.name, day, Decimal(quantity)))

    def _amend(self, agreed: Agreed, kind: str, day: date, **more: object) -> None:
        with self.company.database.transaction(now=self.company.now) as uow:
            ids = uow.ids_by("subscription", "external_id", [agreed.name])
            change = Change(subscription=ids[agreed.name], kind=kind, day=day, **more)  # type: ignore[arg-type]
            change_subscriptions(uow, [change])
        agreed.last_change = day

    @rule(data=st.data(), raised=st.booleans())
    def change_price(self, data: st.DataObject, raised: bool) -> None:
        """Another price from a day on, or a renewal that raises all of them; days stay billed."""
        found = self._draw(data, lambda each: each.suspended is None)
        state = found[0].state(found[1]) if found else None
        if found is None or state is None:
            return
        if raised:
            self._amend(found[0], "renew", found[1], uplift_percent=Decimal("3.5"))
        else:
            self._amend(
                found[0],
                "change_price",
                found[1],
                charge=f"c-{state[0]}",
                amount=Decimal("12.34"),
            )

    @rule(
        data=st.data(),
        account=st.sampled_from("AB"),
        plan=st.sampled_from(PLANS),
        start=st.sampled_from(BILLING_STARTS),
        effective=st.none() | st.integers(-45, 25),
        change=st.booleans(),
    )
    def order(
        self,
        data: st.DataObject,
        account: str,
        plan: str,
        start: str,
        effective: int | None,
        change: bool,
    ) -> None:
        """An order is placed, approved and released; what needs no digging is activated by that."""
        name = f"O{len(self.accepted)}"
        day = None if effective is None else self.today + effective * DAY
        asked = NewLine(
            rate_plan=plan,
            subscription=name,
            quantities={f"c-{plan}": Decimal(2)},
            effective_date=day,
            billing_start=start,
            billing_date=self.today - 20 * DAY if start == "on_date" else None,
        )
        lines = [asked]
        found = None
        if change:
            found = self._draw(
                data, lambda each: each.suspended is None and each.account == account
            )
        state = found[0].state(found[1]) if found else None
        if found and state:
            found[0].last_change = found[1]
            more = Decimal(5)
            lines.append(
                NewLine(
                    kind="change_quantity",
                    subscription=found[0].name,
                    charge=f"c-{state[0]}",
                    quantity=more,
                    effective_date=found[1],
                )
            )
        order = NewOrder(
            external_id=name,
            account=account,
            lines=tuple(lines),
            accepted_on=self.today - 10 * DAY,
        )
        with self.company.database.transaction(now=self.company.now) as uow:
            (placed,) = place_orders(uow, [order])
            approve_orders(uow, [placed.id])
            release_orders(uow, [placed.id])
        if found and state:
            found[0].set_from(found[1], (state[0], more))
        self.accepted[name] = self.today - 10 * DAY
        if plan == "other":
            self.pending[placed.id] = (account, asked)
        else:
            self._begun(account, asked, None)

    @rule(account=st.sampled_from("AB"), plan=st.sampled_from(PLANS), start=st.integers(-15, 40))
    def sell(self, account: str, plan: str, start: int) -> None:
        """A quote is made, sent, accepted and becomes an order; the customer asks for two."""
        day = self.today + start * DAY
        line = NewQuoteLine(rate_plan=plan, quantity=Decimal(2))
        with self.company.database.transaction(now=self.company.now) as uow:
            asked = NewQuote(account=account, start_date=day, lines=[line])
            (quote,) = make_quotes(uow, self.company.store, [asked])
            send_quote(uow, self.company.organisation.files, quote)
            accept_by_hand(uow, quote, Acceptance(name="Ada Hartmann"))
            (ordered,) = convert_quotes(uow, [quote])
            assert convert_quotes(uow, [quote])[0].order == ordered.order
            row = uow.query(
                "SELECT l.order_id, l.subscription_external_id AS name FROM order_line l "
                "JOIN quote q ON q.order_id = l.order_id WHERE q.id = :quote",
                quote=quote,
            )[0]
        begun = NewLine(rate_plan=plan, subscription=row["name"], effective_date=day)
        self.accepted[row["name"]] = self.today
        if plan == "other":
            self.pending[row["order_id"]] = (account, begun)
        else:
            self._begun(account, begun, None)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), cancel=st.booleans())
    def finish_order(self, data: st.DataObject, cancel: bool) -> None:
        """The digging is done, or the rest of the order is cancelled."""
        order = data.draw(st.sampled_from(sorted(self.pending)))
        account, asked = self.pending.pop(order)
        with self.company.database.transaction(now=self.company.now) as uow:
            if cancel:
                cancel_orders(uow, [order], reason="moved away")
                return
            (progress,) = complete_tasks(uow, find_open_tasks(uow, order))
            assert progress.status == "completed", progress
        self._begun(account, asked, self._local_today(account))

    def _begun(self, account: str, asked: NewLine, done: date | None) -> None:
        """A line of an order was activated, after what was ``done`` on a day."""
        today = self._local_today(account)
        activated = max(asked.effective_date or done, done) if done else asked.effective_date
        activated = activated or today
        billed = {
            "on_activation": activated,
            "on_acceptance": self.accepted[str(asked.subscription)],
            "on_provisioning_done": done or activated,
            "on_date": asked.billing_date or today,
        }[asked.billing_start]
        made = Agreed(str(asked.subscription), account, {}, max(billed, activated))
        made.set_from(billed, (str(asked.rate_plan), Decimal(2)))
        self.agreed.append(made)

    @precondition(lambda self: self.today < LAST_BILL)
    @rule(
        days=st.sampled_from([0, 1, 9, 31, 31, 200]),
        before=st.sampled_from(["refresh", "finalize", "discard"]),
        finalize=st.booleans(),
    )
    def bill(self, days: int, before: str, finalize: bool) -> None:
        """Decide on drafts, then bill; the same run again adds nothing."""
        self._go_on_to(self.today + days * DAY)
        self._settle(before)
        run = self.company.bill(self.today, finalize=finalize)
        assert run.problems == []
        self.draft = not finalize and run.invoices > 0
        if not self.draft:
            assert self.company.bill(self.today).lines == 0
        self._check(up_to=self.today - 32 * DAY)

    @precondition(lambda self: self.draft)
    @rule(pick=st.integers(0, 9), split=st.booleans())
    def arrange(self, pick: int, split: bool) -> None:
        """A draft is split by hand, or all drafts of its account are merged."""
        with self.attempt() as uow:
            rows = uow.query(
                "SELECT id, account_id FROM invoice WHERE state = 'draft' ORDER BY account_id, id"
            )
            chosen = rows[pick % len(rows)]
            if split:
                split_draft(uow, chosen["id"], [1], purchase_order="PO9")
            else:
                merge_drafts(
                    uow, [r["id"] for r in rows if r["account_id"] == chosen["account_id"]]
                )

    @invariant()
    def time_passes(self) -> None:
        """After every third step a month or more, with all that falls due in it."""
        self.steps += 1
        if self.agreed and self.steps % 3 == 0 and self.today < LAST_BILL:
            turn = self.steps // 3
            before = ("finalize", "refresh", "discard")[turn % 3]
            self.bill((31, 9, 59)[turn % 3], before, turn % 4 != 1)

    def _go_on_to(self, day: date) -> None:
        """Noon in UTC: the same day in New York, and the next one in Auckland."""
        self.today = day
        self.company.now = datetime.combine(day, time(12), UTC)

    def _local_today(self, account: str) -> date:
        return self.company.now.astimezone(ZoneInfo(ZONES[account])).date()

    def _settle(self, how: str) -> None:
        """What becomes of the drafts of the run before."""
        database, now = self.company.database, self.company.now
        if self.draft and how == "discard":
            discard_drafts(database, now=now)
        elif self.draft and how == "refresh":
            refresh_drafts(database, self.company.store, now=now, today=self.today)
        if self.draft:
            finalize_invoices(database, now=now)
        self.draft = False

    def _check(self, up_to: date) -> None:
        super()._check(up_to)
        least: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        most: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        states = {agreed.name: agreed for agreed in self.agreed}
        for name, day, quantity in self.used:
            state = states[name].state(day)
            if state is not None:
                most[name, f"u-{state[0]}"] += quantity
                least[name, f"u-{state[0]}"] += quantity if day < up_to else 0
        with self.company.database.transaction(now=self.company.now) as uow:
            rows = uow.query(_USED)
        found = {(row["subscription"], row["charge"]): row for row in rows}
        for key in found.keys() | least.keys():
            row = found.get(key, {"quantity": Decimal(0), "by_hand": False})
            assert row["quantity"] >= least[key], key
            # Usage that was credited in full by hand has nothing left to be given back.
            assert row["by_hand"] or row["quantity"] <= most[key], key

    def teardown(self) -> None:
        """In the end all that was served is billed."""
        try:
            if self.agreed:
                self._go_on_to(self.today + 62 * DAY)
                self._settle("refresh")
                assert self.company.bill(self.today).problems == []
                assert self.company.bill(self.today).lines == 0
                self._check(up_to=self.today - 32 * DAY)
        finally:
            self.scratch.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * LIVES)
def test_whatever_happens_in_a_life_is_billed_and_paid_once(server: Settings) -> None:
    run_state_machine_as_test(
        lambda: WholeLife(server),
        settings=settings(
            max_examples=LIVES or 3,
            stateful_step_count=40 if LIVES else 12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
