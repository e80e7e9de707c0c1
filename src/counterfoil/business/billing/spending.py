"""How much an account has spent in the periods of its thresholds: as somebody asks, as usage
arrives, and as bills are made.

Spent is what has been billed and what has come together since, by the computation of current
charges: everything whose service begins in the period, net of discounts, before commitments and
prepaid balances.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa

from counterfoil.business.billing.current import charge_so_far, parts_of_now
from counterfoil.business.billing.events import SPENDING_REACHED
from counterfoil.business.incentives.loading import find_present
from counterfoil.business.subscriptions.invoicing import invoiced, profiles_of_accounts
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.periods.cadence import Cadence, calendar_anchor, cycle_index, cycle_start
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import NotComputable, open_engine, small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.outbox.emitting import Happening, emit_many
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

ACCOUNTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Spent:
    """What counts for a threshold in its running period, in major units of ``currency``.

    ``threshold`` and ``account`` are external ids. ``complete`` is false when charges of somebody
    that count cannot be priced, as the bill run will report: it is more then.
    """

    threshold: str
    name: str
    account: str
    scope: str
    currency: str
    amount: Decimal
    period_start: date
    period_end: date
    spent: Decimal
    left: Decimal
    reached: bool
    complete: bool


# Nothing is looked for where there are no thresholds at all.
_THRESHOLDS = """
WITH RECURSIVE up AS (
    SELECT DISTINCT a.id, a.parent_id, true AS own FROM account a
    WHERE EXISTS (SELECT 1 FROM spending_threshold) AND {which}
    UNION
    SELECT a.id, a.parent_id, false FROM up JOIN account a ON a.id = up.parent_id
)
SELECT DISTINCT t.*, a.external_id AS account
FROM up JOIN spending_threshold t ON t.account_id = up.id JOIN account a ON a.id = up.id
WHERE t.scope = 'subtree' OR up.own
ORDER BY t.external_id
"""
_WHERE_USED = "a.id IN (SELECT account_id FROM subscription WHERE id = ANY(:subscriptions))"
_WHERE_BILLED = """a.id IN (
    SELECT s.account_id FROM rated_charge r
    JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
    JOIN subscription s ON s.id = sc.subscription_id WHERE r.invoice_id = ANY(:invoices))"""

_MEMBERS = f"""
WITH RECURSIVE member AS (
    SELECT t.id AS threshold_id, t.account_id, t.scope FROM spending_threshold t
    WHERE t.id = ANY(:thresholds)
    UNION ALL
    SELECT m.threshold_id, a.id, m.scope
    FROM member m JOIN account a ON a.parent_id = m.account_id WHERE m.scope = 'subtree'
), above AS (
    SELECT a.id, a.parent_id FROM spending_threshold t JOIN account a ON a.id = t.account_id
    WHERE t.id = ANY(:thresholds)
    UNION
    SELECT a.id, a.parent_id FROM above JOIN account a ON a.id = above.parent_id
), {invoiced("p.account_id IN (SELECT id FROM above UNION SELECT account_id FROM member)")}
SELECT DISTINCT m.threshold_id, m.account_id, i.billed_account_id
FROM member m LEFT JOIN invoiced i USING (account_id)
"""

# Of commitments, prepaid balances and what is billed by hand no subscription charge is told.
_BILLED = """
SELECT t.threshold_id, t.period_start, CAST(sum(r.amount) AS numeric(20,4)) AS amount,
       CAST(coalesce(sum(r.amount) FILTER (WHERE r.invoice_id = ANY(:invoices)), 0)
            AS numeric(20,4)) AS added
FROM unnest(CAST(:ids AS bigint[]), CAST(:currencies AS text[]), CAST(:starts AS date[]),
            CAST(:ends AS date[])) AS t(threshold_id, currency, period_start, period_end)
JOIN unnest(CAST(:owners AS bigint[]), CAST(:members AS bigint[])) AS m(threshold_id, account_id)
  ON m.threshold_id = t.threshold_id
