"""What must hold after many processes have worked on the same accounts, whatever they did."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from bench.contention_work import Done
from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.receivables.positions import EVER, read_credits, read_documents_due
from counterfoil.business.receivables.queries import account_statement, read_ageing
from counterfoil.platform.records.unit_of_work import UnitOfWork


def find_violations(
    organisation: Organisation, done: Sequence[Done], accounts: int, horizon: date, now: datetime
) -> list[str]:
    """Everything that is wrong, in words; bills what is due by ``horizon`` first."""
    found = [f"fault: {fault}" for one in done for fault in one.faults]
    finalize_invoices(organisation.database, now=now)
    for turn in range(3):
        summary = run_bills(organisation.database, organisation.usage_store, horizon, now=now)
        found += [f"billing in the end: {problem}" for problem in summary.problems]
        if turn and summary.lines:
            found.append(f"billing again added {summary.lines} lines")
    with organisation.database.transaction(now=now) as uow:
        for name, sql in _NONE_OF.items():
            rows = uow.query(sql)
            found += [f"{name}: {rows[0]} and {len(rows) - 1} more"] if rows else []
        found += _lost_changes(uow, done)
        found += _unbalanced(uow, accounts)
        found += _wrong_days(uow)
    return found


_NONE_OF = {
    "a (subscription charge, period) was billed twice": """
        SELECT a.subscription_charge_id, a.service_start, b.service_start AS other
        FROM rated_charge a JOIN rated_charge b
          ON a.subscription_charge_id = b.subscription_charge_id AND a.id < b.id
         AND a.service_start < b.service_end AND b.service_start < a.service_end
        WHERE a.kind = 'recurring' AND b.kind = 'recurring'""",
    "two quantities on one day": """
        SELECT a.id, b.id AS other FROM subscription_charge a JOIN subscription_charge b
          ON a.subscription_id = b.subscription_id AND a.charge_id = b.charge_id AND a.id < b.id
         AND a.start_date < coalesce(b.end_date, 'infinity')
         AND b.start_date < coalesce(a.end_date, 'infinity')
        WHERE a.start_date < coalesce(a.end_date, 'infinity')
          AND b.start_date < coalesce(b.end_date, 'infinity')""",
    "a series of numbers has a gap": """
        SELECT kind, count(*), max(substring(number FROM '[0-9]+$')::int) AS last
        FROM invoice WHERE state = 'final' GROUP BY kind
        HAVING count(*) <> max(substring(number FROM '[0-9]+$')::int)
            OR count(*) <> count(DISTINCT number)""",
    "more was given back than was billed": """
        SELECT b.id, b.amount, sum(x.amount) AS net
        FROM rated_charge b JOIN (
            SELECT CASE WHEN d.kind = 'debit' THEN d.applies_to_id
                        WHEN o.kind = 'debit' THEN o.applies_to_id
                        ELSE coalesce(o.id, d.id) END AS base_id, d.amount
            FROM rated_charge d LEFT JOIN rated_charge o ON o.id = d.reverses_id
        ) x ON x.base_id = b.id
        WHERE b.amount > 0 GROUP BY b.id HAVING sum(x.amount) < 0""",
    "a document is not the sum of its lines": """
        SELECT i.id, i.total, sum(l.amount) FROM invoice i JOIN invoice_line l
          ON l.invoice_id = i.id GROUP BY i.id HAVING i.total <> sum(l.amount)""",
    "a draft is left": "SELECT id FROM invoice WHERE state = 'draft'",
}


def _lost_changes(uow: UnitOfWork, done: Sequence[Done]) -> list[str]:
    """Amendments, usage and payments that were answered and are not there, or the reverse."""
    found = []
    answered = {one: quantity for each in done for one, quantity in each.amendments.items()}
    kept = {row["id"] for row in uow.query("SELECT id FROM amendment")}
    if kept != answered.keys():
        found.append(f"{len(answered)} amendments were answered, {len(kept)} are kept")
    begun = {
        (row["began_by_id"], row["quantity"])
        for row in uow.query(
            "SELECT began_by_id, quantity FROM subscription_charge WHERE began_by_id IS NOT NULL"
        )
    }
    lost = [pair for pair in answered.items() if pair[1] is not None and pair not in begun]
    found += [f"amendments without their quantity: {lost}"] if lost else []
    events = sum(one.events for one in done)
    billed = uow.query(
        "SELECT coalesce(sum(CASE kind WHEN 'usage' THEN quantity ELSE -quantity END), 0) AS n "
        "FROM rated_charge WHERE kind IN ('usage', 'reversal') AND subscription_charge_id IN "
        "(SELECT sc.id FROM subscription_charge sc JOIN subscription s "
        "ON s.id = sc.subscription_id WHERE s.external_id LIKE 'U%')"
    )[0]["n"]
    found += [f"{events} events were kept, {billed} are billed"] if billed != events else []
    paid = {key: number for each in done for key, number in each.paid.items()}
    rows = uow.query("SELECT request_key, id FROM payment")
    if {row["request_key"]: row["id"] for row in rows} != paid or len(rows) != len(paid):
        found.append(f"{len(paid)} payments were answered, {len(rows)} are kept")
    return found


def _unbalanced(uow: UnitOfWork, accounts: int) -> list[str]:
    """Accounts whose debits are not their credits, and what is used beyond its amount."""
    found = []
    aged = {row["account"]: row["balance"] for row in read_ageing(uow, EVER).accounts}
    for number in range(1, accounts + 1):
        closing = account_statement(uow, f"A{number}", date(2000, 1, 1), EVER).closing
        if closing != aged.get(f"A{number}", Decimal(0)):
            found.append(f"A{number} owes {closing}, its items come to {aged.get(f'A{number}')}")
    found += [
        f"{row['number']} is paid beyond its total: {row}"
        for row in read_documents_due(uow, None)
        if not 0 <= row["open"] <= row["total"]
    ]
    found += [
        f"a credit is used beyond its amount: {row}"
        for row in read_credits(uow, None)
        if not 0 <= row["remaining"] <= row["amount"]
    ]
    return found


_PARTS = """
SELECT sc.id, sc.start_date, sc.end_date, sc.billed_through
FROM subscription_charge sc JOIN charge c ON c.id = sc.charge_id WHERE c.kind = 'recurring'
"""
_BILLED = """
SELECT r.subscription_charge_id AS part, coalesce(r.reverses_id, r.id) AS item, r.kind,
       r.service_start, r.service_end, r.amount
