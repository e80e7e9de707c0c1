"""A document voided and billed anew, rated again with today's prices, service and usage.

The cycles it billed, or gave service back of, are rated by the statements of re-rating: what is in
force of them is taken back on a credit note that voids the document, what they cost now stands on a
new one. What is no cycle of its own (true-ups, lines by hand) is billed again as it was, and so are
cycles of which something was credited or debited by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

import pyarrow as pa

from counterfoil.business.billing.bills import Bills, exclude_drafts, make_documents
from counterfoil.business.billing.commands import BatchOrder, lock_accounts, save_bills
from counterfoil.business.billing.credit_notes import (
    billed_line,
    correctable,
    correcting,
    credit_line,
    read_billed_lines,
    reissue_invoice,
    reissued_line,
)
from counterfoil.business.billing.crediting import Share, credit_rest
from counterfoil.business.billing.finalizing import finalize_drafts
from counterfoil.business.billing.loading import load_line_names, load_profiles
from counterfoil.business.billing.manual_documents import (
    ManualLine,
    Request,
    add_lines,
    day_of,
    made_before,
    profile_snapshot,
    save_document,
)
from counterfoil.business.billing.moving import arrange_lines
from counterfoil.business.billing.rerating import (
    ADJUSTMENTS,
    COMPARED,
    DIFFERENCES,
    IN_PLACE,
    TAKEN_BACK,
    discounts_anew,
    load_numbers,
)
from counterfoil.business.billing.window import BILLED, Window, rate_window
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.exact_json import encode_json
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Reissued:
    """The credit note that voids a document, the new document, None when nothing is left to bill,
    and the cycles rated again: account, subscription, product, charge, cycle_start, cycle_end,
    billed before discounts, now, difference."""

    credit_note: Record
    invoice: Record | None
    differences: list[Record]


# What a re-rating took back stands on another document, and what a person decided stays. What was
# given back of another account's document is no matter of this one.
_CYCLES = """
SELECT DISTINCT r.subscription_charge_id, r.cycle_start, r.cycle_end FROM rated_charge r
LEFT JOIN rated_charge b ON b.id = r.reverses_id
LEFT JOIN invoice o ON o.id = b.invoice_id
WHERE r.invoice_id = :invoice AND r.subscription_charge_id IS NOT NULL
  AND (r.kind IN ('one_time', 'recurring', 'usage')
       OR r.kind = 'reversal'
          AND o.account_id = (SELECT i.account_id FROM invoice i WHERE i.id = :invoice))
  AND NOT EXISTS (SELECT 1 FROM rated_charge h
                  WHERE h.subscription_charge_id = r.subscription_charge_id
                    AND h.cycle_start = r.cycle_start AND h.kind IN ('credit', 'debit'))
  AND NOT EXISTS (SELECT 1 FROM rated_charge a
                  WHERE a.reverses_id IN (r.id, r.reverses_id) AND a.kind = 'adjustment')
"""

_CHOSEN = (
    "(subscription_charge_id, cycle_start) IN "
    "(SELECT (subscription_charge_id, cycle_start) FROM chosen)"
)

_PARTS = """
UPDATE charged SET billed_account_id = {account},
       bill_part = CASE WHEN kind = 'adjustment' THEN 'credit' ELSE 'new' END
