"""Payments recorded, allocated, taken back from a document, refunded; documents written off.

The account is locked first, so that whoever settles, bills or credits it waits for one another,
and no document or payment is ever used beyond its amount.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.commands import lock_accounts
from counterfoil.business.billing.manual_documents import check_places, final_document
from counterfoil.business.billing.request_keys import find_made, kept_of_request
from counterfoil.business.receivables.positions import (
    EVER,
    OLDEST_FIRST,
    TO_THE_CORRECTED,
    read_credits,
    read_documents_due,
    today_of,
)
from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Chosen:
    """A document to be paid (number or id), and how much of it: all that is open when None."""

    document: str | int
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayment:
    """Money that came in. ``account`` is an external id; ``received_on`` is today there when None,
    ``currency`` that of the account. ``key`` names the request: repeated, it adds nothing."""

    account: str
    amount: Decimal
    received_on: date | None = None
    currency: str | None = None
    method: str = "transfer"
    reference: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Credit:
    """What allocations and refunds are made of: a payment (id) or a credit note (number or id)."""

    payment: int | None = None
    credit_note: str | int | None = None


def record_payment(
    uow: UnitOfWork,
    payment: NewPayment,
    *,
    chosen: Sequence[Chosen] = (),
    allocate: bool = True,
) -> Record:
    """Record a payment and allocate it to the chosen documents, or else to the oldest due first.

    What is left is to the account's credit, as is all of it without ``allocate``. Refuses (404) an
    unknown account, (422) an account that is never invoiced, another currency or no amount.
    """
    account = uow.find("account", external_id=payment.account)
    if account is None:
        message = f"there is no account {payment.account!r}"
        raise Refused(Problem("unknown_account", message, "account"), 404)
    account_id = int(account["id"])
    lock_accounts(uow, [account_id])
    row = _payment_row(uow, payment, account_id)
    kept = kept_of_request(
        payment.key,
        account=payment.account,
        amount=payment.amount,
        received_on=payment.received_on,
        currency=row["currency"],
        method=payment.method,
        reference=payment.reference,
        allocations=list(chosen) or allocate,
    )
    earlier = find_made(uow, "payment", kept)
    if earlier is not None:
        return earlier
    made = uow.create("payment", row | kept, by_command=True)
    credit = Credit(payment=int(made["id"]))
    if chosen:
        _allocate_chosen(uow, account_id, credit, chosen)
    elif allocate:
        _allocate_oldest(uow, [account_id], credit)
    return made


def allocate_credit(uow: UnitOfWork, credit: Credit, chosen: Sequence[Chosen] = ()) -> list[Record]:
    """Allocate what remains of a payment or credit note, to chosen documents or the oldest due
    first; answers with the allocations. Refuses (404) what is unknown, (409) more than there is."""
    account_id, credit = _locked_credit(uow, credit)
    if chosen:
        return _allocate_chosen(uow, account_id, credit, chosen)
    return _allocate_oldest(uow, [account_id], credit)


_NET = """
SELECT account_id, invoice_id, payment_id, credit_note_id, sum(amount) AS amount,
       max(allocated_on) AS last
FROM allocation
WHERE (payment_id = :payment OR credit_note_id = :credit_note)
  AND (CAST(:invoice AS bigint) IS NULL OR invoice_id = :invoice)