JOIN subscription s ON s.account_id = m.account_id
JOIN subscription_charge sc ON sc.subscription_id = s.id
JOIN rated_charge r ON r.subscription_charge_id = sc.id AND r.currency = t.currency
LEFT JOIN rated_charge v ON v.id = r.reverses_id
WHERE coalesce(v.service_start, r.service_start) >= t.period_start
  AND coalesce(v.service_start, r.service_start) < t.period_end
  AND r.kind NOT IN ('credit', 'debit')
GROUP BY t.threshold_id, t.period_start
"""

# The days for which invoices bill something that counts.
_DAYS_BILLED = """
SELECT DISTINCT m.threshold_id, coalesce(v.service_start, r.service_start) AS day
FROM rated_charge r
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN subscription s ON s.id = sc.subscription_id
JOIN unnest(CAST(:owners AS bigint[]), CAST(:members AS bigint[])) AS m(threshold_id, account_id)
  ON m.account_id = s.account_id
LEFT JOIN rated_charge v ON v.id = r.reverses_id
WHERE r.invoice_id = ANY(:invoices) AND r.kind NOT IN ('credit', 'debit')
"""

_CHARGED = """
SELECT t.threshold_id, CAST(sum(c.amount) AS DECIMAL(28,4)) AS amount
FROM threshold t
JOIN member m USING (threshold_id)
JOIN charged c ON c.account_id = m.account_id AND c.billed_account_id = m.billed_account_id
 AND c.currency = t.currency AND c.counts_on >= t.period_start
 AND c.counts_on < t.period_end
