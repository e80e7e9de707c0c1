"""Playing a scenario in an empty organisation, step by step, with a simulated clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial, singledispatchmethod
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from counterfoil.bootstrap import USAGE_WATCHERS, Organisation
from counterfoil.business.billing.changing import change_subscriptions, renew_subscriptions
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.credit_notes import (
    credit_invoice,
    reissue_invoice,
    void_invoice,
)
from counterfoil.business.billing.crediting import CreditPart
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.billing.reissuing import reissue_rated_again
from counterfoil.business.billing.rerating import rerate_bills
from counterfoil.business.billing.spending import spending
from counterfoil.business.billing.window import Window
from counterfoil.business.receivables.commands import (
    NewPayment,
    apply_credits,
    apply_to_bill_run,
    record_payment,
)
from counterfoil.business.receivables.queries import account_balance
from counterfoil.business.receivables.reversing import reverse_settlement
from counterfoil.business.subscriptions.changes import Change
from counterfoil.business.subscriptions.commands import (
    Activation,
    activate_subscriptions,
    cancel_subscriptions,
    change_quantity,
)
from counterfoil.business.subscriptions.invoicing import billed_account
from counterfoil.business.usage.commands import import_file
from counterfoil.business.usage.corrections import Correction, correct_usage
from counterfoil.business.usage.store import UsageStore
from counterfoil.business.usage.watching import watch_usage_by_all
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.scenarios.accounts import load_incentives, load_price_book, set_scene
from counterfoil.interfaces.scenarios.comparison import (
    Difference,
    Produced,
    compare,
    show_value,
)
from counterfoil.interfaces.scenarios.order_play import take_order_step
from counterfoil.interfaces.scenarios.order_steps import (
    CancelOrder,
    Complete,
    Order,
    Provisioning,
)
from counterfoil.interfaces.scenarios.produced import (
    read_bill_run,
    read_document,
    read_preview,
)
from counterfoil.interfaces.scenarios.scenario import (
    Amend,
    Bill,
    Cancel,
    ChangeQuantity,
    CorrectUsage,
    Credit,
    LoadIncentives,
    LoadPrices,
    Pay,
    Preview,
    RenewDue,
    Rerate,
    Scenario,
    Spending,
    Step,
    Subscribe,
    Usage,
    UsageEvent,
    day_of,
    instant_of,
)
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

Result = TypeVar("Result")

COLLECTOR = "cloudevents"
"""The built-in collector through which the usage of a scenario comes in."""


SOURCE = "scenario"
"""Where the usage of a scenario comes from."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a bill run or preview of the timeline produced, and how it differs from expectation."""

    step: Bill | Rerate | Preview | Credit | Pay | Spending
    produced: Produced
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a whole scenario produced."""

    scenario: Scenario
    steps: tuple[StepOutcome, ...]

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All differences, in the order of the timeline."""
        return tuple(difference for step in self.steps for difference in step.differences)


class SimulatedClock:
    """A clock that shows what the timeline says and never goes back."""

    def __init__(self) -> None:
        self.shown = datetime.min.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.shown

    def advance(self, instant: datetime) -> datetime:
        """Show this instant, or stay when it has passed; returns what is shown."""
        self.shown = max(self.shown, instant)
        return self.shown


def play_scenario(scenario: Scenario, organisation: Organisation, clock: SimulatedClock) -> Outcome:
    """Play all steps in an empty organisation whose clock this is.

    After every bill step the same run is repeated and must add nothing, and lines must add up to
    their invoice's total. Refuses what a step's command refuses, with file and line.
    """
    return Player(scenario, organisation, clock).play()