GROUP BY 1, 2, 3, 4 HAVING sum(amount) > 0 ORDER BY 2
"""


def unallocate_credit(
    uow: UnitOfWork, credit: Credit, document: str | int | None = None
) -> list[Record]:
    """Undo what a payment or credit note pays, of one document or of all; it is to the account's
    credit again. Answers with what was undone; asked again, with nothing."""
    account_id, credit = _locked_credit(uow, credit)
    invoice = None if document is None else int(final_document(uow, document)[0]["id"])
    rows = uow.query(_NET, payment=credit.payment, credit_note=credit.credit_note, invoice=invoice)
    today = today_of(uow, account_id)
    undone = [
        {
            **{name: value for name, value in row.items() if name != "last"},
            "amount": -row["amount"],
            "allocated_on": max(today, row["last"]),
        }
        for row in rows
    ]
    uow.create_many("allocation", undone, by_command=True)
    return undone


def refund_credit(
    uow: UnitOfWork,
    credit: Credit,
    amount: Decimal | None = None,
    *,
    method: str = "transfer",
    reference: str | None = None,
    reason: str | None = None,
    key: str | None = None,
) -> Record:
    """Pay back what remains of a payment or credit note, or an amount of it; answers with the
    refund. Refuses (409) more than remains: unallocate first what pays a document."""
    account_id, credit = _locked_credit(uow, credit)
    kept = kept_of_request(
        key,
        payment=credit.payment,
        credit_note=credit.credit_note,
        amount=amount,
        method=method,
        reference=reference,
        reason=reason,
    )
    earlier = find_made(uow, "refund", kept)
    if earlier is not None:
        return earlier
    position = _position(uow, account_id, credit)
    wanted = _demanded(amount, position["remaining"], position["currency"], "is left of it")
    row = {
        "account_id": account_id,
        "payment_id": credit.payment,
        "credit_note_id": credit.credit_note,
        "refunded_on": max(today_of(uow, account_id), position["day"]),
        "amount": wanted,
        "currency": position["currency"],
        "method": method,
        "reference": reference,
        "reason": reason,
        **kept,
    }
    return uow.create("refund", row, by_command=True)


def write_off_document(
    uow: UnitOfWork,
    document: str | int,
    reason: str,
    amount: Decimal | None = None,
    *,
    key: str | None = None,
) -> Record:
    """Give up what is open of a document, or an amount of it; answers with the write-off.

    Refuses (404) an unknown document, (409) a draft, a credit note, or more than is open.
    """
    invoice, _ = final_document(uow, document)
    account_id = int(invoice["account_id"])
    lock_accounts(uow, [account_id])
    kept = kept_of_request(key, document=invoice["number"], amount=amount, reason=reason)
    earlier = find_made(uow, "write_off", kept)
    if earlier is not None:
        return earlier
    found = read_documents_due(uow, [account_id], ids=[int(invoice["id"])])
    is_open = found[0]["open"] if found else Decimal(0)
    wanted = _demanded(amount, is_open, str(invoice["currency"]), "is open")
    row = {
        "account_id": account_id,
        "invoice_id": invoice["id"],
        "written_off_on": max(today_of(uow, account_id), cast("date", invoice["invoice_date"])),
        "amount": wanted,
        "reason": reason,
        **kept,
    }
    return uow.create("write_off", row, by_command=True)


_WITH_CREDIT = """
SELECT account_id FROM payment
WHERE CAST(:accounts AS bigint[]) IS NULL OR account_id = ANY(:accounts)
UNION
SELECT account_id FROM invoice
WHERE state = 'final' AND total < 0
  AND (CAST(:accounts AS bigint[]) IS NULL OR account_id = ANY(:accounts))
