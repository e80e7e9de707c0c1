"""What subscriptions that are only thought of would be billed, one bill run after the other.

Whoever asks has made them in a unit of work that is undone in the end, and so is what is stored
here. Everything else is the way of a bill run: what is quoted cannot differ from what is billed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.applied_explanation import applied_sentences
from counterfoil.business.billing.bills import OPEN_DRAFT, make_documents, whole_trees
from counterfoil.business.billing.charging import make_charged, make_items, price_items
from counterfoil.business.billing.commands import BatchOrder, save_bills
from counterfoil.business.billing.entities import APPLIED_KINDS
from counterfoil.business.billing.explanation import rated_sentences
from counterfoil.business.billing.incentives import apply_incentives
from counterfoil.business.billing.loading import PRICED_BY_EVENT, load_profiles
from counterfoil.business.billing.relations import make_relation
from counterfoil.business.incentives.loading import find_present
from counterfoil.business.usage.store import UsageStore, visible_segments
from counterfoil.core.periods.cadence import Cadence, calendar_anchor, cycles_between
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import Engine, NotComputable, small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Prospects:
    """Subscriptions (ids) of accounts that are billed through ``account`` (id), and the bill run
    under which they are billed."""

    account: int
    subscriptions: tuple[int, ...]
    run: int


def begin_prospects(
    uow: UnitOfWork, account: int, subscriptions: Sequence[int], day: date
) -> Prospects:
    """Get ready to bill these subscriptions as if they were all there is."""
    run = uow.create("bill_run", {"billing_date": day, "finalize": False})
    return Prospects(account, tuple(subscriptions), int(run["id"]))


_CHARGES = "SELECT id FROM subscription_charge WHERE subscription_id = ANY(:ids) ORDER BY id"


def bill_prospects(uow: UnitOfWork, store: UsageStore, of: Prospects, day: date) -> None:
    """Bill what is due of them by a day, after what was billed of them before. Refuses (422) what
    keeps them from being billed, such as a missing price."""
    charges = ", ".join(str(row["id"]) for row in uow.query(_CHARGES, ids=list(of.subscriptions)))
    chosen = ", ".join(map(str, of.subscriptions))
    present = find_present(uow)
    newest = visible_segments(uow).newest
    with small_engine() as engine:
        try:
            items = make_items(
                uow,
                engine,
                store,
                whole_trees(uow, [of.account], present),
                day,
                usage_seen=newest,
                items=f"subscription_charge_id IN ({charges})",
            )
            price_items(uow, engine, items)
            make_charged(uow, engine, store, items)
            make_relation(engine, OPEN_DRAFT.name, OPEN_DRAFT, None)
            apply_incentives(uow, engine, [of.account], day, present, store, lock=False)
        except NotComputable as fault:
            message = str(fault).splitlines()[0][:1000]
            raise Refused(Problem("not_computable", message, "lines")) from fault
        _refuse_problems(engine)
        engine.run(f"DELETE FROM charged WHERE coalesce(subscription_id, 0) NOT IN ({chosen})")
        engine.register("profile", load_profiles(uow, [of.account]))
        bills = make_documents(uow, engine, day)
    order = BatchOrder(
        accounts=(of.account,),
        billing_date=day,
        bill_run_id=of.run,
        usage_seen=newest,
        finalize=False,
        now=uow.now,
        threads=None,
    )
    save_bills(uow, bills, order)


def _refuse_problems(engine: Engine) -> None:
    rows = engine.rows("SELECT code, message FROM problem ORDER BY code, message")
    if rows:
        raise Refused([Problem(str(code), str(message), "lines") for code, message in rows])


_CADENCES = """
SELECT DISTINCT c.alignment, c.period_unit, c.period_count,
       coalesce(s.anchor_date, s.start_date) AS anchor_date
