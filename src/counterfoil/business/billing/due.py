"""What is due by a date: the cycles of every charge, as ``charge_item`` rows for rating.

A charge is due
  one-time    once, on its start date;
  recurring in advance   from the first day of service of a cycle, with several periods ahead from
                         the beginning of the cycle so many less one before it;
  recurring in arrears, and usage   from the day after the last day of service of a cycle;
and never again once ``billed_through`` has passed it. A recurring charge without proration is
billed once per cycle, in full, for the quantity held when its service in the cycle begins: a
change of quantity counts from the next cycle on, and nothing is given back. Late usage makes the
cycles it falls into due again: rating then bills the difference.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.relations import midnight_relation
from counterfoil.business.incentives.applying import with_minor_digits
from counterfoil.core.money.exact_sql import half_up, minor_units, power_of_ten, raw
from counterfoil.core.periods.cadence import (
    Cadence,
    calendar_anchor,
    cycle_index,
    cycle_start,
    cycles_between,
)
from counterfoil.platform.engine.duck import Engine

_ONE_DAY = timedelta(days=1)

_CYCLES = pa.schema(
    [
        ("alignment", pa.string()),
        ("period_unit", pa.string()),
        ("period_count", pa.int64()),
        ("cycle_day", pa.int64()),
        ("anchor_date", pa.date32()),
        ("cycle_start", pa.date32()),
        ("cycle_end", pa.date32()),
        ("ahead", pa.int64()),
    ]
)

_IN_CADENCE = """
    c.alignment = d.alignment AND c.period_unit = d.period_unit
    AND c.period_count = d.period_count
    AND (d.alignment = 'calendar' AND c.cycle_day = d.cycle_day
         OR d.alignment = 'anniversary' AND c.anchor_date = d.anchor_date)
"""

_SAME_CADENCE = _IN_CADENCE.replace("c.", "m.")

# One day of margin on each side, because the day here is UTC's: a cycle in which nothing is late
# after all comes out of rating with no difference. So does a cycle that was billed and then cut
# short by a cancellation, but for what was used after its new end. Where a level is carried over, a
# late event changes all cycles from its own on.
_LATE_USAGE = f"""
SELECT DISTINCT d.subscription_charge_id, c.cycle_start, c.cycle_end
FROM every_charge d
JOIN new_day u
  ON u.subscription_id = d.subscription_id AND u.meter_id = d.meter_id
JOIN cycle c ON {_IN_CADENCE}
 AND (c.cycle_start <= u.day + 1 OR d.carried_over) AND c.cycle_end >= u.day
WHERE d.kind = 'usage' AND least(c.cycle_end, coalesce(d.end_date, c.cycle_end)) <= d.billed_through
"""
_CUT_SHORT = f"""
SELECT d.subscription_charge_id, c.cycle_start, c.cycle_end
FROM every_charge d JOIN cycle c ON {_IN_CADENCE}
 AND c.cycle_start < d.end_date AND c.cycle_end > d.end_date
WHERE d.kind = 'usage' AND d.billed_through > d.end_date
"""
_LATE_IN_POOL = f"""
SELECT DISTINCT d.subscription_charge_id, c.cycle_start, c.cycle_end
FROM every_charge d
JOIN cycle c ON {_IN_CADENCE}
JOIN pool_member m ON m.root_id = d.root_id AND {_SAME_CADENCE}
JOIN new_day u
  ON u.subscription_id = m.subscription_id AND u.meter_id = m.meter_id
 AND c.cycle_start <= u.day + 1 AND c.cycle_end >= u.day
WHERE d.subscription_charge_id IN (SELECT subscription_charge_id FROM pool_member)
  AND least(c.cycle_end, coalesce(d.end_date, c.cycle_end)) <= d.billed_through
"""
_LATE_FOR_FORMULA = f"""
SELECT DISTINCT d.subscription_charge_id, c.cycle_start, c.cycle_end
FROM every_charge d
JOIN cycle c ON {_IN_CADENCE}
JOIN usage_reader r ON r.charge_id = d.charge_id
JOIN formula_scope o ON o.subscription_id = d.subscription_id AND o.scope = r.scope
JOIN formula_scope m ON m.scope = r.scope AND m.owner_id = o.owner_id
JOIN new_day u
  ON u.subscription_id = m.subscription_id AND u.meter_id = r.meter_id
 AND c.cycle_start <= u.day + 1 AND c.cycle_end >= u.day