GROUP BY t.threshold_id
"""


_MEMBER_IDS = ("threshold_id", "account_id", "billed_account_id")


def spending(database: Database, store: UsageStore, account: str, *, now: datetime) -> list[Spent]:
    """What counts in the running periods of the thresholds that this account has, or somebody above
    has for all below. Refuses (404) an unknown account."""
    with database.transaction(now=now) as uow:
        if uow.find("account", external_id=account) is None:
            problem = Problem("unknown_account", f"there is no account {account!r}", "account")
            raise Refused(problem, status=404)
        which = _THRESHOLDS.format(which="a.external_id = :account")
        return _compute(uow, store, uow.query(which, account=account), now)


def check_spending(
    database: Database, store: UsageStore, subscriptions: Sequence[int], now: datetime
) -> None:
    """Tell of the thresholds of spending that usage of these subscriptions (ids) has passed; each
    is told once in every period, whenever it is found."""
    with database.transaction(now=now, source="job") as uow:
        which = _THRESHOLDS.format(which=_WHERE_USED)
        rows = uow.query(which, subscriptions=list(subscriptions))
        known = {row["external_id"]: row for row in rows}
        reached = [one for one in _compute(uow, store, rows, now) if one.reached]
        new = [(known[one.threshold], one) for one in reached if _is_new(known[one.threshold], one)]
        _tell(uow, new)


def tell_of_billed(uow: UnitOfWork, invoices: Sequence[int]) -> None:
    """Tell of the thresholds that what these invoices (ids) have added reaches, in whatever period
    it counts: for recurring charges no usage has to arrive, and late usage counts when it is
    billed. Part of the unit of work that makes the invoices."""
    rows = uow.query(_THRESHOLDS.format(which=_WHERE_BILLED), invoices=list(invoices))
    if not rows:
        return
    # Who bills at the same time waits, and then counts what was billed here.
    locked = uow.query(
        "SELECT id, told_period, told_amount FROM spending_threshold WHERE id = ANY(:ids)"
        " ORDER BY id FOR NO KEY UPDATE",
        ids=[row["id"] for row in rows],
    )
    known = {row["id"]: row for row in rows}
    known = {row["id"]: {**known[row["id"]], **row} for row in locked}
    profiles = profiles_of_accounts(uow, [row["account_id"] for row in rows])
    members = uow.query(_MEMBERS, thresholds=[*known])
    periods: dict[tuple[int, date], Record] = {}
    for one in uow.query(_DAYS_BILLED, invoices=list(invoices), **_pairs(members)):
        row = known[one["threshold_id"]]
        period = period_of(row, profiles.get(row["account_id"]), one["day"])
        if period is not None:
            periods[row["id"], period["period_start"]] = period
    reached = []
    for billed in _read_billed(uow, [*periods.values()], members, invoices):
        period = periods[billed["threshold_id"], billed["period_start"]]
        if billed["amount"] >= period["amount"] > billed["amount"] - billed["added"]:
            reached.append((period, _shown(period, billed["amount"], complete=True)))
    _tell(uow, [(row, one) for row, one in reached if _is_new(row, one)])


def _tell(uow: UnitOfWork, new: Sequence[tuple[Record, Spent]]) -> None:
    """Emit the events, and remember of every threshold the newest period that was told of."""
    emit_many(uow, SPENDING_REACHED, [_happening(row, one) for row, one in new])
    newest: dict[int, tuple[date, Decimal]] = {}
    for row, one in new:
        if one.period_start >= (row["told_period"] or date.min):
            told_now = (one.period_start, row["amount"])
            newest[row["id"]] = max(told_now, newest.get(row["id"], told_now))
    told = [
        (threshold, {"told_period": period, "told_amount": amount})
        for threshold, (period, amount) in sorted(newest.items())
    ]
    uow.update_many("spending_threshold", told, by_command=True)


def _is_new(row: Record, one: Spent) -> bool:
    """Whether this was not told before: events are forgotten sooner than a period may end."""
    return (row["told_period"], row["told_amount"]) != (one.period_start, row["amount"])


def _happening(row: Record, one: Spent) -> Happening:
    data = {name: value for name, value in asdict(one).items() if name != "reached"}
    key = f"{row['id']}:{one.period_start}:{row['amount'].normalize():f}"
    return Happening(key, f"spending-thresholds/{row['id']}", data)


def _compute(
    uow: UnitOfWork, store: UsageStore, thresholds: Sequence[Record], now: datetime
) -> list[Spent]:
    """What counts in the periods that run, of those thresholds that hold now."""
    profiles = profiles_of_accounts(uow, [row["account_id"] for row in thresholds])
    running = [
        period
        for row in thresholds
        if (period := _running(row, profiles.get(row["account_id"]), now)) is not None
    ]
    if not running:
        return []
    members = uow.query(_MEMBERS, thresholds=[row["id"] for row in running])
    amounts: dict[int, Decimal] = defaultdict(Decimal, _billed(uow, running, members))
    incomplete: set[int] = set()
    for today, accounts in _batches(running, members):
        some = [row for row in running if row["today"] == today]
        chosen = {row["id"] for row in some}
        own = [
            row
            for row in members
            if row["threshold_id"] in chosen and row["billed_account_id"] in accounts
        ]
        charged, faulty = _charged(uow, store, sorted(accounts), today, some, own)
        for threshold, amount in charged:
            amounts[threshold] += amount
        incomplete |= {row["threshold_id"] for row in own if row["billed_account_id"] in faulty}
    return [
        _shown(row, amounts[row["id"]], complete=row["id"] not in incomplete) for row in running
    ]


def _running(row: Record, profile: Record | None, now: datetime) -> Record | None:
    """The threshold with ``today`` and its period; None when it does not hold today. Of an account
    that nobody is billed for, as a group may be, days are UTC's and begin with the month."""
    today = local_date(now, "UTC" if profile is None else profile["time_zone"])
    period = period_of(row, profile, today)
    return None if period is None else {**period, "today": today}


def period_of(row: Record, profile: Record | None, day: date) -> Record | None:
    """A threshold with its period_start and period_end around a day; None when it does not hold on
    it."""
    first, end = row["start_date"], row["end_date"]
    if day < (first or day) or day >= (end or date.max):
        return None
    unit = row["period_unit"]
    calendar = row["alignment"] == "calendar"
    cycle_day = 1 if profile is None else profile["cycle_day"]
    anchor = calendar_anchor(unit, cycle_day) if calendar else first
    cadence = Cadence(unit, row["period_count"])
    number = cycle_index(anchor, cadence, day)
    start = cycle_start(anchor, cadence, number)
    return {
        **row,
        "period_start": start if first is None else max(start, first),
        "period_end": min(cycle_start(anchor, cadence, number + 1), end or date.max),
    }


