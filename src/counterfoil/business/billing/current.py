"""Current usage and charges: what an account has come to and is not billed for yet.

The computation of bills, asked before the end: the cycles that run are rated as if they ended
now, with all usage there is, next to what is due already. Nothing is stored.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from operator import itemgetter

from counterfoil.business.billing.bills import OPEN_DRAFT, whole_trees
from counterfoil.business.billing.charging import make_charged, make_items, price_items
from counterfoil.business.billing.due import DUE_ON, IS_DUE
from counterfoil.business.billing.incentives import apply_incentives
from counterfoil.business.billing.loading import load_line_names, usage_seen
from counterfoil.business.billing.relations import make_relation
from counterfoil.business.billing.usage_needed import read_once
from counterfoil.business.incentives.loading import Present, find_present
from counterfoil.business.subscriptions.invoicing import BilledAccount, who_is_billed
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem
from counterfoil.core.rating.quantities import EventSource
from counterfoil.core.rating.statements import Needs
from counterfoil.platform.engine.duck import Engine, NotComputable, small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentCharge:
    """One charge in one cycle, or one thing that is given back, added or taken off.

    Ids are external ids; ``meter`` belongs to usage. ``state`` is ``running`` (the cycle goes on
    and is billed at its end), ``due`` (a bill run of today bills it) or ``late`` (usage of a cycle
    that was billed before; it is due too). ``quantity`` and ``included_quantity`` (how much of it
    was included) are priced units of the whole service in the cycle, for late usage what is new.
    ``included_limit`` is how much the price and the entitlements include (a pooled one to all of
    its members together), ``tier_from`` and ``tier_up_to`` bound the tier that was reached (after
    what is included; up_to is None in the last tier). ``amount`` is None where a problem of the
    account keeps it from being computed, ``quantity`` where a usage charge has no price.
    """

    account: str
    account_name: str
    site_name: str | None
    subscription: str | None
    product_name: str | None
    charge: str | None
    charge_name: str
    meter: str | None
    kind: str
    state: str
    subscription_charge_id: int | None
    cycle_start: date
    cycle_end: date
    service_start: date
    service_end: date
    quantity: Decimal | None
    unit: str
    events: int
    last_event_at: datetime | None
    included_quantity: Decimal
    included_limit: Decimal
    tier_from: Decimal | None
    tier_up_to: Decimal | None
    unit_amount: Decimal | None
    amount: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentMeter:
    """What came in on a meter in the cycles listed: events and the plain sum of their quantities,
    in the meter's unit. An event that two charges count is counted once per cycle."""

    meter: str
    unit: str
    cycle_start: date
    cycle_end: date
    events: int
    quantity: Decimal
    last_event_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentCharges:
    """Current usage and charges of an account, and of those below that are billed with it.

    ``due`` is the total of what a bill run of ``today`` (local to the billed account) would bill,
    ``running`` that of the cycles that go on, in major units of ``currency``; both are None where
    a problem keeps the account from being billed.
    """

    account: str
    billed_account: str
    currency: str
    at: datetime
    today: date
    charges: tuple[CurrentCharge, ...]
    meters: tuple[CurrentMeter, ...]
    due: Decimal | None
    running: Decimal | None
    total: Decimal | None
    problems: tuple[Problem, ...]


_DIGITS = 80
"""More than sums of what is added up here can have; Python would keep 28."""

_DUE_TODAY = DUE_ON.format(s="") + " <= DATE '{today}'"
# Plain rows are planned in half the time that groups of them are, and here there are few.
_ITEMS = f"""
SELECT item_id, subscription_charge_id, account_id, account_name, site_name, product_name,
       charge_name, kind, cycle_start, cycle_end, service_start, service_end, unit,
       CASE WHEN late THEN 'late' WHEN {_DUE_TODAY} THEN 'due' ELSE 'running' END AS state
FROM charge_item WHERE billed_account_id = {{account}} AND {IS_DUE} ORDER BY item_id
"""
_CHARGED = """
SELECT subscription_charge_id, cycle_start, kind, charge_name, account_id, account_name, site_name,
       product_name, unit, cycle_end, service_start, service_end, unit_amount, amount
FROM charged WHERE billed_account_id = {account} ORDER BY row_no
"""
_EPOCHS = """
SELECT r.item_id, r.epoch_start <= DATE '{today}' OR r.epoch_no = 1 AS begun,
       p.included_quantity AS included_in_price, e.quantity, e.included_quantity,
       e.steps[-1] AS reached
FROM price_epoch r JOIN price p USING (price_id)
LEFT JOIN priced_epoch e USING (item_id, epoch_no) ORDER BY r.item_id, r.epoch_no
"""
_ALLOWED = """
SELECT item_id, sum(capacity) AS capacity
FROM allowance_item JOIN allowance USING (allowance_id) GROUP BY item_id
"""