WHERE d.kind = 'usage' AND least(c.cycle_end, coalesce(d.end_date, c.cycle_end)) <= d.billed_through
"""

_NO_LATE_CYCLE = """
SELECT 0::BIGINT AS subscription_charge_id, DATE '2000-01-01' AS cycle_start,
       DATE '2000-01-01' AS cycle_end WHERE false
"""

_IN_CYCLES = f"""
    SELECT d.*, c.cycle_start, c.cycle_end, false AS late,
           greatest(c.cycle_start, coalesce(d.billed_through, d.start_date), d.start_date)
               AS service_start,
           least(c.cycle_end, coalesce(d.end_date, c.cycle_end)) AS service_end
    FROM every_charge d JOIN cycle c ON {_IN_CADENCE} AND c.ahead < d.periods_ahead
    WHERE d.kind <> 'one_time'
"""
_IN_LATE_CYCLES = """
    SELECT d.*, l.cycle_start, l.cycle_end, true, greatest(l.cycle_start, d.start_date),
           least(l.cycle_end, coalesce(d.end_date, l.cycle_end))
    FROM every_charge d JOIN late_cycle l USING (subscription_charge_id)
"""
_ONCE = """
    SELECT d.*, d.start_date, d.start_date + 1, false, d.start_date,
           least(d.start_date + 1, coalesce(d.end_date, d.start_date + 1))
    FROM every_charge d WHERE d.kind = 'one_time' AND d.billed_through IS NULL
"""
_DUE = """
SELECT row_number() OVER (ORDER BY subscription_charge_id, service_start) AS item_id, s.*,
       false AS counted_only, {by_event} AS by_event,
       CASE WHEN s.kind = 'one_time' OR s.kind = 'recurring' AND s.proration = 'none'
            THEN s.service_start + 1 ELSE s.service_end END AS pricing_end,
       s.kind = 'recurring' AND s.proration = 'by_day' AS prorated,
       s.kind = 'recurring' AND s.proration = 'by_day'
           AND (s.start_offset <> 0 AND s.service_start = s.start_date
                OR s.end_offset <> 0 AND coalesce(s.service_end = s.end_date, false)) AS by_second,
       CASE WHEN s.carried_over THEN s.start_date ELSE s.service_start END AS counted_from,
       s.carried_over AND s.proration = 'by_day' AND s.aggregation <> 'weighted_sum'
           AND NOT {by_event} AS stood
FROM ({spans}) s
WHERE s.service_start < s.service_end
  AND NOT (s.kind = 'recurring' AND s.proration = 'none' AND s.continues
           AND s.service_start = s.start_date AND s.start_date > s.cycle_start)
  AND {due_on} <= DATE '{billing_date}'
"""

DUE_ON = """CASE WHEN {s}kind = 'recurring' AND {s}periods_ahead > 1 THEN {s}first_service
     WHEN {s}kind = 'one_time' OR {s}kind = 'recurring' AND {s}timing = 'in_advance'
     THEN {s}service_start ELSE {s}service_end END"""
"""The day from which an item is due, of those whose cycles are there at all."""

_BY_EVENT = "s.subscription_charge_id IN (SELECT subscription_charge_id FROM pool_member)"

# Those whose events stand in line with something due, and are not due themselves, count all the
# same: what goes by event in the same tree and cycle.
_COUNTED_ONLY = f"""
SELECT (SELECT max(item_id) FROM rated_item)
           + row_number() OVER (ORDER BY m.subscription_charge_id, d.cycle_start) AS item_id,
       m.*, d.cycle_start, d.cycle_end, false AS late,
       greatest(d.cycle_start, m.start_date) AS service_start,
       least(d.cycle_end, coalesce(m.end_date, d.cycle_end)) AS service_end,
       0 AS minor_digits, false AS by_second, true AS by_event, true AS counted_only,
       least(d.cycle_end, coalesce(m.end_date, d.cycle_end)) AS pricing_end, false AS prorated,
       greatest(d.cycle_start, m.start_date) AS counted_from, false AS stood