"""


def reissue_rated_again(
    uow: UnitOfWork, store: UsageStore, invoice: str | int, request: Request
) -> Reissued:
    """Void a document (number or id) and bill it anew, to who is billed today.

    Asked again, it answers with the same documents. Refuses (404) an unknown document, (409) a
    draft, a credit note, one that was voided, an account with an open draft, and what cannot be
    rated, such as a charge without a price.
    """
    original = correctable(uow, invoice)
    account = int(str(original["account_id"]))
    rows = uow.query(
        "SELECT account_id FROM merged_account WHERE invoice_id = :id", id=original["id"]
    )
    accounts = [account, *(int(row["account_id"]) for row in rows)]
    lock_accounts(uow, accounts)
    which = {"corrects_id": original["id"], "correction": "reissue"}
    request = correcting(request, original, "reissue")
    again = made_before(uow, request, account) or uow.find("invoice", **which)
    note = uow.find("invoice", corrects_id=original["id"], correction="void")
    if again is not None and note is not None:
        return Reissued(note, again, [])
    if note is not None:
        raise Refused(Problem("nothing_left", "it has been voided before", "invoice"), 409)
    cycles = uow.read_arrow(_CYCLES, invoice=original["id"])
    if cycles.num_rows == 0:
        made = reissue_invoice(uow, int(str(original["id"])), request)
        void = uow.find("invoice", corrects_id=original["id"], correction="void")
        return Reissued(cast("Record", void), made, [])
    on = day_of(uow, request, cast("Record", original["snapshot"]), original)
    rated = _rate(uow, store, accounts, cycles, on)
    return _Documents(uow, original, request, on).make(rated)


@dataclass(frozen=True, slots=True)
class _Rated:
    """What the cycles come to: taken back, and anew."""

    bills: Bills
    differences: list[Record]
    cycles: set[tuple[int, date]]


def _rate(
    uow: UnitOfWork, store: UsageStore, accounts: Sequence[int], cycles: pa.Table, on: date
) -> _Rated:
    window = Window(
        min(cycles.column("cycle_start").to_pylist()), max(cycles.column("cycle_end").to_pylist())
    )
    with small_engine() as engine:
        engine.register("chosen", cycles)
        rate_window(
            uow, engine, store, accounts, window, today=uow.now.date(), items=_CHOSEN + BILLED
        )
        engine.run(f"CREATE TABLE difference AS {COMPARED}")
        engine.run(IN_PLACE)
        engine.run("DELETE FROM charged WHERE adjustment_no IS NULL")
        engine.register("corrected", load_numbers(uow, engine))
        engine.run(TAKEN_BACK.format(which="true"))
        discounts_anew(engine)
        engine.run(_PARTS.format(account=accounts[0]))
        profiles = load_profiles(uow, accounts[:1])
        place = profiles.column_names.index("split_by")
        whole = profiles.set_column(place, "split_by", pa.array(["none"], pa.string()))
        engine.register("profile", whole)
        exclude_drafts(uow, engine, accounts)
        bills = make_documents(uow, engine, on)
        _refuse_problems(bills)
        found = engine.rows("SELECT subscription_charge_id, cycle_start FROM difference")
        engine.register("name", load_line_names(uow, [int(row[0]) for row in found]))
        return _Rated(
            replace(
                bills,
                adjustments=engine.arrow(ADJUSTMENTS),
                billed_through=bills.billed_through.slice(0, 0),
            ),
            [_rounded(row) for row in engine.records(DIFFERENCES)],
            {(int(row[0]), row[1]) for row in found},
        )


def _refuse_problems(bills: Bills) -> None:
    problems = [
        Problem(str(row["code"]), str(row["message"]), "invoice")
        for row in bills.problems.to_pylist()
    ]
    if problems:
        raise Refused(problems, 409)


def _rounded(row: Record) -> Record:
    digits = exponent(str(row["currency"]))
    sums = ("billed", "now", "difference")
    return row | {name: round_half_up(cast("Decimal", row[name]), digits) for name in sums}


@dataclass(frozen=True, slots=True)
class _Documents:
    """The two documents to be made of an original."""

    uow: UnitOfWork
    original: Record
    request: Request
    on: date

    def make(self, rated: _Rated) -> Reissued:
        """Store both, with what is billed again as it was."""
        uow, account = self.uow, int(str(self.original["account_id"]))
        run = self._run()
        bills = replace(rated.bills, invoices=self._heads(rated.bills.invoices))
        order = BatchOrder((account,), self.on, run, 0, finalize=False, now=uow.now, threads=None)
        save_bills(uow, bills, order)
        made = {
            row["correction"]: int(row["id"])
            for row in uow.query(
                "SELECT id, correction FROM invoice WHERE bill_run_id = :run", run=run
            )
        }
        note, new = made.get("void"), made.get("reissue")
        credited, copied, draws = self._rest(rated.cycles)
        note = self._with(note, "void", credited, run)
        new = self._with(new, "reissue", copied, run)
        new = self._with(new, "reissue", self._drawn(new, draws), run)
        if note is None:
            message = "all of it has been credited before"
            raise Refused(Problem("nothing_left", message, "invoice"), 409)
        final = [one for one in (note, new if self.request.finalize else None) if one is not None]
        finalize_drafts(uow, final)
        return Reissued(
            uow.get("invoice", note),
            None if new is None else uow.get("invoice", new),
            rated.differences,
        )

    def _run(self) -> int:
        values = {
            "billing_date": self.on,
            "purpose": "rerating",
            "finalize": self.request.finalize,
            "state": "finished",
            "finished_at": self.uow.now,
            "invoices": 2,
        }
        return int(str(self.uow.create("bill_run", values, by_command=True)["id"]))

    def _head(self, correction: str) -> Record:
        """What a document says of itself, beside its amounts."""
        original = self.original
        snapshot = cast("Record", original["snapshot"])
        terms = 0
        if correction == "reissue":
            snapshot = profile_snapshot(self.uow, int(str(original["account_id"])))[1]
            terms = int(str(snapshot.get("payment_terms_days") or 0))
        corrects = {"number": original["number"], "date": str(original["invoice_date"])}
        ordered = original["purchase_order"]
        return {
            "corrects_id": original["id"],
            "correction": correction,
            "reason": self.request.reason,
            **(self.request if correction == "reissue" else Request()).kept(),
            "invoice_date": self.on,
            "due_date": self.on + timedelta(days=terms),
            "site_id": original["site_id"],
            "purchase_order": ordered,
            "snapshot": {
                **snapshot,
                "purchase_order": ordered,
                "corrects": corrects,
                "reason": self.request.reason,
            },
        }

    def _heads(self, invoices: pa.Table) -> pa.Table:
        """The documents of the computation: first what is taken back, then what is new."""
        rows = []
        for row, correction in zip(invoices.to_pylist(), ("void", "reissue"), strict=False):
            head = self._head(correction)
            documents = {name: encode_json(head[name]) for name in ("snapshot", "asked_for")}
            rows.append({**row, **head, **documents})
        more = {
            "corrects_id": pa.int64(),
            "correction": pa.string(),
            "reason": pa.string(),
            "request_key": pa.string(),
            "asked_for": pa.string(),
        }
        schema = invoices.schema
        for name, kind in more.items():
            schema = schema.append(pa.field(name, kind))
        return pa.Table.from_pylist(rows, schema)

    def _rest(
        self, cycles: set[tuple[int, date]]
    ) -> tuple[list[ManualLine], list[ManualLine], list[Share]]:
        """Lines that are credited as billed, the same billed again, what prepaid balances paid."""
        rows = read_billed_lines(self.uow, self.original)
        rest = [
            billed_line(row)
            for row in rows.values()
            if (row["subscription_charge_id"], row["cycle_start"]) not in cycles
        ]
        shares = credit_rest(rest)
        lines = [credit_line(rows[one.line.position], one, self.original) for one in shares]
        draws = [one for one in shares if one.line.kind == "prepaid"]
        copied = [self._copy(rows, one, one.amount) for one in shares if one not in draws]
        return lines, copied, draws

    def _copy(self, rows: dict[int, Record], share: Share, amount: Decimal) -> ManualLine:
        row = rows[share.line.position]
        taken = {
            "amount": amount,
            "quantity": share.quantity,
            "prepaid_grant_id": row["prepaid_grant_id"],
            "steps": row["steps"],
        }
        return reissued_line(row, taken, self.original)

    def _drawn(self, new: int | None, draws: Sequence[Share]) -> list[ManualLine]:
        """The same prepaid balances pay the new document, at most what they paid before."""
        if new is None:
            return []
        left = max(cast("Decimal", self.uow.get("invoice", new)["total"]), Decimal(0))
        rows = read_billed_lines(self.uow, self.original) if draws else {}
        lines = []
        for share in draws:
            drawn = min(-share.amount, left)
            left -= drawn
            if drawn:
                lines.append(self._copy(rows, share, -drawn))
        return lines

    def _with(
        self, document: int | None, correction: str, lines: Sequence[ManualLine], run: int
    ) -> int | None:
        """The document (id) with further lines; made for them when there is none yet."""
        if not lines:
            return document
        currency = str(self.original["currency"])
        if document is None:
            kind = "credit_note" if correction == "void" else "invoice"
            account = self.original["account_id"]
            head = {"kind": kind, "account_id": account, "bill_run_id": run, "currency": currency}
            made = save_document(
                self.uow, {**head, **self._head(correction)}, lines, finalize=False
            )
            return int(str(made["id"]))
        add_lines(self.uow, document, currency, lines)
        arrange_lines(self.uow, [document])
        return document
