"""How much of what entitlements include is used up: as somebody asks, and as usage arrives.

The computation of current charges, of which only the allowances are looked at: what an account's
running cycles may draw, what they have drawn, and which thresholds that has reached.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from counterfoil.business.billing.charging import make_charged, make_items, price_items
from counterfoil.business.billing.events import THRESHOLD_REACHED
from counterfoil.business.billing.loading import usage_seen
from counterfoil.business.subscriptions.invoicing import who_is_billed
from counterfoil.business.subscriptions.plans_held import plans_held
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.periods.zones import local_date
from counterfoil.platform.engine.duck import NotComputable, open_engine, small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.outbox.emitting import Happening, emit_many
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

ACCOUNTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Included:
    """What an entitlement includes in a running cycle, and how much of it is used, in priced
    units. ``owner`` is the external id of whose it is; ``may_go_on`` is false when all is used
    and the entitlement refuses overuse."""

    entitlement: str
    name: str
    owner: str
    cycle_start: date
    cycle_end: date
    granted: Decimal
    used: Decimal
    left: Decimal
    may_go_on: bool


# What the cycles before have drawn of what rolls over is not there for this one.
_INCLUDED = """
WITH reach AS (
    SELECT DISTINCT a.allowance_id, a.entitlement_id, a.owner_id, a.capacity, i.cycle_start,
           i.cycle_end
    FROM allowance a JOIN allowance_item USING (allowance_id) JOIN due_item i USING (item_id)
    WHERE i.cycle_start <= DATE '{today}' AND i.cycle_end > DATE '{today}'
), taken AS (
    SELECT d.allowance_id, i.cycle_start, sum(d.quantity) AS quantity
    FROM drawn d JOIN charge_item i USING (item_id) GROUP BY ALL
)
SELECT r.entitlement_id, r.owner_id, r.cycle_start, r.cycle_end,
       CAST(sum(r.capacity - coalesce((SELECT sum(t.quantity) FROM taken t
            WHERE t.allowance_id = r.allowance_id AND t.cycle_start < r.cycle_start), 0))
            AS DECIMAL(38,15)) AS granted,
       CAST(sum(coalesce((SELECT sum(t.quantity) FROM taken t
            WHERE t.allowance_id = r.allowance_id AND t.cycle_start = r.cycle_start), 0))
            AS DECIMAL(38,15)) AS used
FROM reach r
GROUP BY r.entitlement_id, r.owner_id, r.cycle_start, r.cycle_end
ORDER BY r.entitlement_id, r.owner_id, r.cycle_start
"""

_NAMES = """
SELECT e.id, e.external_id, e.name, e.overuse, o.id AS owner_id, CASE
         WHEN e.account_id IS NULL AND e.pooled_over = 'subscription' THEN s.external_id
         WHEN e.account_id IS NULL AND e.pooled_over = 'site' AND o.id > 0 THEN t.external_id
         ELSE a.external_id END AS owner
