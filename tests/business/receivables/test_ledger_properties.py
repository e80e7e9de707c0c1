"""Whatever is billed, credited, debited, paid, allocated, refunded and written off, in any order:
debits are credits, nothing is used beyond its amount, nothing final changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.business.receivables.conftest import Ledger

from counterfoil.business.billing.credit_notes import (
    credit_invoice,
    debit_invoice,
    reissue_invoice,
    void_invoice,
)
from counterfoil.business.billing.crediting import CreditPart
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.one_off import OneOffLine, bill_one_off
from counterfoil.business.billing.reissuing import reissue_rated_again
from counterfoil.business.receivables.commands import (
    Credit,
    NewPayment,
    allocate_credit,
    apply_credits,
    record_payment,
    refund_credit,
    unallocate_credit,
    write_off_document,
)
from counterfoil.business.receivables.positions import EVER, read_credits, read_documents_due
from counterfoil.business.receivables.queries import (
    account_balance,
    account_statement,
    read_ageing,
)
from counterfoil.business.receivables.reversing import reverse_settlement
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

ASKED = Request(reason="as asked")
AMOUNTS = st.integers(1, 40_000).map(lambda cents: Decimal(cents).scaleb(-2))
MAYBE = st.none() | AMOUNTS
PICK = st.integers(0, 9)

_OVERDRAWN = """
SELECT o.id FROM rated_charge o JOIN rated_charge c ON c.reverses_id = o.id
WHERE o.amount <> 0 GROUP BY o.id, o.amount
HAVING abs(sum(c.amount)) > abs(o.amount) OR sign(sum(c.amount)) = sign(o.amount)
"""
_FINAL = """
SELECT i.id, i.number, i.total, i.kind, i.row_version,
       (SELECT sum(l.amount) FROM invoice_line l WHERE l.invoice_id = i.id) AS lines