FROM pool_member m
JOIN (SELECT DISTINCT root_id, alignment, period_unit, period_count, cycle_day, anchor_date,
             cycle_start, cycle_end
      FROM rated_item WHERE by_event) d
  ON d.root_id = m.root_id AND {_SAME_CADENCE}
WHERE greatest(d.cycle_start, m.start_date) < least(d.cycle_end, coalesce(m.end_date, d.cycle_end))
  AND NOT EXISTS (SELECT 1 FROM rated_item i
                  WHERE i.subscription_charge_id = m.subscription_charge_id
                    AND i.cycle_start = d.cycle_start)
"""

_CHARGE_ITEM = """
SELECT *, CASE WHEN by_event
          THEN dense_rank() OVER (ORDER BY charge_id, pool_owner_id, cycle_start, cycle_end)
          END AS pool_id
FROM (SELECT * FROM rated_item UNION ALL BY NAME SELECT * FROM counted_item)
"""
_ALONE = "SELECT *, NULL::BIGINT AS pool_id FROM ({due}) WHERE {condition}"

IS_DUE = "NOT (tree_only OR counted_only)"
"""Of ``charge_item`` what is billed; the rest is there for the sake of others."""

# Service that was billed but is no longer given: each recurring or one-time charge billed
# beyond the end gives back its share of days of the amount as billed, less what earlier reversals
# gave back, and never more than credit and debit notes have left of it. Usage is given back when
# it was billed for days wholly after the end; a cycle that was cut short is rated again (see
# _CUT_SHORT). So are minimums, maximums and discounts of a charge.
_REVERSIBLE = """
SELECT b.rated_charge_id, d.*, b.cycle_start, b.cycle_end, b.price_id, b.layer,
       b.amount AS billed_amount, b.quantity AS billed_quantity,
       b.discount_id, b.holder_id, b.applied_name, b.service_start AS counts_on,
       greatest(d.end_date, b.service_start) AS service_start,
       coalesce(r.given_back_from, b.service_end) AS service_end,
       b.service_end - greatest(d.end_date, b.service_start) AS days,
       b.service_end - b.service_start AS cycle_days,
       {part} AS part, {whole} AS whole,
       coalesce(r.given_back, 0) AS given_back, coalesce(n.amount, 0) AS by_hand
FROM every_charge d
JOIN billed_charge b USING (subscription_charge_id)
LEFT JOIN (SELECT reverses_id, -sum(amount) AS given_back, min(service_start) AS given_back_from
           FROM billed_charge WHERE kind = 'reversal' GROUP BY reverses_id) r
  ON r.reverses_id = b.rated_charge_id
LEFT JOIN (SELECT coalesce(e.applies_to_id, p.applies_to_id, e.reverses_id) AS base_id,
                  sum(e.amount) AS amount
           FROM earlier_charge e
           LEFT JOIN earlier_charge p ON p.rated_charge_id = e.reverses_id AND p.kind = 'debit'
           WHERE e.kind IN ('credit', 'debit') GROUP BY base_id) n
  ON n.base_id = b.rated_charge_id
{joined}WHERE d.billed_through > d.end_date AND b.service_end > d.end_date
  AND b.kind <> 'reversal'
  AND (d.kind = 'recurring' AND d.proration = 'by_day' OR d.kind = 'one_time'
       OR d.kind = 'usage' AND b.service_start >= d.end_date)
  AND coalesce(r.given_back_from, b.service_end) > greatest(d.end_date, b.service_start)