FROM rated_charge r WHERE r.kind IN ('recurring', 'reversal', 'credit')
  AND r.subscription_charge_id IS NOT NULL
"""


def _wrong_days(uow: UnitOfWork) -> list[str]:
    """Days billed that are not served, or served and not billed, but for what nothing is left of.

    A charge that was credited in full by hand has nothing left to give back.
    """
    rows = uow.query(_BILLED)
    left: dict[int, Decimal] = {}
    billed: dict[int, set[date]] = {}
    for row in rows:
        left[row["item"]] = left.get(row["item"], Decimal(0)) + row["amount"]
    credited = {row["item"] for row in rows if row["kind"] == "credit"}
    unsure = {row["part"] for row in rows if row["item"] in credited and not left[row["item"]]}
    for kind in ("recurring", "reversal"):
        for row in rows:
            if row["kind"] != kind:
                continue
            days = _days(row["service_start"], row["service_end"])
            own = billed.setdefault(row["part"], set())
            own |= days if kind == "recurring" else set()
            own -= days if kind == "reversal" else set()
    found = []
    for part in uow.query(_PARTS):
        until = part["end_date"] or part["billed_through"] or part["start_date"]
        owed = _days(part["start_date"], until)
        got = billed.get(part["id"], set())
        if got != owed and not (part["id"] in unsure and owed <= got):
            found.append(
                f"{part}: missing {sorted(owed - got)[:3]}, too much {sorted(got - owed)[:3]}"
            )
    return found


def _days(start: date, end: date) -> set[date]:
    return {start + timedelta(days=n) for n in range((end - start).days)}