FROM invoice i WHERE i.state = 'final' ORDER BY i.id
"""


class Books(RuleBasedStateMachine):
    """One account; ``ledger`` is put in before the machine runs, a new account for each run."""

    ledger: Ledger
    runs = 0
    overdrawn = _OVERDRAWN

    def __init__(self) -> None:
        super().__init__()
        Books.runs += 1
        self.account = f"A{Books.runs}"
        self.month = 0
        self.account_id = self.ledger.open_account(self.account)
        self.ledger.subscribe(f"S{self.account}", self.account, "rooms", date(2024, 1, 1))
        self.seen: dict[int, Record] = {}
        self.bill()

    @contextmanager
    def attempt(self) -> Iterator[UnitOfWork]:
        """A refusal is lawful; nothing may have changed then."""
        try:
            with self.ledger.database.transaction(now=self.ledger.now) as uow:
                yield uow
        except Refused:
            pass

    def document(self, uow: UnitOfWork, pick: int) -> int:
        rows = read_documents_due(uow, [self.account_id])
        return int(rows[pick % len(rows)]["id"]) if rows else 0

    def credit_of(self, uow: UnitOfWork, pick: int) -> Credit:
        rows = read_credits(uow, [self.account_id])
        if not rows:
            return Credit()
        row = rows[pick % len(rows)]
        return Credit(payment=row["payment_id"], credit_note=row["credit_note_id"])

    @rule()
    def bill(self) -> None:
        self.month = min(self.month + 1, 12)
        self.ledger.bill(date(2024, self.month, 1), accounts=[self.account_id])
        assert self.ledger.bill(date(2024, self.month, 1), accounts=[self.account_id]).lines == 0

    @rule(pick=PICK, amount=MAYBE)
    def credit(self, pick: int, amount: Decimal | None) -> None:
        with self.attempt() as uow:
            credit_invoice(uow, self.document(uow, pick), ASKED, amount=amount)

    @rule(pick=PICK, first=st.integers(1, 28), days=st.integers(1, 20))
    def credit_days(self, pick: int, first: int, days: int) -> None:
        with self.attempt() as uow:
            invoice = self.document(uow, pick)
            line: Any = uow.find("invoice_line", invoice_id=invoice)
            start = line["service_start"].replace(day=first) if line else date(2024, 1, first)
            end = date.fromordinal(start.toordinal() + days)
            part = CreditPart(position=1, start=start, end=end)
            credit_invoice(uow, invoice, ASKED, parts=[part])

    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        with self.attempt() as uow:
            void_invoice(uow, self.document(uow, pick), ASKED)

    @rule(pick=PICK)
    def reissue(self, pick: int) -> None:
        with self.attempt() as uow:
            reissue_invoice(uow, self.document(uow, pick), ASKED)

    @rule(pick=PICK)
    def reissue_rated_again(self, pick: int) -> None:
        with self.attempt() as uow:
            reissue_rated_again(uow, self.ledger.store, self.document(uow, pick), ASKED)

    @rule(amount=AMOUNTS)
    def bill_by_hand(self, amount: Decimal) -> None:
        with self.attempt() as uow:
            line = OneOffLine(description="Work", unit_amount=amount)
            bill_one_off(uow, self.account, [line], ASKED)

    @rule(pick=PICK, amount=AMOUNTS)
    def debit(self, pick: int, amount: Decimal) -> None:
        with self.attempt() as uow:
            debit_invoice(uow, self.document(uow, pick), ASKED, amount=amount)

    @rule(amount=AMOUNTS, allocate=st.booleans())
    def pay(self, amount: Decimal, allocate: bool) -> None:
        with self.attempt() as uow:
            payment = NewPayment(account=self.account, amount=amount)
            record_payment(uow, payment, allocate=allocate)

    @rule(pick=PICK)
    def allocate(self, pick: int) -> None:
        with self.attempt() as uow:
            allocate_credit(uow, self.credit_of(uow, pick))

    @rule()
    def apply(self) -> None:
        with self.attempt() as uow:
            apply_credits(uow, [self.account_id])
            assert apply_credits(uow, [self.account_id]) == 0

    @rule(pick=PICK)
    def unallocate(self, pick: int) -> None:
        with self.attempt() as uow:
            unallocate_credit(uow, self.credit_of(uow, pick))

    @rule(pick=PICK, amount=MAYBE)
    def refund(self, pick: int, amount: Decimal | None) -> None:
        with self.attempt() as uow:
            refund_credit(uow, self.credit_of(uow, pick), amount)

    @rule(pick=PICK, amount=MAYBE)
    def write_off(self, pick: int, amount: Decimal | None) -> None:
        with self.attempt() as uow:
            write_off_document(uow, self.document(uow, pick), "bankrupt", amount)

    @rule(pick=PICK, kind=st.sampled_from(("payment", "refund", "write_off")))
    def reverse(self, pick: int, kind: str) -> None:
        with self.attempt() as uow:
            rows = uow.query(
                f"SELECT id FROM {kind} WHERE account_id = :account ORDER BY id",
                account=self.account_id,
            )
            if rows:
                reverse_settlement(uow, kind, int(rows[pick % len(rows)]["id"]), "bounced")

    @invariant()
    def debits_are_credits(self) -> None:
        with self.ledger.work() as uow:
            balance = account_balance(uow, self.account)
            statement = account_statement(uow, self.account, date(2000, 1, 1), EVER)
            aged = read_ageing(uow, EVER, [self.account_id]).totals
        assert balance.balance == statement.closing
        assert sum(row["balance"] for row in aged) == balance.balance

    @invariant()
    def nothing_is_used_beyond_its_amount(self) -> None:
        with self.ledger.work() as uow:
            documents = read_documents_due(uow, [self.account_id])
            credits_left = read_credits(uow, [self.account_id])
            overdrawn = uow.query(self.overdrawn)
        assert all(0 <= row["open"] <= row["total"] for row in documents)
        assert all(0 <= row["remaining"] <= row["amount"] for row in credits_left)
        assert overdrawn == []

    @invariant()
    def nothing_final_changes(self) -> None:
        with self.ledger.work() as uow:
            now = {int(row["id"]): row for row in uow.query(_FINAL)}
        assert all(row["total"] == row["lines"] for row in now.values())
        assert {number: now[number] for number in self.seen} == self.seen
        self.seen = now


def test_the_books_balance_whatever_happens(ledger: Ledger) -> None:
    Books.ledger = ledger
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=6,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


pytestmark = pytest.mark.timeout(300)