"""

_DAYS_BACK = {
    "part": "b.service_end - greatest(d.end_date, b.service_start)",
    "whole": "b.service_end - b.service_start",
    "joined": "",
}
# The same in seconds, of what begins or ends within a day, or did when it was billed.
_LAST_SECONDS = "CASE WHEN b.service_end = d.former_end_date THEN d.former_end_offset ELSE 0 END"
_SECONDS_BILLED = f"""(y.second - x.second + {_LAST_SECONDS}
    - CASE WHEN b.service_start = d.start_date THEN d.start_offset ELSE 0 END)"""
_BY_SECOND = "d.start_offset <> 0 OR d.end_offset <> 0 OR d.former_end_offset <> 0"
_SECONDS_BACK = {
    "part": f"""CASE WHEN NOT ({_BY_SECOND}) THEN {_DAYS_BACK["part"]}
        WHEN d.end_date < b.service_start OR d.end_date <= d.start_date THEN {_SECONDS_BILLED}
        ELSE least(y.second - z.second + {_LAST_SECONDS} - d.end_offset, {_SECONDS_BILLED}) END""",
    "whole": f"CASE WHEN {_BY_SECOND} THEN {_SECONDS_BILLED} ELSE {_DAYS_BACK['whole']} END",
    "joined": """LEFT JOIN second_of x ON x.time_zone = d.time_zone AND x.day = b.service_start
LEFT JOIN second_of y ON y.time_zone = d.time_zone AND y.day = b.service_end
LEFT JOIN second_of z ON z.time_zone = d.time_zone AND z.day = d.end_date
""",
}
_SECONDS_ASKED = f"""
SELECT DISTINCT d.time_zone, unnest([b.service_start, b.service_end, d.end_date])
FROM every_charge d JOIN billed_charge b USING (subscription_charge_id)
WHERE d.billed_through > d.end_date AND ({_BY_SECOND})
"""

_REVERSED_MINOR = half_up(
    f"({raw('billed_amount', 4)} * part)",
    f"(whole * {power_of_ten('minor_digits', 4)})",
)
_REVERSED = f"""
SELECT * EXCLUDE (share), CASE WHEN billed_amount < 0
       THEN greatest(share, least(billed_amount - given_back + by_hand, 0))
       ELSE least(share, greatest(billed_amount - given_back + by_hand, 0)) END AS back
FROM (SELECT *, CASE WHEN part = whole THEN billed_amount
             ELSE {minor_units(_REVERSED_MINOR, "minor_digits")} END - given_back AS share
      FROM reversible)
