"""Any legal sequence of events: what is due is billed once, exactly, and stays as it was.

The model knows days and quantities and counts events; it is written from the README, not from
the statements.
"""

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pyarrow as pa
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
from tests.business.billing.conftest import NOW, Company
from tests.business.billing.generated_prices import (
    ALIGNMENTS,
    GRADUATED,
    PERIODS,
    TIMINGS,
    USAGE_PERIODS,
    price_book,
)
from tests.core.rating.reference import cost, half_up

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.business.billing.commands import discard_drafts
from counterfoil.business.billing.current import current_charges
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.queries import Preview, preview_invoice
from counterfoil.business.subscriptions.commands import cancel_subscriptions, change_quantity
from counterfoil.business.usage.store import EVENT_SCHEMA, save_events
from counterfoil.core.money.currencies import CURRENCIES
from counterfoil.core.periods.cadence import Cadence, calendar_anchor, cycles_between
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

START = date(2024, 1, 20)
DAY = timedelta(days=1)
ACCOUNTS = {
    "NEW YORK": {"currency": "USD", "time_zone": "America/New_York", "cycle_day": 15},
    "AUCKLAND": {"currency": "JPY", "time_zone": "Pacific/Auckland", "cycle_day": 31},
    "KIRITIMATI": {"currency": "KWD", "time_zone": "Pacific/Kiritimati", "cycle_day": 1},
    "CAIRO": {"currency": "USD", "time_zone": "Africa/Cairo", "cycle_day": 29},
}


@dataclass
class Part:
    """A stretch of service with one quantity; ``end`` is the first day no longer served."""

    start: date
    end: date | None
    quantity: Decimal


@dataclass
class Agreement:
    """A subscription as the model knows it."""

    record_id: int
    account: str
    kind: str
    timing: str
    cadence: Cadence
    anchor: date
    start: date
    end: date | None
    parts: list[Part]
    events: dict[str, tuple[datetime, int]] = field(default_factory=dict)

    def due(self, part: Part, day: date) -> list[tuple[date, date, date, date]]:
        """(cycle start, cycle end, service start, service end) due by the day."""
        found = []
        for start, end in cycles_between(self.anchor, self.cadence, part.start, day + 2 * DAY):
            first, last = max(start, part.start), min(end, part.end or end)
            if first < last and (first if self.timing == "in_advance" else last) <= day:
                found.append((start, end, first, last))
        return found


def local(account: str, day: date, seconds: int) -> datetime:
    """The instant so many seconds after local midnight."""
    zone = ZoneInfo(str(ACCOUNTS[account]["time_zone"]))
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return midnight + timedelta(seconds=seconds)