def _batches(
    running: Sequence[Record], members: Sequence[Record]
) -> Iterator[tuple[date, set[int]]]:
    """Billed accounts whose charges count on the same day, some at a time."""
    days = {row["id"]: row["today"] for row in running}
    by_day: dict[date, set[int]] = defaultdict(set)
    for row in members:
        if row["billed_account_id"] is not None:
            by_day[days[row["threshold_id"]]].add(row["billed_account_id"])
    for today, accounts in by_day.items():
        ordered = sorted(accounts)
        for start in range(0, len(ordered), ACCOUNTS_AT_ONCE):
            yield today, set(ordered[start : start + ACCOUNTS_AT_ONCE])


def _billed(
    uow: UnitOfWork, running: Sequence[Record], members: Sequence[Record]
) -> dict[int, Decimal]:
    """By threshold (id) what invoices carry of its period."""
    rows = _read_billed(uow, running, members, ())
    return {row["threshold_id"]: row["amount"] for row in rows}


def _read_billed(
    uow: UnitOfWork,
    periods: Sequence[Record],
    members: Sequence[Record],
    invoices: Sequence[int],
) -> list[Record]:
    """threshold_id, period_start, the amount that invoices carry, and what these have added."""
    return uow.query(
        _BILLED,
        ids=[row["id"] for row in periods],
        currencies=[row["currency"] for row in periods],
        starts=[row["period_start"] for row in periods],
        ends=[row["period_end"] for row in periods],
        invoices=list(invoices),
        **_pairs(members),
    )


def _pairs(members: Sequence[Record]) -> dict[str, list[int]]:
    pairs = sorted({(row["threshold_id"], row["account_id"]) for row in members})
    return {
        "owners": [threshold for threshold, _ in pairs],
        "members": [account for _, account in pairs],
    }


def _charged(
    uow: UnitOfWork,
    store: UsageStore,
    accounts: Sequence[int],
    today: date,
    thresholds: Sequence[Record],
    members: Sequence[Record],
) -> tuple[list[tuple[int, Decimal]], set[int]]:
    """Thresholds (ids) with what these billed accounts have come to and are not billed for yet, and
    the accounts of which that cannot be told."""
    present = replace(find_present(uow), commitments=False)
    amounts: list[tuple[int, Decimal]] = []
    faulty: set[int] = set()
    for part in parts_of_now(present, today):
        with small_engine() if len(accounts) == 1 else open_engine(threads=1) as engine:
            try:
                charge_so_far(uow, engine, store, accounts, today, present, part)
            except NotComputable:
                return [], set(accounts)
            engine.register("threshold", _table(thresholds, _THRESHOLD))
            engine.register("member", _table(members, _MEMBER))
            amounts += [(int(row[0]), row[1]) for row in engine.rows(_CHARGED)]
            faulty |= {int(row[0]) for row in engine.rows("SELECT account_id FROM problem")}
    return amounts, faulty


_THRESHOLD = pa.schema(
    [
        ("threshold_id", pa.int64()),
        ("currency", pa.string()),
        ("period_start", pa.date32()),
        ("period_end", pa.date32()),
    ]
)
_MEMBER = pa.schema([(name, pa.int64()) for name in _MEMBER_IDS])


def _table(rows: Sequence[Record], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(
        [{"threshold_id": row.get("id"), **row} for row in rows], schema=schema
    )


def _shown(row: Record, spent: Decimal, *, complete: bool) -> Spent:
    digits = exponent(row["currency"])
    spent = round_half_up(spent, digits)
    amount = round_half_up(row["amount"], digits)
    return Spent(
        threshold=row["external_id"],
        name=row["name"],
        account=row["account"],
        scope=row["scope"],
        currency=row["currency"],
        amount=amount,
        period_start=row["period_start"],
        period_end=row["period_end"],
        spent=spent,
        left=max(amount - spent, Decimal(0)),
        reached=spent >= row["amount"],
        complete=complete,
    )