"""


def every_charge(charges: pa.Table, tree: pa.Table) -> pa.Table:
    """Charges (columns of load_charges) and those of others that are rated for the sake of their
    formulas: those are ``tree_only``. With the ``minor_digits`` of their currencies."""
    marked = [
        table.append_column("tree_only", pa.repeat(pa.scalar(only), table.num_rows))
        for table, only in ((charges, False), (tree, True))
    ]
    return with_minor_digits(pa.concat_tables(marked), "currency")


def make_cycles(
    engine: Engine, charges: pa.Table, billing_date: date, *, since: date = date.min
) -> None:
    """Make ``cycle``: every cycle of every distinct cadence of the charges that may matter and does
    not end before ``since``, computed from its original anchor; ``ahead`` counts those that begin
    after the billing date."""
    rows: list[tuple[object, ...]] = []
    for alignment, unit, count, cycle_day, anchor_date, first_day, ahead in _cadences(charges):
        anchor = calendar_anchor(unit, cycle_day) if alignment == "calendar" else anchor_date
        first_day = max(first_day, since)
        cadence = Cadence(unit, count)
        cycles = [
            (*cycle, 0)
            for cycle in cycles_between(anchor, cadence, first_day, billing_date + _ONE_DAY)
        ]
        running = cycle_index(anchor, cadence, billing_date) if ahead > 1 else 0
        cycles += [
            (
                cycle_start(anchor, cadence, running + further),
                cycle_start(anchor, cadence, running + further + 1),
                further,
            )
            for further in range(1, ahead)
        ]
        rows += [(alignment, unit, count, cycle_day, anchor_date, *cycle) for cycle in cycles]
    columns = [
        pa.array([row[position] for row in rows], column.type)
        for position, column in enumerate(_CYCLES)
    ]
    engine.register("cycle", pa.table(columns, schema=_CYCLES))


def _cadences(charges: pa.Table) -> list[tuple[Any, ...]]:
    """alignment, period_unit, period_count, cycle_day or anchor_date, the first day from which
    cycles are needed, and how many of them ahead."""
    charges = charges.filter(pc.not_equal(charges["kind"], "one_time"))
    by_calendar = pc.equal(charges["alignment"], "calendar")
    nothing = pa.scalar(None)
    billed = pc.and_(pc.equal(charges["kind"], "recurring"), charges["billed_through"].is_valid())
    columns = {
        **{name: charges[name] for name in ("alignment", "period_unit", "period_count")},
        "cycle_day": pc.if_else(by_calendar, charges["cycle_day"], nothing),
        "anchor_date": pc.if_else(by_calendar, nothing, charges["anchor_date"]),
        "needed_from": pc.if_else(billed, charges["billed_through"], charges["start_date"]),
        "periods_ahead": charges["periods_ahead"],
    }
    names = [*columns][:5]
    grouped = pa.table(columns).group_by(names, use_threads=False)
    found = grouped.aggregate([("needed_from", "min"), ("periods_ahead", "max")])
    ordered = found.select([*names, "needed_from_min", "periods_ahead_max"])
    return list(zip(*(column.to_pylist() for column in ordered.columns), strict=True))


@dataclass(frozen=True, slots=True)
class Due:
    """What there may be among what is due: what there is none of need not be computed.

    ``late``: cycles that were billed before. ``given_back``: service that was billed and is no
    longer given.
    """

    late: bool
    given_back: bool


def make_due_items(
    engine: Engine, charges: pa.Table, billing_date: date, *, condition: str = "true"
) -> Due:
    """From ``every_charge``, ``pool_member``, ``cycle`` and ``new_day`` make ``due_item``; and,
    with what is rated for the sake of formulas and what counts in pools besides, ``charge_item``
    (core.rating.relations); both have all columns of ``every_charge`` beside. Only what meets the
    SQL ``condition`` is due."""
    engine.register("every_charge", charges)
    ended = pc.any(pc.greater(charges["billed_through"], charges["end_date"])).as_py()
    once = pc.any(pc.equal(charges["kind"], "one_time")).as_py()
    pooled = engine.has_rows("pool_member")
    late = _make_late_cycles(engine, cut_short=bool(ended), pooled=pooled)
    spans = [_IN_CYCLES, *([_IN_LATE_CYCLES] if late else []), *([_ONCE] if once else [])]
    due = _DUE.format(
        spans=" UNION ALL ".join(spans),
        by_event=_BY_EVENT if pooled else "false",
        billing_date=billing_date.isoformat(),
        due_on=DUE_ON.format(s="s."),
    )
    if pooled:
        engine.run(f"CREATE TABLE rated_item AS SELECT * FROM ({due}) WHERE {condition}")
        engine.run(f"CREATE TABLE counted_item AS {_COUNTED_ONLY}")
        engine.run(f"CREATE TABLE charge_item AS {_CHARGE_ITEM}")
    else:
        engine.run(f"CREATE TABLE charge_item AS {_ALONE.format(due=due, condition=condition)}")
    engine.define("due_item", f"SELECT * FROM charge_item WHERE {IS_DUE}")
    return Due(late, bool(ended))


def _make_late_cycles(engine: Engine, *, cut_short: bool, pooled: bool) -> bool:
    """Make ``late_cycle``, asking only what can have an answer; whether there may be any."""
    late = [_CUT_SHORT] if cut_short else []
    if engine.has_rows("new_day"):
        late.append(_LATE_USAGE)
        if pooled:
            late.append(_LATE_IN_POOL)
        if engine.has_rows("usage_reader"):
            late.append(_LATE_FOR_FORMULA)
    if late:
        engine.run(f"CREATE TABLE late_cycle AS {' UNION '.join(late)}")
    else:
        engine.leave_empty("late_cycle", _NO_LATE_CYCLE)
    return bool(late)


def make_reversible(engine: Engine) -> None:
    """From ``every_charge`` and ``billed_charge`` make ``reversible`` and ``reversed``, which has
    the amount given ``back`` beside."""
    asked = engine.rows(_SECONDS_ASKED)
    if asked:
        engine.register("midnight_back", midnight_relation(asked))
        engine.run(
            "CREATE TABLE second_of AS SELECT time_zone, day, epoch_us(instant) // 1000000 AS "
            "second FROM midnight_back"
        )
    shares = _SECONDS_BACK if asked else _DAYS_BACK
    engine.run(f"CREATE TABLE reversible AS {_REVERSIBLE.format(**shares)}")
    engine.run(f"CREATE TABLE reversed AS {_REVERSED}")