"""


def apply_credits(uow: UnitOfWork, accounts: Sequence[int] | None = None) -> int:
    """Let credit balances pay what was billed since; how many allocations that made.

    Credit notes pay the document they correct first. Then documents are paid, the oldest due
    first: by credit notes, then by payments, each the oldest first. What was unallocated by hand
    stays so, and so does a credit note of what was written off: it waits for a person, who reverses
    the write-off. Two statements, whatever the number of
    ``accounts`` (ids, None: all); doing it again adds nothing.
    """
    given = None if accounts is None else list(accounts)
    rows = uow.query(_WITH_CREDIT, accounts=given)
    found = sorted(int(row["account_id"]) for row in rows)
    if not found:
        return 0
    lock_accounts(uow, found)
    parameters = {"accounts": found, "as_of": EVER, "now": uow.now}
    corrected = uow.query(TO_THE_CORRECTED, **parameters)
    uow.create_many("allocation", corrected, by_command=True)
    return len(corrected) + len(_allocate_oldest(uow, found, Credit(), untouched=True))


# A run that was killed before this left its documents to the one that is made again for its day.
_OF_RUN = """
SELECT DISTINCT i.account_id FROM invoice i JOIN bill_run r ON r.id = i.bill_run_id
JOIN bill_run given ON given.billing_date = r.billing_date
WHERE given.id = :run AND i.state = 'final'
"""


def apply_to_bill_run(uow: UnitOfWork, bill_run_id: int) -> int:
    """:func:`apply_credits` for the accounts that a bill run, or one of the same day, made final
    documents for."""
    rows = uow.query(_OF_RUN, run=bill_run_id)
    return apply_credits(uow, [int(row["account_id"]) for row in rows])


def _payment_row(uow: UnitOfWork, payment: NewPayment, account_id: int) -> Record:
    profile = uow.find("billing_profile", account_id=account_id)
    if profile is None:
        message = f"account {payment.account!r} has no billing profile: it is never invoiced"
        raise Refused(Problem("not_billed", message, "account"))
    currency = str(profile["currency"])
    if payment.currency not in (None, currency):
        message = f"account {payment.account!r} is billed in {currency}"
        raise Refused(Problem("other_currency", message, "currency", (currency,)))
    if payment.amount <= 0:
        raise Refused(Problem("too_small", "must be above 0", "amount"))
    check_places(payment.amount, currency, "amount")
    return {
        "account_id": account_id,
        "received_on": payment.received_on or today_of(uow, account_id),
        "amount": payment.amount,
        "currency": currency,
        "method": payment.method,
        "reference": payment.reference,
    }


def _locked_credit(uow: UnitOfWork, credit: Credit) -> tuple[int, Credit]:
    """The account of a payment or credit note, locked, and the credit by its ids."""
    if (credit.payment is None) == (credit.credit_note is None):
        message = "name a payment or a credit note"
        raise Refused(Problem("bad_choice", message, "payment"))
    if credit.credit_note is not None:
        note, _ = final_document(uow, credit.credit_note)
        account_id, credit = int(note["account_id"]), Credit(credit_note=int(note["id"]))
    else:
        account_id = int(uow.get("payment", int(credit.payment or 0))["account_id"])
    lock_accounts(uow, [account_id])
    return account_id, credit


def _position(uow: UnitOfWork, account_id: int, credit: Credit) -> Record:
    for position in read_credits(uow, [account_id]):
        if (position["payment_id"], position["credit_note_id"]) == (
            credit.payment,
            credit.credit_note,
        ):
            return position
    raise Refused(Problem("no_credit", "the document gives no credit", "credit_note"), 409)


def _allocate_oldest(
    uow: UnitOfWork, accounts: Sequence[int], credit: Credit, *, untouched: bool = False
) -> list[Record]:
    rows = uow.query(
        OLDEST_FIRST,
        accounts=list(accounts),
        as_of=EVER,
        now=uow.now,
        payment=credit.payment,
        credit_note=credit.credit_note,
        untouched=untouched,
    )
    uow.create_many("allocation", rows, by_command=True)
    return rows


def _allocate_chosen(
    uow: UnitOfWork, account_id: int, credit: Credit, chosen: Sequence[Chosen]
) -> list[Record]:
    position = _position(uow, account_id, credit)
    left, currency = position["remaining"], str(position["currency"])
    today = today_of(uow, account_id)
    rows = []
    for one, document in _chosen_documents(uow, account_id, chosen):
        at_most = min(left, document["open"])
        amount = at_most if one.amount is None else one.amount
        _demanded(amount, at_most, currency, f"can be allocated to {one.document}")
        left -= amount
        rows.append(
            {
                "account_id": account_id,
                "invoice_id": document["id"],
                "payment_id": credit.payment,
                "credit_note_id": credit.credit_note,
                "amount": amount,
                "allocated_on": max(today, document["invoice_date"], position["day"]),
            }
        )
    uow.create_many("allocation", rows, by_command=True)
    return rows


def _chosen_documents(
    uow: UnitOfWork, account_id: int, chosen: Sequence[Chosen]
) -> list[tuple[Chosen, Record]]:
    """What was chosen, with the documents; refuses what is unknown, or is named twice by whatever
    name: its open amount is there once."""
    documents = read_documents_due(uow, [account_id])
    by_name = {name: row for row in documents for name in (str(row["id"]), str(row["number"]))}
    found: dict[object, tuple[Chosen, Record]] = {}
    for one in chosen:
        name = str(one.document)
        document = by_name.get(name)
        if document is None:
            message = f"the account has no final invoice or debit note {name!r} to be paid"
            raise Refused(Problem("unknown_invoice", message, "allocations.invoice"), 404)
        if document["id"] in found:
            raise Refused(Problem("named_twice", f"{name} is named twice", "allocations"))
        found[document["id"]] = (one, document)
    return list(found.values())


def _demanded(amount: Decimal | None, left: Decimal, currency: str, where: str) -> Decimal:
    """The amount asked for, or all that is left; refuses (409) more, or nothing."""
    wanted = left if amount is None else amount
    check_places(wanted, currency, "amount")
    if amount is not None and amount <= 0:
        raise Refused(Problem("too_small", "must be above 0", "amount"))
    if wanted > left or left == 0:
        message = f"{without_zeros(left)} {currency} {where}"
        raise Refused(Problem("not_enough_left", message, "amount"), 409)
    return wanted