class Player:
    """One scenario in one organisation."""

    def __init__(
        self, scenario: Scenario, organisation: Organisation, clock: SimulatedClock
    ) -> None:
        self.scenario = scenario
        self.organisation = organisation
        self.clock = clock

    def play(self) -> Outcome:
        """Set the scene, then take step after step."""
        steps = self.scenario.timeline
        if steps:
            self.clock.advance(instant_of(steps[0].on, ZoneInfo("UTC")))
        self._located(1, self._set_scene)
        outcomes = []
        for step in steps:
            self.clock.advance(instant_of(step.on, ZoneInfo("UTC")))
            outcome = self._located(step.line, partial(self._take, step))
            if outcome is not None:
                outcomes.append(outcome)
        return Outcome(self.scenario, tuple(outcomes))

    def _located(self, line: int, act: Callable[[], Result]) -> Result:
        """Do something; what it refuses gets the place in the scenario file."""
        try:
            return act()
        except Refused as refusal:
            problems = [
                problem if problem.file else replace(problem, file=self.scenario.file, line=line)
                for problem in refusal.problems
            ]
            raise Refused(problems, refusal.status) from refusal

    def _set_scene(self) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            set_scene(uow, self.scenario)

    @singledispatchmethod
    def _take(self, step: Step) -> StepOutcome | None:
        raise TypeError(f"no way to play {type(step).__name__}")

    @_take.register
    def _(self, step: Subscribe) -> None:
        terms: dict[str, Any] = dict(step.terms)
        activation = Activation(
            **terms,
            external_id=step.external_id,
            account=step.account,
            rate_plan=step.plan,
            start_date=step.start,
            site=step.site,
            contact=step.contact,
            contract=step.contract,
            invoice_account=step.invoice_account,
            purchase_order=step.purchase_order,
            end_date=step.end,
            trial_end=step.trial_end,
            anchor_date=step.anchor,
            quantities=step.quantities,
            identifiers=step.identifiers,
        )
        with self.organisation.database.transaction(now=self.clock()) as uow:
            activate_subscriptions(uow, [activation])

    @_take.register
    def _(self, step: RenewDue) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            problems = renew_subscriptions(uow, step.day).problems
        if problems:
            raise Refused(Problem("not_renewed", "; ".join(problems.values()), "renew_due"))

    @_take.register
    def _(self, step: ChangeQuantity) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            ids = uow.ids_by("subscription", "external_id", [step.subscription])
            subscription = ids[step.subscription]
            change_quantity(uow, subscription, step.charge, step.quantity, step.start)

    @_take.register
    def _(self, step: Cancel) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            ids = uow.ids_by("subscription", "external_id", [step.subscription])
            cancel_subscriptions(uow, [ids[step.subscription]], step.end)

    @_take.register
    def _(self, step: Amend) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            ids = uow.ids_by("subscription", "external_id", [step.subscription])
            known: dict[str, Any] = dict(step.fields)
            change = Change(
                subscription=ids[step.subscription],
                kind=step.kind,
                day=step.day,
                next_period=step.next_period,
                **known,
            )
            change_subscriptions(uow, [change])

    @_take.register
    def _(self, step: Provisioning | Order | Complete | CancelOrder) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            take_order_step(uow, step)

    @_take.register
    def _(self, step: CorrectUsage) -> None:
        correction = Correction(SOURCE, step.event_id, step.quantity)
        with self.organisation.database.transaction(now=self.clock()) as uow:
            correct_usage(uow, self.organisation.usage_store, [correction])

    @_take.register
    def _(self, step: LoadPrices) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            load_price_book(uow, step.price_book)

    @_take.register
    def _(self, step: LoadIncentives) -> None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            load_incentives(uow, step.incentives)

    @_take.register
    def _(self, step: Usage) -> None:
        """Usage comes in as a file of CloudEvents, the ordinary way."""
        database, store = self.organisation.database, self.organisation.usage_store
        path = self.organisation.home / f"usage-line-{step.line}.jsonl"
        path.write_bytes(b"".join(_cloud_event(event) for event in step.events))
        summary = import_file(database, store, COLLECTOR, path, now=self.clock())
        if summary.accepted != len(step.events):
            told = [f"{count} {reason}" for reason, count in summary.rejected_by_reason.items()]
            told += [f"{summary.duplicate} duplicate"] if summary.duplicate else []
            message = f"not all usage was accepted: {', '.join(told)}"
            raise Refused(Problem("usage_not_accepted", message))

    def _billed(self, account: str | None) -> list[int] | None:
        """The account that is billed for this one, or None for all."""
        if account is None:
            return None
        with self.organisation.database.transaction(now=self.clock()) as uow:
            return [billed_account(uow, account)]

    @_take.register
    def _(self, step: Bill) -> StepOutcome:
        database = self.organisation.database
        accounts = self._billed(step.account)
        summaries = [
            run_bills(
                database,
                self.organisation.usage_store,
                step.billing_date,
                now=self.clock(),
                accounts=accounts,
                runner=self.organisation.runner,
            )
            for _ in range(2)
        ]
        with database.transaction(now=self.clock()) as uow:
            apply_to_bill_run(uow, summaries[0].bill_run_id)
            produced = read_bill_run(uow, summaries[0].bill_run_id)
        differences = judge(step, produced)
        again = summaries[1]
        if again.invoices or again.lines:
            got = f"{again.invoices} invoices with {again.lines} lines"
            message = "the same bill run again must add nothing"
            differences.append(Difference(step.line, message, got=got))
        return StepOutcome(step, produced, tuple(differences))

    @_take.register
    def _(self, step: Rerate) -> StepOutcome:
        database = self.organisation.database
        accounts = self._billed(step.account)
        runs = [
            rerate_bills(
                database,
                self.organisation.usage_store,
                Window(step.first, step.end),
                now=self.clock(),
                apply=True,
                accounts=accounts,
            )
            for _ in range(2)
        ]
        with database.transaction(now=self.clock()) as uow:
            produced = read_bill_run(uow, int(runs[0].bill_run_id or 0))
        differences = judge(step, produced)
        if runs[1].differences:
            got = f"{runs[1].differences} differences"
            message = "the same re-rating again must add nothing"
            differences.append(Difference(step.line, message, got=got))
        return StepOutcome(step, produced, tuple(differences))

    @_take.register
    def _(self, step: Credit) -> StepOutcome:
        database = self.organisation.database
        try:
            with database.transaction(now=self.clock()) as uow:
                made = _credited(uow, self.organisation.usage_store, step)
                apply_credits(uow)
                found = [read_document(uow, int(str(one["id"]))) for one in made]
                produced = Produced(tuple(one.invoices[0] for one in found))
        except Refused as refusal:
            code = refusal.problems[0].code
            if step.refused is None:
                raise
            wrong = [] if code == step.refused else [_refusal(step, code)]
            return StepOutcome(step, Produced((), ()), tuple(wrong))
        differences = judge(step, produced)
        if step.refused is not None:
            differences.append(_refusal(step, "a credit note"))
        return StepOutcome(step, produced, tuple(differences))

    @_take.register
    def _(self, step: Pay) -> StepOutcome | None:
        with self.organisation.database.transaction(now=self.clock()) as uow:
            if step.bounced:
                reverse_settlement(uow, "payment", _last_payment(uow, step), "bounced")
            else:
                record_payment(uow, NewPayment(account=step.account, amount=step.amount))
            owes = account_balance(uow, step.account).balance
        if step.owes is None or step.owes == owes:
            return None
        message = f"{step.account} owes another amount"
        wrong = Difference(step.line, message, show_value(step.owes), show_value(owes))
        return StepOutcome(step, Produced((), ()), (wrong,))

    @_take.register
    def _(self, step: Spending) -> StepOutcome | None:
        database, store = self.organisation.database, self.organisation.usage_store
        watch_usage_by_all(database, store, USAGE_WATCHERS, now=self.clock())
        found = spending(database, store, step.account, now=self.clock())
        one = next((one for one in found if one.threshold == step.threshold), None)
        with database.transaction(now=self.clock()) as uow:
            row = uow.find("spending_threshold", external_id=step.threshold) or {}
        told = one is not None and row["told_period"] == one.period_start
        wrong = [
            Difference(step.line, f"{step.threshold}: {what}", str(expected), str(got))
            for what, expected, got in (
                ("spent", step.spent, one.spent if one else None),
                ("told", step.told, told),
            )
            if expected is not None and expected != got
        ]
        return StepOutcome(step, Produced((), ()), tuple(wrong)) if wrong else None

    @_take.register
    def _(self, step: Preview) -> StepOutcome:
        database = self.organisation.database
        preview = preview_invoice(
            database,
            self.organisation.usage_store,
            step.account,
            step.billing_date,
            now=self.clock(),
        )
        with database.transaction(now=self.clock()) as uow:
            produced = read_preview(uow, preview)
        return StepOutcome(step, produced, tuple(judge(step, produced)))