_USED = """
SELECT e.item_id, count(*) AS events, sum(u.quantity) AS used, max(u.time) AS last_event_at
FROM {events} WHERE u.time >= e.epoch_at GROUP BY e.item_id
"""
_METERED = "SELECT item_id, events, used, last_event_at FROM metered"

_BELOW = """
WITH RECURSIVE below AS (
    SELECT id FROM account WHERE external_id = :external_id
    UNION ALL
    SELECT a.id FROM account a JOIN below b ON a.parent_id = b.id
)
SELECT id FROM below
"""


def current_charges(
    database: Database, store: UsageStore, account_external_id: str, *, now: datetime
) -> CurrentCharges:
    """What an account has come to by ``now`` and is not billed for yet.

    Of an account that is billed through another, the part of it and of those below it. Refuses
    (404) an unknown account and (422) one that nobody is billed for.
    """
    with database.transaction(now=now) as uow, localcontext(prec=_DIGITS):
        billed = who_is_billed(uow, account_external_id)
        today = local_date(now, billed.time_zone)
        rows, problems = _compute(uow, store, billed.id, today)
        if billed.external_id != account_external_id:
            own = {row["id"] for row in uow.query(_BELOW, external_id=account_external_id)}
            rows = [row for row in rows if row["account_id"] in own]
        ids = sorted({row["subscription_charge_id"] for row in rows} - {None})
        names = load_line_names(uow, ids).to_pylist() if ids else []
        named = {row["subscription_charge_id"]: row for row in names}
        return _shown(account_external_id, billed, now, rows, named, problems)


def parts_of_now(present: Present, today: date) -> tuple[str, ...]:
    """Conditions on items for what is charged apart: where there are discounts or commitments,
    what runs is an invoice of its own, as it will be. Otherwise it would count for what is due."""
    if not (present.discounts or present.commitments):
        return ("true",)
    due = _DUE_TODAY.format(today=today.isoformat())
    return (f"late OR {due}", f"NOT (late OR {due})")


def charge_so_far(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    accounts: Sequence[int],
    today: date,
    present: Present,
    part: str,
) -> Needs:
    """Make ``charged`` of a part (see ``parts_of_now``) of what these billed accounts have come to
    and are not billed for yet, with what ``present`` incentives make of it."""
    seen = min(usage_seen(uow, accounts).values(), default=0)
    accounts = whole_trees(uow, accounts, present)
    items = make_items(
        uow, engine, store, accounts, today, usage_seen=seen, running=True, items=part
    )
    price_items(uow, engine, items)
    needs = make_charged(uow, engine, store, items, used=True)
    # A draft keeps nobody from seeing what comes together meanwhile.
    make_relation(engine, OPEN_DRAFT.name, OPEN_DRAFT, None)
    ends = today
    if part.startswith("NOT"):
        engine.run("DELETE FROM charged WHERE kind = 'reversal'")
        ends = engine.row("SELECT min(cycle_end) FROM due_item")[0] or today
    apply_incentives(uow, engine, accounts, ends, present, store, lock=False)
    return needs


def _compute(
    uow: UnitOfWork, store: UsageStore, account: int, today: date
) -> tuple[list[Record], tuple[Problem, ...]]:
    """Charges (what CurrentCharge shows, what was used of them) and problems."""
    present = find_present(uow)
    rows: list[Record] = []
    problems: dict[Problem, None] = {}
    for condition in parts_of_now(present, today):
        with small_engine() as engine:
            try:
                found = _compute_part(uow, engine, store, account, today, present, condition)
            except NotComputable as fault:
                message = str(fault).splitlines()[0][:1000]
                return [], (Problem("not_computable", message, "account"),)
            rows += found[0]
            problems |= dict.fromkeys(found[1])
    return sorted(rows, key=_place), tuple(problems)