class BillRuns(RuleBasedStateMachine):
    """See the module."""

    def __init__(self, server: Settings) -> None:
        super().__init__()
        self.scratch = scratch_organisation(server)
        self.company = Company(self.scratch.__enter__())
        self.today = START
        self.agreements: list[Agreement] = []
        self.final: dict[tuple[str, int], str] = {}
        self.names = Counter[str]()
        self.drafts = False
        self.explained: set[int] = set()

    def teardown(self) -> None:
        self.scratch.__exit__(None, None, None)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """A company with service and usage to bill from the first step on."""
        self.company.load_prices(price_book())
        self.ids = {
            name: self.company.open_account(name, **profile) for name, profile in ACCOUNTS.items()
        }
        accounts = st.sampled_from(sorted(ACCOUNTS))
        alignments = st.sampled_from(ALIGNMENTS)
        for timing in TIMINGS:
            period = data.draw(st.sampled_from(["week", "month", "quarter"]))
            plan = f"{timing}-{period}-{data.draw(alignments)}"
            cadence = PERIODS[period]
            self._activate(data.draw(accounts), plan, "recurring", timing, cadence, -20)
        for period in ("month", "quarter"):
            self.activate_usage(data.draw(accounts), period, data.draw(alignments), -50)
            self._use_some(data, self.agreements[-1])

    def _name(self, kind: str) -> str:
        self.names[kind] += 1
        return f"{kind}-{self.names[kind]}"

    def _activate(
        self, account: str, plan: str, kind: str, timing: str, cadence: Cadence, days: int, **more
    ) -> Agreement:
        start = self.today + days * DAY
        alignment = plan.rsplit("-", 1)[-1]
        quantity = more.pop("quantity", Decimal(1))
        length = more.pop("length", None)
        end = None if length is None else start + length * DAY
        quantities = {f"c-{plan}": quantity} if kind == "recurring" else {}
        record_id = self.company.subscribe(
            self._name("S"), account, plan, start, end_date=end, quantities=quantities
        )
        cycle_day = int(str(ACCOUNTS[account]["cycle_day"]))
        anchor = calendar_anchor(cadence.unit, cycle_day) if alignment == "calendar" else start
        made = Agreement(
            record_id,
            account,
            kind,
            timing,
            cadence,
            anchor,
            start,
            end,
            [Part(start, end, quantity)],
        )
        self.agreements.append(made)
        return made

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        timing=st.sampled_from(TIMINGS),
        period=st.sampled_from(sorted(PERIODS)),
        alignment=st.sampled_from(ALIGNMENTS),
        days=st.integers(-40, 20),
        quantity=st.sampled_from([Decimal(0), Decimal(1), Decimal("2.5"), Decimal(7)]),
        length=st.sampled_from([None, None, None, 1, 30, 45]),
    )
    def activate(
        self,
        account: str,
        timing: str,
        period: str,
        alignment: str,
        days: int,
        quantity: Decimal,
        length: int | None,
    ) -> None:
        plan = f"{timing}-{period}-{alignment}"
        self._activate(
            account,
            plan,
            "recurring",
            timing,
            PERIODS[period],
            days,
            quantity=quantity,
            length=length,
        )

    @rule(account=st.sampled_from(sorted(ACCOUNTS)), days=st.integers(-40, 20))
    def activate_once(self, account: str, days: int) -> None:
        self._activate(account, "once", "one_time", "in_advance", Cadence("day"), days)

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        period=st.sampled_from(USAGE_PERIODS),
        alignment=st.sampled_from(ALIGNMENTS),
        days=st.integers(-40, 0),
    )
    def activate_usage(self, account: str, period: str, alignment: str, days: int) -> None:
        plan = f"usage-{period}-{alignment}"
        self._activate(account, plan, "usage", "in_arrears", PERIODS[period], days)

    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        """Events, many at local midnight and late."""
        chosen = [each for each in self.agreements if each.kind == "usage"]
        self._use_some(data, data.draw(st.sampled_from(chosen)))

    def _use_some(self, data: st.DataObject, chosen: Agreement) -> None:
        """New events, and an old one sent again."""
        events = {}
        for back in data.draw(st.lists(st.integers(-45, 1), min_size=2, max_size=6)):
            seconds = data.draw(st.sampled_from([0, -1, 1, 43200, 86399, 7200]))
            quantity = data.draw(st.sampled_from([1, 59, 60, 61, 600, 1500]))
            at = local(chosen.account, self.today + back * DAY, seconds)
            events[self._name("event")] = (at, quantity)
        again = dict(list(chosen.events.items())[:1])
        chosen.events |= events
        self._save(chosen, {**again, **events})

    def _save(self, agreement: Agreement, events: dict[str, tuple[datetime, int]]) -> None:
        with self.company.database.transaction(now=NOW) as uow:
            collector = uow.find("collector", external_id="bridge") or uow.create(
                "collector",
                {
                    "external_id": "bridge",
                    "name": "B",
                    "definition": {"format": "cloudevents"},
                },
            )
            meters = uow.ids_by("meter", "external_id", ["seconds", "calls"])
            batch = uow.create(
                "usage_batch",
                {
                    "batch_key": self._name("batch"),
                    "collector_id": collector["id"],
                    "file_name": "calls.csv",
                },
            )
            rows = [
                {
                    "source": meter,
                    "event_id": name,
                    "time": at.replace(tzinfo=None),
                    "subscription_id": agreement.record_id,
                    "meter_id": meters[meter],
                    "quantity": Decimal(quantity),
                    "batch_id": batch["id"],
                    "line": line,
                    "attributes": "{}",
                }
                for line, (name, (at, quantity)) in enumerate(events.items(), start=1)
                for meter in ("seconds", "calls")
            ]
            table = pa.Table.from_pylist(rows, EVENT_SCHEMA)
            save_events(uow, self.company.store, table, batch["id"])

    @rule(
        data=st.data(), quantity=st.sampled_from([Decimal(0), Decimal(1), Decimal(3), Decimal(4)])
    )
    def change(self, data: st.DataObject, quantity: Decimal) -> None:
        chosen = data.draw(
            st.sampled_from([each for each in self.agreements if each.kind == "recurring"])
        )
        day = max(chosen.start, self.today + data.draw(st.integers(-40, 15)) * DAY)
        running = [
            part
            for part in chosen.parts
            if part.start <= day and (part.end is None or day < part.end)
        ]
        if not running:
            return
        charge = self._charge_of(chosen)
        with self.company.database.transaction(now=NOW) as uow:
            change_quantity(uow, chosen.record_id, charge, quantity, day)
        old = running[0]
        if old.quantity != quantity:
            chosen.parts.append(Part(day, old.end, quantity))
            old.end = day

    def _charge_of(self, agreement: Agreement) -> str:
        with self.company.database.transaction(now=NOW) as uow:
            return str(
                uow.query(
                    "SELECT c.external_id FROM charge c JOIN subscription s "
                    "ON s.rate_plan_id = c.rate_plan_id WHERE s.id = :id",
                    id=agreement.record_id,
                )[0]["external_id"]
            )

    @rule(data=st.data(), days=st.integers(-40, 15))
    def cancel(self, data: st.DataObject, days: int) -> None:
        chosen = data.draw(st.sampled_from(self.agreements))
        day = max(chosen.start, self.today + days * DAY)
        if chosen.end is not None and day > chosen.end:
            return
        with self.company.database.transaction(now=NOW) as uow:
            cancel_subscriptions(uow, [chosen.record_id], day)
        chosen.end = day
        for part in chosen.parts:
            if part.end is None or part.end > max(day, part.start):
                part.end = max(day, part.start)

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        plan=st.sampled_from(
            [f"{t}-{p}-{a}" for t in TIMINGS for p in PERIODS for a in ALIGNMENTS]
        ),
        days=st.integers(1, 40),
        amount=st.sampled_from([Decimal(4000), Decimal("6100.55")]),
    )
    def reprice(self, account: str, plan: str, days: int, amount: Decimal) -> None:
        """A price of the account's own from a coming day on, once per account and plan."""
        with self.company.database.transaction(now=NOW) as uow:
            charge = uow.ids_by("charge", "external_id", [f"c-{plan}"])[f"c-{plan}"]
            owner = {"charge_id": charge, "layer": "account", "account_id": self.ids[account]}
            if uow.find("price", **owner):
                return
            currency = ACCOUNTS[account]["currency"]
            terms = {"currency": currency, "model": "per_unit"}
            first = {"valid_from": self.today + days * DAY}
            price = uow.create("price", {**owner, **terms, **first})
            uow.create("price_tier", {"price_id": price["id"], "unit_amount": amount})

    @precondition(lambda self: not self.drafts)
    @rule(data=st.data(), days=st.integers(-40, 0))
    def bill_then_look_back(self, data: st.DataObject, days: int) -> None:
        """Late usage, another quantity and an earlier end for what was just billed."""
        self.bill(31)
        if not self.agreements:
            return
        self.use(data)
        self.change(data, Decimal(data.draw(st.integers(0, 4))))
        self.cancel(data, days)
        self.bill(0)

    @precondition(lambda self: not self.drafts)
    @rule(days=st.sampled_from([0, 1, 7, 31]))
    def bill(self, days: int) -> None:
        """A run over all accounts, as the previews said; the same run again adds nothing."""
        self.today += days * DAY
        before = self.company.counts()
        preview = {
            name: preview_invoice(
                self.company.database, self.company.store, name, self.today, now=NOW
            )
            for name in ACCOUNTS
        }
        one = sorted(ACCOUNTS)[self.today.day % len(ACCOUNTS)]
        self._check_current(one, preview[one])
        assert self.company.counts() == before
        run = self.company.bill(self.today)
        assert run.problems == []
        assert run.invoices == sum(each.invoice is not None for each in preview.values())
        assert run.lines == sum(len(each.lines) for each in preview.values())
        self._check(ACCOUNTS, [line for each in preview.values() for line in each.lines])
        before = self.company.counts()
        assert self.company.bill(self.today).lines == 0
        assert self.company.counts() == before

    def _check_current(self, account: str, preview: Preview) -> None:
        """What is due now is the invoice of today; what runs is what its cycle's end will bill."""
        noon = local(account, self.today, 12 * 3600)
        found = current_charges(self.company.database, self.company.store, account, now=noon)
        assert found.today == self.today
        assert found.problems == ()
        assert found.due == (preview.invoice["total"] if preview.invoice else 0)
        running = [charge for charge in found.charges if charge.state == "running"]
        for end in {charge.cycle_end for charge in running[:1]}:
            then = preview_invoice(self.company.database, self.company.store, account, end, now=NOW)
            billed: defaultdict[tuple[object, ...], Decimal] = defaultdict(Decimal)
            for charge in then.rated_charges:
                key = (charge["subscription_charge_id"], charge["kind"], charge["cycle_start"])
                billed[key] += charge["amount"]
            for one in running:
                if one.cycle_end == end:
                    key = (one.subscription_charge_id, one.kind, one.cycle_start)
                    assert one.amount == billed[key], one

    @precondition(lambda self: not self.drafts)
    @rule(chosen=st.sets(st.sampled_from(sorted(ACCOUNTS)), min_size=1, max_size=2))
    def bill_some(self, chosen: set[str]) -> None:
        run = self.company.bill(self.today, accounts=[self.ids[name] for name in chosen])
        assert run.problems == []
        self._check(chosen)

    @precondition(lambda self: not self.drafts)
    @rule(days=st.sampled_from([0, 10, 40]))
    def bill_as_drafts(self, days: int) -> None:
        self.today += days * DAY
        run = self.company.bill(self.today, finalize=False)
        assert run.problems == []
        self._check(ACCOUNTS)
        self.drafts = run.invoices > 0

    @precondition(lambda self: self.drafts)
    @rule()
    def finalize(self) -> None:
        assert finalize_invoices(self.company.database, now=NOW).final > 0
        self.drafts = False
        self._check([])

    @precondition(lambda self: self.drafts)
    @rule()
    def discard(self) -> None:
        assert discard_drafts(self.company.database, now=NOW) > 0
        self.drafts = False
        self.bill(0)

    def _check(self, accounts, expected_lines: list[Record] | None = None) -> None:
        with self.company.database.transaction(now=NOW) as uow:
            rated = uow.query(
                "SELECT r.*, l.id AS line_id, l.amount AS line_amount, l.description, "
                "sc.subscription_id, m.external_id AS meter "
                "FROM rated_charge r JOIN invoice_line l ON l.rated_charge_id = r.id "
                "JOIN subscription_charge sc ON sc.id = r.subscription_charge_id "
                "JOIN charge c ON c.id = sc.charge_id LEFT JOIN meter m ON m.id = c.meter_id "
                "ORDER BY r.id"
            )
            by_subscription = defaultdict(list)
            for row in rated:
                by_subscription[row["subscription_id"]].append(row)
            for agreement in self.agreements:
                if agreement.account in accounts:
                    self._check_agreement(agreement, by_subscription[agreement.record_id])
            self._check_documents(uow)
            new = [row for row in rated if row["line_id"] not in self.explained]
            if expected_lines is not None:
                assert sorted(_text(row) for row in expected_lines) == sorted(
                    _text({**row, "amount": row["line_amount"]}) for row in new
                )
            for row in new:
                self._check_amount(row)
            for row in [row for row in new if row["kind"] == "usage"][:5] + new[:3]:
                self._check_explanation(uow, row)
            self.explained |= {row["line_id"] for row in new}

    def _check_agreement(self, agreement: Agreement, rated: list[Record]) -> None:
        if agreement.kind == "usage":
            self._check_usage(agreement, rated)
            return
        wanted: dict[date, Decimal] = defaultdict(Decimal)
        if agreement.kind == "one_time":
            end = agreement.end
            if agreement.start <= self.today and (end is None or end > agreement.start):
                wanted[agreement.start] = Decimal(1)
        else:
            for part in agreement.parts:
                for *_, first, last in agreement.due(part, self.today):
                    for day in _days(first, last):
                        wanted[day] += part.quantity
        billed: dict[date, Decimal] = defaultdict(Decimal)
        for row in rated:
            sign = -1 if row["kind"] == "reversal" else 1
            for day in _days(row["service_start"], row["service_end"]):
                billed[day] += sign * row["quantity"]
        assert {d: q for d, q in billed.items() if q} == {d: q for d, q in wanted.items() if q}
        returned: dict[int, Decimal] = defaultdict(Decimal)
        for row in rated:
            if row["kind"] == "reversal":
                assert row["amount"] < 0
                returned[row["reverses_id"]] -= row["amount"]
        whole = {row["id"]: row["amount"] for row in rated}
        assert all(back <= whole[charge] for charge, back in returned.items())

    def _check_usage(self, agreement: Agreement, rated: list[Record]) -> None:
        part = agreement.parts[0]
        for meter in ("seconds", "calls"):
            wanted: dict[date, Decimal] = {}
            for start, _, first, last in agreement.due(part, self.today):
                inside = [
                    quantity
                    for at, quantity in agreement.events.values()
                    if local(agreement.account, first, 0) <= at < local(agreement.account, last, 0)
                ]
                wanted[start] = Decimal(
                    len(inside) if meter == "calls" else sum(-(-q // 60) for q in inside)
                )
            billed: dict[date, Decimal] = defaultdict(Decimal)
            exact: dict[date, Decimal] = defaultdict(Decimal)
            amounts: dict[tuple[date, date], list[Record]] = defaultdict(list)
            for row in rated:
                if row["meter"] == meter:
                    sign = -1 if row["kind"] == "reversal" else 1
                    billed[row["cycle_start"]] += sign * row["quantity"]
                    exact[row["cycle_start"]] += row["exact_amount"]
                    amounts[row["cycle_start"], row["service_start"]].append(row)
            for rows in amounts.values():
                self._check_rounding(rows)
            assert {c: q for c, q in billed.items() if q} == {c: q for c, q in wanted.items() if q}
            if meter == "seconds" and not any(row["kind"] == "reversal" for row in rated):
                for cycle, quantity in wanted.items():
                    assert exact[cycle] == half_up(cost(GRADUATED, Fraction(quantity)), 15)

    def _check_rounding(self, rows: list[Record]) -> None:
        """Late usage is rounded together with what it follows, so that parts add up."""
        if any(row["kind"] == "reversal" for row in rows):
            return
        digits = CURRENCIES[str(rows[0]["currency"])]
        exact = sum((Fraction(row["exact_amount"]) for row in rows), Fraction(0))
        assert sum(row["amount"] for row in rows) == half_up(exact, digits)

    def _check_documents(self, uow: UnitOfWork) -> None:
        invoices = uow.query("SELECT * FROM invoice ORDER BY id")
        lines = uow.query("SELECT * FROM invoice_line ORDER BY invoice_id, position")
        total: dict[object, Decimal] = defaultdict(Decimal)
        positions = defaultdict(list)
        for line in lines:
            total[line["invoice_id"]] += line["amount"]
            positions[line["invoice_id"]].append(line["position"])
        for invoice in invoices:
            assert invoice["total"] == total[invoice["id"]]
            assert (invoice["kind"] == "credit_note") == (invoice["total"] < 0)
            found = positions[invoice["id"]]
            assert found == list(range(1, len(found) + 1))
        final = {row["id"] for row in invoices if row["state"] == "final"}
        numbers = sorted(str(row["number"]) for row in invoices if row["id"] in final)
        credit_notes = sum(number.startswith("CN-") for number in numbers)
        assert numbers == [
            *(f"CN-{n:06}" for n in range(1, credit_notes + 1)),
            *(f"INV-{n:06}" for n in range(1, len(numbers) - credit_notes + 1)),
        ]
        hashes = {("invoice", row["id"]): _hash(row) for row in invoices if row["id"] in final}
        hashes |= {("line", row["id"]): _hash(row) for row in lines if row["invoice_id"] in final}
        assert self.final.items() <= hashes.items()
        self.final = hashes

    def _check_amount(self, row: Record) -> None:
        digits = CURRENCIES[str(row["currency"])]
        assert row["amount"] == row["line_amount"]
        if row["kind"] == "reversal":
            assert row["amount"] == round(row["amount"], digits)
            return
        steps = sum((Fraction(str(step["amount"])) for step in row["steps"]), Fraction(0))
        exact = steps * row["days"] / row["cycle_days"]
        assert row["exact_amount"] == half_up(exact, 15)
        if row["kind"] != "usage" or row["part"] == 0:
            assert row["amount"] == half_up(exact, digits)

    def _check_explanation(self, uow: UnitOfWork, row: Record) -> None:
        told = explain_line(uow, self.company.store, int(row["line_id"]))
        assert told.sentences
        if row["kind"] == "reversal":
            return
        assert [layer["price_id"] for layer in told.layers if layer["wins"]] == [row["price_id"]]
        if row["kind"] == "usage" and row["part"] == 0 and row["events"]:
            assert len(told.events) == row["events"]
            assert (
                half_up(sum((Fraction(e["exact_amount"]) for e in told.events), Fraction(0)), 15)
                == (row["exact_amount"])
            )


def _days(start: date, end: date) -> list[date]:
    return [start + n * DAY for n in range((end - start).days)]


def _text(line: Record) -> str:
    names = ("description", "service_start", "service_end", "quantity", "amount")
    return " ".join(
        f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)
        for value in (line[name] for name in names)
    )


def _hash(row: Record) -> str:
    return hashlib.sha256(repr(sorted(row.items(), key=str)).encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_whatever_happens_what_is_due_is_billed_once(server: Settings) -> None:
    run_state_machine_as_test(
        lambda: BillRuns(server),
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