def judge(step: Bill | Rerate | Preview | Credit, produced: Produced) -> list[Difference]:
    """Compare with what is expected; lines must add up in any case."""
    differences = [] if step.expected is None else compare(step.expected, produced)
    for invoice in produced.invoices:
        total, added = invoice.fields["total"], _sum_of(invoice.lines)
        if total != added:
            message = f"invoice of {invoice.fields['account']}: lines must add up to the total"
            differences.append(Difference(step.line, message, show_value(total), str(added)))
    return differences


def _credited(uow: UnitOfWork, store: UsageStore, step: Credit) -> list[Record]:
    """The documents that the step asks for."""
    asked = Request(reason="as the scenario says", on=day_of(step.on, ZoneInfo("UTC")))
    if step.reissue == "rated_again":
        done = reissue_rated_again(uow, store, step.invoice, asked)
        return [done.credit_note, *([done.invoice] if done.invoice else [])]
    if step.reissue is not None:
        return [reissue_invoice(uow, step.invoice, asked)]
    if step.void:
        return [void_invoice(uow, step.invoice, asked)]
    if step.position is None:
        return [credit_invoice(uow, step.invoice, asked, amount=step.amount)]
    part = CreditPart(
        position=step.position,
        amount=step.amount,
        quantity=step.quantity,
        start=step.first,
        end=step.end,
    )
    return [credit_invoice(uow, step.invoice, asked, parts=[part])]