def _compute_part(
    uow: UnitOfWork,
    engine: Engine,
    store: UsageStore,
    account: int,
    today: date,
    present: Present,
    condition: str,
) -> tuple[list[Record], list[Problem]]:
    needs = charge_so_far(uow, engine, store, [account], today, present, condition)
    charges = _charges(engine, account, today)
    used = _grouped(engine.records(_used(engine, needs)), itemgetter("item_id"))
    problems = [
        Problem(row["code"], row["message"], "account")
        for row in engine.records(f"SELECT code, message FROM problem WHERE account_id = {account}")
    ]
    unknown = {"amount": None} if problems else {}
    found = [{**row, **_counted(used.get(row["item_id"], [])), **unknown} for row in charges]
    return found, problems


def _charges(engine: Engine, account: int, today: date) -> list[Record]:
    """The items of the account with what they come to; and what is no item (given back, added,
    taken off) as a row of its own."""
    items = engine.records(_ITEMS.format(today=today.isoformat(), account=account))
    epochs = _grouped(engine.records(_EPOCHS.format(today=today)), itemgetter("item_id"))
    allowed = dict(engine.rows(_ALLOWED)) if engine.has_rows("allowance_item") else {}
    charged = engine.records(_CHARGED.format(account=account))
    amounts: dict[tuple[object, ...], list[Record]] = {}
    for parts in _grouped(charged, _charged_as).values():
        amounts.setdefault(_charged_for(parts[0]), []).append(_come_to(parts))
    rows = [
        {**_UNPRICED, **found, **amount, **item, "included_limit": limit}
        for item in items
        for found in [_priced(item["kind"], epochs.get(item["item_id"], []))]
        for limit in [found["included_in_price"] + allowed.get(item["item_id"], 0)]
        for amount in amounts.get(_charged_for(item), [{}])
    ]
    states = {_charged_for(item)[:2]: item["state"] for item in items}
    rows += [
        {**_UNPRICED, **row, "state": _state(row, states.get(lone[:2]), today)}
        for lone in amounts.keys() - {_charged_for(item) for item in items}
        for row in amounts[lone]
    ]
    for row in rows:
        reached = row["reached"] or {}
        row |= {"tier_from": reached.get("from"), "tier_up_to": reached.get("up_to")}
    return rows


