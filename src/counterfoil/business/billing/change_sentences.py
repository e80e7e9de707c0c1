"""What amendments say to the amounts they led to: fees of early terminations, raised prices."""

from collections.abc import Collection
from datetime import date, timedelta

from counterfoil.business.billing.number_words import money, plain
from counterfoil.core.periods.zones import local_midnight
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_FEE = """
SELECT a.fee_percent, a.fee_basis, a.amount
FROM rated_charge r
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN amendment a ON a.id = sc.began_by_id
WHERE r.id = :rated_charge AND r.kind = 'one_time' AND a.fee_basis IS NOT NULL
"""

_UPLIFTS = """
SELECT p.id, a.uplift_percent, a.effective_date
FROM price p
JOIN subscription s ON s.external_id = p.subscription_external_id
JOIN amendment a ON a.subscription_id = s.id AND a.kind = 'renew'
 AND a.uplift_percent > 0 AND p.valid_from IN (a.effective_date, a.billed_from)
WHERE p.id = ANY(:prices) AND p.layer = 'subscription'
"""


def fee_sentences(uow: UnitOfWork, rated: Record) -> tuple[str, ...]:
    """How the fee of an early termination was found; nothing for other charges."""
    rows = uow.query(_FEE, rated_charge=rated["id"])
    if not rows:
        return ()
    basis, percent = rows[0]["fee_basis"], rows[0]["fee_percent"]
    currency = basis["currency"]
    last = date.fromisoformat(basis["to"]) - timedelta(days=1)
    cost = money(basis["amount"], currency)
    said = [f"The remaining term, {basis['from']} to {last}, would have cost {cost}:"]
    said += [_part_sentence(part, currency) for part in basis["parts"]]
    said.append(
        f"{plain(percent)} percent of it, rounded half-up once, are "
        f"{money(rows[0]['amount'], currency)}."
    )
    return tuple(said)


def _part_sentence(part: Record, currency: str) -> str:
    last = date.fromisoformat(part["to"]) - timedelta(days=1)
    text = f"{part['charge']}, {part['from']} to {last}: {plain(part['quantity'])}"
    if part["unit_amount"] is not None:
        text += f" × {plain(part['unit_amount'])}"
    return f"{text}, in all {money(part['amount'], currency)}."


def served_seconds(facts: Record, rated: Record) -> Record:
    """Of a recurring charge that begins or ends within a day: ``seconds`` served and those of the
    cycle, ``cycle_seconds``; of all others none."""
    first = facts["start_offset"] if rated["service_start"] == facts["start_date"] else 0
    last = facts["end_offset"] if rated["service_end"] == facts["end_date"] else 0
    if not (first or last) or rated["kind"] != "recurring" or facts["proration"] != "by_day":
        return {"seconds": None}
    zone = str(facts["time_zone"] or "UTC")

    def between(start: date, end: date) -> int:
        return int((local_midnight(end, zone) - local_midnight(start, zone)).total_seconds())

    return {
        "seconds": between(rated["service_start"], rated["service_end"]) - first + last,
        "cycle_seconds": between(rated["cycle_start"], rated["cycle_end"]),
    }


def uplifts_of(uow: UnitOfWork, prices: Collection[int]) -> dict[int, str]:
    """In words by how much prices (ids) were raised, of those that a renewal made."""
    return {
        int(row["id"]): f", raised by {plain(row['uplift_percent'])} percent at the renewal on "
        f"{row['effective_date']}"
        for row in uow.query(_UPLIFTS, prices=list(prices))
    }