_LAST_PAYMENT = """
SELECT p.id FROM payment p JOIN account a ON a.id = p.account_id
WHERE a.external_id = :account AND p.amount = :amount
  AND NOT EXISTS (SELECT 1 FROM settlement_reversal v WHERE v.payment_id = p.id)
ORDER BY p.id DESC LIMIT 1
"""


def _last_payment(uow: UnitOfWork, step: Pay) -> int:
    rows = uow.query(_LAST_PAYMENT, account=step.account, amount=step.amount)
    if not rows:
        message = f"{step.account} has made no payment of {show_value(step.amount)}"
        raise Refused(Problem("unknown_payment", message, "amount"))
    return int(rows[0]["id"])


def _refusal(step: Credit, got: str) -> Difference:
    return Difference(step.line, "the credit must be refused", str(step.refused), got)


def _sum_of(lines: tuple[Mapping[str, object], ...]) -> Decimal:
    amounts = (line["amount"] for line in lines)
    return sum((amount for amount in amounts if isinstance(amount, Decimal)), Decimal(0))


def _cloud_event(event: UsageEvent) -> bytes:
    """One line of JSON; the quantity is a text, so that no digit is lost on the way."""
    fields = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": SOURCE,
        "type": event.meter,
        "subject": event.identifier,
        "time": event.time.isoformat().replace("+00:00", "Z"),
        "data": {**event.attributes, "quantity": str(event.quantity)},
    }
    return msgspec.json.encode(fields) + b"\n"