def _grouped(rows: Iterable[Record], key: Callable[[Record], object]) -> dict[object, list[Record]]:
    groups: dict[object, list[Record]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _charged_for(row: Record) -> tuple[object, ...]:
    return row["subscription_charge_id"], row["cycle_start"], row["kind"]


def _charged_as(row: Record) -> tuple[object, ...]:
    return *_charged_for(row), row["charge_name"]


def _come_to(parts: Sequence[Record]) -> Record:
    """What is charged of several epochs of a cycle, as one."""
    unit_amounts = {part["unit_amount"] for part in parts}
    return {
        **parts[0],
        "service_start": min(part["service_start"] for part in parts),
        "service_end": max(part["service_end"] for part in parts),
        "unit_amount": parts[0]["unit_amount"] if len(unit_amounts) == 1 else None,
        "amount": sum(part["amount"] for part in parts),
    }


def _priced(kind: str, epochs: Sequence[Record]) -> Record:
    """How much the epochs of an item come to, and where the last that has begun stands."""
    quantities = [epoch["quantity"] or Decimal(0) for epoch in epochs]
    if not epochs:
        return _UNPRICED
    begun = [epoch for epoch in epochs if epoch["begun"]]
    reached = [epoch["reached"] for epoch in begun if epoch["reached"]]
    return {
        "quantity": sum(quantities) if kind == "usage" else max(quantities),
        "included_quantity": sum(epoch["included_quantity"] or 0 for epoch in epochs),
        "included_in_price": begun[-1]["included_in_price"] if begun else Decimal(0),
        "reached": reached[-1] if reached else None,
    }


def _state(row: Record, of_item: str | None, today: date) -> str:
    """What is added or taken off stands with what it is added to; what is given back is due."""
    if row["kind"] == "reversal":
        return "due"
    return of_item or ("running" if row["service_end"] > today else "due")


def _used(engine: Engine, needs: Needs) -> str:
    if read_once(engine, needs):
        return _METERED
    return _USED.format(events=EventSource(attributes=bool(needs.attributes)).events_in_epochs)


def _place(row: Record) -> tuple[object, ...]:
    """Where a charge stands in the list."""
    return (
        row["account_name"],
        row["site_name"] or "",
        row["product_name"] or "",
        row["charge_name"],
        row["cycle_start"],
        row["subscription_charge_id"] or 0,
        row["kind"],
    )


def _shown(
    account: str,
    billed: BilledAccount,
    now: datetime,
    rows: Sequence[Record],
    named: Mapping[int, Record],
    problems: tuple[Problem, ...],
) -> CurrentCharges:
    charges = tuple(
        _charge(
            row,
            named.get(row["subscription_charge_id"], _UNNAMED),
            exponent(billed.currency),
        )
        for row in rows
    )
    sums = {False: Decimal(0), True: Decimal(0)}
    for charge in charges:
        sums[charge.state == "running"] += charge.amount or 0
    due, running = (None, None) if problems else (sums[False], sums[True])
    return CurrentCharges(
        account=account,
        billed_account=billed.external_id,
        currency=billed.currency,
        at=now,
        today=local_date(now, billed.time_zone),
        charges=charges,
        meters=_meters(rows, named),
        due=due,
        running=running,
        total=None if due is None or running is None else due + running,
        problems=problems,
    )


def _counted(epochs: Sequence[Record]) -> Record:
    return {
        "events": sum(epoch["events"] for epoch in epochs),
        "used": sum((epoch["used"] for epoch in epochs), Decimal(0)),
        "last_event_at": max((epoch["last_event_at"] for epoch in epochs), default=None),
    }


_UNPRICED: Record = {
    "item_id": None,
    "quantity": None,
    "included_quantity": Decimal(0),
    "included_in_price": Decimal(0),
    "included_limit": Decimal(0),
    "reached": None,
    "unit_amount": None,
    "amount": Decimal(0),
}
_UNNAMED: Record = dict.fromkeys(("account", "subscription", "charge", "meter"))


def _charge(row: Record, names: Record, digits: int) -> CurrentCharge:
    amount = row["amount"]
    shown = {field: row[field] for field in _SHOWN}
    return CurrentCharge(
        **shown,
        account=names["account"],
        subscription=names["subscription"],
        charge=names["charge"],
        meter=names["meter"] if row["kind"] == "usage" else None,
        events=row["events"],
        last_event_at=_instant(row["last_event_at"]),
        amount=None if amount is None else round_half_up(amount, digits),
    )


_SHOWN = (
    *("account_name", "site_name", "product_name", "charge_name", "kind", "state"),
    "subscription_charge_id",
    *("cycle_start", "cycle_end", "service_start", "service_end", "quantity", "unit"),
    *("included_quantity", "included_limit", "tier_from", "tier_up_to", "unit_amount"),
)


def _instant(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)


def _meters(rows: Sequence[Record], named: Mapping[int, Record]) -> tuple[CurrentMeter, ...]:
    """The charges' usage by meter and cycle; of several charges of one subscription the first."""
    found: dict[tuple[str, date, date], dict[str, Record]] = {}
    for row in rows:
        if row["events"]:
            names = named[row["subscription_charge_id"]]
            cycle = (names["meter"], row["cycle_start"], row["cycle_end"])
            of_subscriptions = found.setdefault(cycle, {})
            of_subscriptions.setdefault(names["subscription"], {**names, **row})
    return tuple(
        CurrentMeter(
            meter=meter,
            unit=next(iter(parts.values()))["meter_unit"],
            cycle_start=start,
            cycle_end=end,
            events=sum(part["events"] for part in parts.values()),
            quantity=sum((part["used"] for part in parts.values()), Decimal(0)),
            last_event_at=_instant(max(part["last_event_at"] for part in parts.values())),
        )
        for (meter, start, end), parts in sorted(found.items())
    )
