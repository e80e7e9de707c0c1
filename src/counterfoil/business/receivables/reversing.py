"""What was recorded and turned out not to stand: a payment that bounced, a refund, a write-off.

The record stays, and a reversal beside it says from which day on it no longer counts.
"""

from datetime import date
from typing import cast

from counterfoil.business.billing.commands import lock_accounts
from counterfoil.business.receivables.commands import Credit, unallocate_credit
from counterfoil.business.receivables.positions import today_of
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

DAYS = {"payment": "received_on", "refund": "refunded_on", "write_off": "written_off_on"}
"""What can be reversed, with the day from which it counted."""

_REFUNDED = """
SELECT coalesce(sum(r.amount), 0) AS amount FROM refund r
WHERE r.payment_id = :payment
  AND NOT EXISTS (SELECT 1 FROM settlement_reversal v WHERE v.refund_id = r.id)
"""


def reverse_settlement(uow: UnitOfWork, kind: str, record_id: int, reason: str) -> Record:
    """Take back a payment, a refund or a write-off (id), whole; answers with the reversal.

    What a payment paid is open again. Asked again, it answers with the same reversal. Refuses (404)
    an unknown record, (409) a payment of which something was refunded.
    """
    reversed_one = uow.get(kind, record_id)
    account = int(str(reversed_one["account_id"]))
    lock_accounts(uow, [account])
    earlier = uow.find("settlement_reversal", **{f"{kind}_id": record_id})
    if earlier is not None:
        return earlier
    day = cast("date", reversed_one[DAYS[kind]])
    if kind == "payment":
        if uow.query(_REFUNDED, payment=record_id)[0]["amount"]:
            message = f"something of payment {record_id} was refunded: reverse the refund first"
            raise Refused(Problem("refunded", message, "payment"), 409)
        undone = unallocate_credit(uow, Credit(payment=record_id))
        day = max([day, *(cast("date", row["allocated_on"]) for row in undone)])
    row = {
        "account_id": account,
        f"{kind}_id": record_id,
        "reversed_on": max(today_of(uow, account), day),
        "amount": reversed_one["amount"],
        "reason": reason,
    }
    return uow.create("settlement_reversal", row, by_command=True)
