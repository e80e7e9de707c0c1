"""Read models of receivables: balance, statement of account, ageing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from counterfoil.business.receivables.positions import (
    EVER,
    POSITIONS,
    read_credits,
    read_documents_due,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

BANDS = ("current", "days_1_30", "days_31_60", "days_61_90", "over_90")
"""How long documents are overdue."""

_MOVEMENTS = """
SELECT * FROM (
    SELECT i.account_id, i.currency, i.invoice_date AS day, i.kind AS entry, i.number AS name,
           i.total AS amount, 0 AS place, i.id
    FROM invoice i WHERE i.state = 'final'
    UNION ALL
    SELECT account_id, currency, received_on, 'payment', coalesce(reference, 'payment ' || id),
           -amount, 1, id FROM payment
    UNION ALL
    SELECT account_id, currency, refunded_on, 'refund', coalesce(reference, 'refund ' || id),
           amount, 2, id FROM refund
    UNION ALL
    SELECT w.account_id, i.currency, w.written_off_on, 'write_off', i.number, -w.amount, 3, w.id
    FROM write_off w JOIN invoice i ON i.id = w.invoice_id
    UNION ALL
    SELECT v.account_id, coalesce(p.currency, r.currency, i.currency), v.reversed_on,
           CASE WHEN p.id > 0 THEN 'payment_reversed' WHEN r.id > 0 THEN 'refund_reversed'
                ELSE 'write_off_reversed' END,
           coalesce(p.reference, 'payment ' || p.id, r.reference, 'refund ' || r.id, i.number),
           CASE WHEN r.id > 0 THEN -v.amount ELSE v.amount END, 4, v.id
    FROM settlement_reversal v
    LEFT JOIN payment p ON p.id = v.payment_id
    LEFT JOIN refund r ON r.id = v.refund_id
    LEFT JOIN write_off w ON w.id = v.write_off_id
    LEFT JOIN invoice i ON i.id = w.invoice_id
) m
"""
"""Everything that changes what an account owes; allocations do not."""

_OF_ACCOUNT = f"""
SELECT * FROM ({_MOVEMENTS}) m WHERE account_id = :account AND day < :end
ORDER BY currency, day, place, id
"""

_AGEING = f"""
WITH {POSITIONS}, piece AS (
    SELECT account_id, currency, open AS amount,
           CASE WHEN CAST(:as_of AS date) <= due_date THEN 'current'
                WHEN CAST(:as_of AS date) - due_date <= 30 THEN 'days_1_30'
                WHEN CAST(:as_of AS date) - due_date <= 60 THEN 'days_31_60'
                WHEN CAST(:as_of AS date) - due_date <= 90 THEN 'days_61_90'
                ELSE 'over_90' END AS band
    FROM document WHERE open <> 0
    UNION ALL
    SELECT account_id, currency, -remaining, 'credit' FROM credit WHERE remaining <> 0
)
SELECT a.external_id AS account, a.name AS account_name, p.currency,
       {", ".join(f"coalesce(sum(amount) FILTER (WHERE band = '{b}'), 0) AS {b}" for b in BANDS)},
       coalesce(sum(amount) FILTER (WHERE band = 'credit'), 0) AS credit, sum(amount) AS balance
FROM piece p JOIN account a ON a.id = p.account_id
GROUP BY a.id, a.external_id, a.name, p.currency ORDER BY a.external_id, p.currency
"""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account owes: ``balance`` is what is open of its documents less its credit.

    ``documents`` are those that are not settled, oldest due first; ``credits`` the payments and
    credit notes of which something remains, in the order in which they are used.
    """

    account: str
    currency: str | None
    open: Decimal
    credit: Decimal
    balance: Decimal
    documents: list[Record]
    credits: list[Record]


@dataclass(frozen=True, slots=True)
class Statement:
    """What an account owed at the start of a period, what changed it, and what it owed at the end.

    ``entries`` have day, entry (invoice, credit_note, debit_note, payment, refund, write_off, and
    payment_reversed, refund_reversed, write_off_reversed), name, debit, credit and the balance
    after it. ``end`` is the first day not in it.
    """

    account: str
    account_name: str
    currency: str | None
    start: date
    end: date
    opening: Decimal
    entries: list[Record]
    closing: Decimal


@dataclass(frozen=True, slots=True)
class Ageing:
    """What accounts owe as of a day, by how long it is overdue; ``totals`` by currency.

    Rows have account, account_name, currency, the bands, credit (not allocated, below 0) and
    balance.
    """

    as_of: date
    accounts: list[Record]
    totals: list[Record]