FROM unnest(CAST(:entitlements AS bigint[]), CAST(:owners AS bigint[])) AS o(entitlement_id, id)
JOIN entitlement e ON e.id = o.entitlement_id
LEFT JOIN subscription s ON s.id = o.id
LEFT JOIN site t ON t.id = o.id
LEFT JOIN account a ON a.id = abs(o.id)
"""

# Billed accounts in trees where somebody has an entitlement with a threshold.
_WATCHED = f"""
WITH {plans_held()}, touched AS (
    SELECT DISTINCT a.root_id FROM subscription s JOIN account a ON a.id = s.account_id
    WHERE s.id = ANY(:subscriptions)
), watched AS (
    SELECT * FROM entitlement e
    WHERE EXISTS (SELECT 1 FROM entitlement_threshold t WHERE t.entitlement_id = e.id)
), root AS (
    SELECT a.root_id FROM watched w
    JOIN plan_held h ON h.rate_plan_id = w.rate_plan_id
    JOIN subscription s ON s.id = h.subscription_id
    JOIN account a ON a.id = s.account_id
    UNION
    SELECT a.root_id FROM watched w
    JOIN subscription s ON s.external_id = w.subscription_external_id
    JOIN account a ON a.id = s.account_id
    UNION
    SELECT a.root_id FROM watched w JOIN account a ON a.id = w.account_id
)
SELECT p.account_id, p.time_zone
FROM billing_profile p JOIN account a ON a.id = p.account_id
WHERE a.root_id IN (SELECT root_id FROM touched INTERSECT SELECT root_id FROM root)
ORDER BY a.root_id, p.account_id
"""

_THRESHOLDS = """
SELECT entitlement_id, percent FROM entitlement_threshold
WHERE entitlement_id = ANY(:entitlements) ORDER BY entitlement_id, percent
"""


def included_quantities(
    database: Database, store: UsageStore, account: str, *, now: datetime
) -> list[Included]:
    """What the account, or who is billed for it, may still use without charge in its running
    cycles. Refuses (404) an unknown account and (422) one that nobody is billed for."""
    with database.transaction(now=now) as uow:
        billed = who_is_billed(uow, account)
        rows = _compute(uow, store, [billed.id], local_date(now, billed.time_zone))
        names = _read_names(uow, rows)
    return [_shown(row, names[row["entitlement_id"], row["owner_id"]]) for row in rows]


def check_included(
    database: Database, store: UsageStore, subscriptions: Sequence[int], now: datetime
) -> None:
    """Tell of the thresholds that usage of these subscriptions (ids) has reached; each is told
    once for every cycle, whenever it is found."""
    with database.transaction(now=now, source="job") as uow:
        watched = uow.query(_WATCHED, subscriptions=list(subscriptions))
        for today, accounts in _batches(watched, now):
            rows = _compute(uow, store, accounts, today)
            names = _read_names(uow, rows)
            ids = sorted({row["entitlement_id"] for row in rows})
            percents = uow.query(_THRESHOLDS, entitlements=ids)
            emit_many(uow, THRESHOLD_REACHED, list(_reached(rows, names, percents)))


def _batches(watched: Sequence[Record], now: datetime) -> Iterator[tuple[date, list[int]]]:
    """Billed accounts that have the same day now, some at a time."""
    by_day: dict[date, list[int]] = defaultdict(list)
    for row in watched:
        by_day[local_date(now, row["time_zone"])].append(row["account_id"])
    for today, accounts in by_day.items():
        for start in range(0, len(accounts), ACCOUNTS_AT_ONCE):
            yield today, accounts[start : start + ACCOUNTS_AT_ONCE]


def _compute(
    uow: UnitOfWork, store: UsageStore, accounts: Sequence[int], today: date
) -> list[Record]:
    """The rows of ``_INCLUDED`` of these billed accounts; none when they cannot be computed, which
    the bill run reports."""
    seen = min(usage_seen(uow, accounts).values(), default=0)
    with small_engine() if len(accounts) == 1 else open_engine(threads=1) as engine:
        try:
            items = make_items(uow, engine, store, accounts, today, usage_seen=seen, running=True)
            price_items(uow, engine, items)
            make_charged(uow, engine, store, items)
        except NotComputable:
            return []
        rows: list[Record] = engine.records(_INCLUDED.format(today=today.isoformat()))
        return rows


def _read_names(uow: UnitOfWork, rows: Sequence[Record]) -> dict[tuple[int, int], Record]:
    named = uow.query(
        _NAMES,
        entitlements=[row["entitlement_id"] for row in rows],
        owners=[row["owner_id"] for row in rows],
    )
    return {(row["id"], row["owner_id"]): row for row in named}


def _shown(row: Record, names: Record) -> Included:
    left = row["granted"] - row["used"]
    return Included(
        names["external_id"],
        names["name"],
        names["owner"],
        row["cycle_start"],
        row["cycle_end"],
        row["granted"],
        row["used"],
        left,
        left > 0 or names["overuse"] == "charged",
    )


def _reached(
    rows: Sequence[Record],
    names: dict[tuple[int, int], Record],
    percents: Sequence[Record],
) -> Iterator[Happening]:
    thresholds: dict[int, list[Decimal]] = defaultdict(list)
    for row in percents:
        thresholds[row["entitlement_id"]].append(row["percent"])
    for row in rows:
        shown = _shown(row, names[row["entitlement_id"], row["owner_id"]])
        for percent in thresholds[row["entitlement_id"]]:
            if row["granted"] > 0 and row["used"] * 100 >= percent * row["granted"]:
                key = (row["entitlement_id"], row["owner_id"], row["cycle_start"], percent)
                yield Happening(
                    key=":".join(str(part) for part in key),
                    subject=f"entitlements/{row['entitlement_id']}",
                    data={
                        "entitlement": shown.entitlement,
                        "name": shown.name,
                        "owner": shown.owner,
                        "percent": percent,
                        "granted": shown.granted,
                        "used": shown.used,
                        "cycle_start": shown.cycle_start,
                        "cycle_end": shown.cycle_end,
                    },
                )