FROM subscription_charge sc
JOIN subscription s ON s.id = sc.subscription_id
JOIN charge c ON c.id = sc.charge_id
WHERE s.id = ANY(:ids) AND c.kind <> 'one_time' AND sc.start_date <= :day
"""


def next_billing_day(uow: UnitOfWork, of: Prospects, day: date, cycle_day: int) -> date | None:
    """The first day after this one on which a cycle ends; None when none is running."""
    ends = []
    for row in uow.query(_CADENCES, ids=list(of.subscriptions), day=day):
        unit = str(row["period_unit"])
        anchor = cast("date", row["anchor_date"])
        if row["alignment"] == "calendar":
            anchor = calendar_anchor(unit, cycle_day)
        cadence = Cadence(unit, int(row["period_count"]))
        ends += [end for _, end in cycles_between(anchor, cadence, day, day + timedelta(days=1))]
    return min(ends, default=None)


_END = """
UPDATE {table} SET end_date = e.day
FROM unnest(CAST(:ids AS bigint[]), CAST(:days AS date[])) AS e(id, day)
WHERE {table}.{key} = e.id
"""


def end_prospects(uow: UnitOfWork, ends: Mapping[int, date]) -> None:
    """Let subscriptions (ids) end with their terms, so that nothing after it is billed."""
    for table, key in (("subscription", "id"), ("subscription_charge", "subscription_id")):
        sql = _END.format(table=table, key=key)
        uow.execute(sql, ids=list(ends), days=list(ends.values()))


_RATED = f"""
SELECT r.id, i.invoice_date, c.id AS charge_id,
       coalesce(sc.subscription_id, nullif(r.subject_id, 0)) AS subscription_id,
       c.kind AS charge_kind, r.commitment_id,
       c.name, c.period_unit, c.period_count, r.kind, l.description, r.cycle_start, r.cycle_end,
       r.service_start, r.service_end, r.applies_to_id, r.discount_id, r.price_id, r.layer,
       r.quantity, r.quantity_before, r.included_quantity, r.events, r.days, r.cycle_days,
       r.list_amount, r.exact_amount, r.amount, r.currency, r.steps, r.formulas, r.reverses_id,
       c.unit, c.unit_rounding, c.event_minimum, c.event_increment, c.pooled_over, c.proration,
       m.external_id AS meter, m.unit AS meter_unit, m.aggregation, m.percentile, m.carried_over,
       p.free_events, p.event_amount_minimum, p.event_amount_maximum,
       l.unit_amount, l.unit AS line_unit, NULL AS billed_before, p.included_quantity AS includes,
       {PRICED_BY_EVENT} AS priced_by_event
FROM rated_charge r
JOIN invoice i ON i.id = r.invoice_id
JOIN invoice_line l ON l.rated_charge_id = r.id
LEFT JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
LEFT JOIN charge c ON c.id = sc.charge_id
LEFT JOIN meter m ON m.id = c.meter_id
LEFT JOIN price p ON p.id = r.price_id
WHERE i.bill_run_id = :run ORDER BY i.id, l.position
"""

_DRAWS = """
SELECT d.rated_charge_id, e.name, d.granted_cycle_start, d.quantity
FROM allowance_draw d JOIN entitlement e ON e.id = d.entitlement_id
JOIN rated_charge r ON r.id = d.rated_charge_id JOIN invoice i ON i.id = r.invoice_id
WHERE i.bill_run_id = :run ORDER BY d.id
"""


def read_prospects(uow: UnitOfWork, of: Prospects) -> list[Record]:
    """All that was billed of them: the fields of rated charges with those of their charges and
    lines, and with ``sentences`` that explain the amount. Two queries for any number."""
    draws: dict[int, list[Record]] = {}
    for row in uow.query(_DRAWS, run=of.run):
        draws.setdefault(row["rated_charge_id"], []).append(row)
    rows = uow.query(_RATED, run=of.run)
    for row in rows:
        row["sentences"] = _told(row, draws.get(row["id"], []))
    return rows


def _told(row: Record, draws: list[Record]) -> tuple[str, ...]:
    if row["kind"] in APPLIED_KINDS:
        return applied_sentences(row)
    price = {**row, "included_quantity": row["includes"] or Decimal(0)}
    facts = {**row, "seconds": None}  # What is offered begins and ends with whole days.
    return rated_sentences(row, facts, price, [], draws)