def account_balance(uow: UnitOfWork, account: str, *, as_of: date = EVER) -> Balance:
    """What an account (external id) owes as of the end of a day; refuses (404) an unknown one."""
    found = _account(uow, account)
    ids = [int(str(found["id"]))]
    documents = [
        row for row in read_documents_due(uow, ids, as_of=as_of) if row["open"] != Decimal(0)
    ]
    credits_left = [row for row in read_credits(uow, ids, as_of=as_of) if row["remaining"]]
    is_open = sum((row["open"] for row in documents), Decimal(0))
    credit = sum((row["remaining"] for row in credits_left), Decimal(0))
    return Balance(
        account,
        _currency(uow, ids[0]),
        is_open,
        credit,
        is_open - credit,
        [_without(row, "account_id", "released") for row in documents],
        [_without(row, "account_id", "released", "credit_id") for row in credits_left],
    )


def account_statement(uow: UnitOfWork, account: str, start: date, end: date) -> Statement:
    """The statement of an account (external id) for the days from ``start`` to before ``end``."""
    if end <= start:
        message = f"the first day after the period must come after {start}"
        raise Refused(Problem("ends_before_start", message, "end"))
    found = _account(uow, account)
    movements = uow.query(_OF_ACCOUNT, account=found["id"], end=end)
    opening = sum((row["amount"] for row in movements if row["day"] < start), Decimal(0))
    balance, entries = opening, []
    for row in movements:
        if row["day"] < start:
            continue
        amount = row["amount"]
        balance += amount
        entries.append(
            {
                "day": row["day"],
                "entry": row["entry"],
                "name": row["name"],
                "debit": max(amount, Decimal(0)),
                "credit": max(-amount, Decimal(0)),
                "balance": balance,
            }
        )
    currency = _currency(uow, int(str(found["id"])))
    return Statement(account, str(found["name"]), currency, start, end, opening, entries, balance)


def read_ageing(uow: UnitOfWork, as_of: date, accounts: Sequence[int] | None = None) -> Ageing:
    """What accounts (ids, None: all) owe as of the end of a day, in one statement."""
    given = None if accounts is None else list(accounts)
    rows = uow.query(_AGEING, accounts=given, as_of=as_of)
    totals: dict[str, Record] = {}
    for row in rows:
        total = totals.setdefault(
            str(row["currency"]),
            {"currency": row["currency"]}
            | dict.fromkeys((*BANDS, "credit", "balance"), Decimal(0)),
        )
        for name in (*BANDS, "credit", "balance"):
            total[name] += row[name]
    return Ageing(as_of, rows, [totals[currency] for currency in sorted(totals)])


_SETTLED = """
SELECT i.id, coalesce(sum(x.amount) FILTER (WHERE x.what = 'paid'), 0) AS paid,
       coalesce(sum(x.amount) FILTER (WHERE x.what = 'credited'), 0) AS credited,
       coalesce(sum(x.amount) FILTER (WHERE x.what = 'written_off'), 0) AS written_off,
       i.total - coalesce(sum(x.amount), 0) AS open
FROM invoice i
LEFT JOIN (
    SELECT invoice_id, amount, CASE WHEN payment_id > 0 THEN 'paid' ELSE 'credited' END AS what
    FROM allocation WHERE invoice_id = ANY(:ids) AND allocated_on <= :as_of
    UNION ALL
    SELECT w.invoice_id, w.amount, 'written_off' FROM write_off w
    WHERE w.invoice_id = ANY(:ids) AND w.written_off_on <= :as_of
      AND NOT EXISTS (SELECT 1 FROM settlement_reversal v
                      WHERE v.write_off_id = w.id AND v.reversed_on <= :as_of)) x
  ON x.invoice_id = i.id
WHERE i.id = ANY(:ids) AND i.state = 'final' AND i.total > 0
GROUP BY i.id
"""


def read_settlements(uow: UnitOfWork, invoices: Sequence[int], as_of: date) -> dict[int, Record]:
    """What was paid, credited and written off of invoices (ids) by the end of a day, and what is
    open: by id; nothing for drafts and for documents that nobody has to pay."""
    rows = uow.query(_SETTLED, ids=list(invoices), as_of=as_of)
    return {int(row.pop("id")): {**row, "as_of": as_of} for row in rows}


def _account(uow: UnitOfWork, external_id: str) -> Record:
    found = uow.find("account", external_id=external_id)
    if found is None:
        message = f"there is no account {external_id!r}"
        raise Refused(Problem("unknown_account", message, "account"), 404)
    return found


def _currency(uow: UnitOfWork, account_id: int) -> str | None:
    profile = uow.find("billing_profile", account_id=account_id)
    return None if profile is None else str(profile["currency"])


def _without(row: Record, *names: str) -> Record:
    return {name: value for name, value in row.items() if name not in names}
