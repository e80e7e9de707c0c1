"""From usage events to priced quantities, and where in the cycle's tiers they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.money.exact_sql import decimal15, half_up, raw
from counterfoil.core.rating.relations import QUANTITY, SMALLEST_QUANTITY, Relation, Statement

# Without a minimum it is nothing, without an increment the smallest quantity there is: so that
# the arithmetic per event needs no branches, which is what makes it fast.
_USAGE_EPOCH = f"""
SELECT e.item_id, e.epoch_no, {{cells}}, i.subscription_id, i.meter_id, i.by_event, i.pool_id,
       i.aggregation, i.unit_size,
       coalesce(i.event_minimum, 0::{QUANTITY}) AS event_minimum,
       coalesce(i.event_increment, {SMALLEST_QUANTITY}::{QUANTITY}) AS event_increment,
       {{start}} AS start_at, a.instant AS epoch_at, b.instant AS end_at{{further}}{{steps}}
FROM price_epoch e
JOIN charge_item i USING (item_id)
JOIN midnight a ON a.time_zone = i.time_zone AND a.day = e.epoch_start
JOIN midnight b ON b.time_zone = i.time_zone AND b.day = e.epoch_end
{{joined}}{{stepped}}WHERE i.kind = 'usage'
"""

# Items that are measured as a whole look back to the first day that counts.
_OF_ANEW = """, w.item_id IS NOT NULL AS anew, coalesce(w.stood, false) AS stood,
       CAST(i.percentile * 1000 AS BIGINT) AS percentile_milli, i.time_zone,
       i.service_start AS first_day, f.instant AS first_at,
       epoch_us(q.instant) - epoch_us(p.instant) AS cycle_us"""
_WITH_ANEW = """LEFT JOIN anew_item w USING (item_id)
JOIN midnight c ON c.time_zone = i.time_zone AND c.day = i.counted_from
JOIN midnight f ON f.time_zone = i.time_zone AND f.day = i.service_start
JOIN midnight p ON p.time_zone = i.time_zone AND p.day = i.cycle_start
JOIN midnight q ON q.time_zone = i.time_zone AND q.day = i.cycle_end
"""
_LOOKING_BACK = "CASE WHEN w.item_id IS NULL THEN a.instant ELSE c.instant END"


def _as_millionths(quantity: str) -> str:
    """BIGINT of a DECIMAL(38,15) that is a whole number of millionths, below 10**12; else null."""
    narrow = f"TRY_CAST({quantity} AS DECIMAL(18,6))"
    counted = f"CAST(CAST({narrow} AS DECIMAL(25,6)) * 1000000 AS BIGINT)"
    return f"CASE WHEN {narrow} = {quantity} THEN {counted} END"


# There are few different ones, so that what is slow is done once for all items. Without an
# increment every number of millionths is full; where minimum or increment is no such number,
# nothing is counted in them.
_WITH_STEPS = f"""JOIN (
    SELECT event_minimum, event_increment, least_millionths,
           CASE WHEN least_millionths IS NULL THEN NULL WHEN event_increment IS NULL THEN 1
                ELSE {_as_millionths("event_increment")} END AS step_millionths
    FROM (SELECT *, {_as_millionths(f"coalesce(event_minimum, 0::{QUANTITY})")} AS least_millionths
          FROM (SELECT DISTINCT event_minimum, event_increment FROM charge_item))) s
  ON s.event_minimum IS NOT DISTINCT FROM i.event_minimum
 AND s.event_increment IS NOT DISTINCT FROM i.event_increment
"""


def usage_epoch(*, anew: bool = False, cells: bool = False, millionths: bool = True) -> Statement:
    """Makes ``usage_epoch``: the stretches of time whose events are counted. With ``millionths``
    also the least one event counts for and its increment in these; null where they are no such."""
    matrix = "e.terms_id IN (SELECT terms_id FROM matrix_terms)" if cells else "false"
    marked = f"e.terms_id, i.charge_id, {matrix} AS matrix"
    return Statement(
        "usage_epoch",
        _USAGE_EPOCH.format(
            cells=marked if cells or anew else "e.terms_id",
            start=_LOOKING_BACK if anew else "a.instant",
            further=_OF_ANEW if anew else "",
            joined=_WITH_ANEW if anew else "",
            steps=", s.least_millionths, s.step_millionths" if millionths else "",
            stepped=_WITH_STEPS if millionths else "",
        ),
    )


# Of the last place below the quantity the full increments, and one more: so the remainder, by far
# the dearest part, is needed once, and no branch for a quantity that is full already.
_JUST_BELOW = f"(greatest(u.quantity, e.event_minimum) - {SMALLEST_QUANTITY}::{QUANTITY})"
EVENT_QUANTITY = f"{_JUST_BELOW} - {_JUST_BELOW} % e.event_increment + e.event_increment"
"""Meter units an event of positive quantity counts for: at least the minimum, rounded up to the
increment. An event of quantity zero counts for nothing."""

EVENT_COUNTS = f"""CASE WHEN e.aggregation = 'count' THEN 1::{QUANTITY}
                     WHEN u.quantity > 0 THEN {EVENT_QUANTITY} ELSE 0::{QUANTITY} END"""
"""Meter units an event adds to a sum or count."""


@dataclass(frozen=True, slots=True)
class EventSource:
    """Where usage events come from: as they are, or with their ``attributes`` looked at (filters,
    properties; see core.rating.attributes), or sorted into the ``cells`` of prices as well."""

    attributes: bool = False
    cells: bool = False

    @property
    def events_in_epochs(self) -> str:
        """A FROM clause: every usage event ``u`` beside each item epoch ``e`` it counts in.

        ``e`` is a row of ``usage_epoch``: item_id, epoch_no, event_minimum, event_increment,
        start_at and end_at, between which events count, epoch_at, and of the item by_event,
        pool_id, aggregation and unit_size.
        """
        usage = "counted_usage" if self.attributes else "usage"
        joined = f"""{usage} u JOIN usage_epoch e
  ON u.subscription_id = e.subscription_id AND u.meter_id = e.meter_id
 AND u.time >= e.start_at AND u.time < e.end_at
"""
        if self.cells:
            joined += """LEFT JOIN cell_match k
  ON k.terms_id = e.terms_id AND k.combination_no = u.combination_no AND e.matrix
"""
        return joined

    @property
    def property_value(self) -> str:
        """The value of the property the meter counts, null without."""
        return "u.property" if self.attributes else "NULL::VARCHAR"

    @property
    def cell_no(self) -> str:
        """The cell of the price the event falls into; null where it falls into none."""
        return "CASE WHEN e.matrix THEN k.cell_no ELSE 0 END" if self.cells else "0"


# The same in millionths, which an event of at most six decimals is counted in.
_EVENT_MILLIONTHS = """((greatest(u.millionths, e.least_millionths) - 1) // e.step_millionths + 1)
           * e.step_millionths"""
_SUMMED = f"sum({EVENT_QUANTITY}) FILTER (u.quantity > 0)"
_SUMMED_EITHER_WAY = f"""
    coalesce(CAST(CAST(sum({_EVENT_MILLIONTHS}) FILTER (u.millionths > 0) AS DECIMAL(31,0))
                  * 0.000001::DECIMAL(7,6) AS {QUANTITY}), 0)
    + coalesce(sum(CASE WHEN u.quantity > 0
                         AND (u.millionths IS NULL OR e.step_millionths IS NULL)
                        THEN {EVENT_QUANTITY} END), 0)"""


def _metered(
    source: EventSource, *, anew: bool, peaks: bool, millionths: bool, used: bool
) -> Statement:
    others = " AND NOT e.anew" if anew else ""
    highest = ",\n       max(u.quantity) AS highest" if peaks else ""
    seen = ",\n       sum(u.quantity) AS used, max(u.time) AS last_event_at" if used else ""
    summed = _SUMMED_EITHER_WAY if millionths else _SUMMED
    return Statement(
        "metered",
        f"""
SELECT e.item_id, e.epoch_no, count(*) AS events,
       CAST({summed} AS {QUANTITY}) AS summed{highest}{seen}
FROM {EventSource(attributes=source.attributes).events_in_epochs}
WHERE NOT e.by_event{others}
GROUP BY e.item_id, e.epoch_no
""",
    )


_ROUNDED_UNITS = f"""CASE unit_rounding
    WHEN 'up' THEN raw_units // whole + CAST(raw_units % whole > 0 AS INTEGER)
    WHEN 'down' THEN raw_units // whole ELSE {half_up("raw_units", "whole")} END"""


# Whole units that divide without a rest, as most do, are divided in 64 bits: one division of 128
# bits, in the cast, in place of six. Of the others the units are looked at once, step by step.
_DIVIDES = f"unit_size = 1 OR CAST(near AS {QUANTITY}) = meter_units AND near % unit_size = 0"
_RAW = raw("meter_units", 15)
_QUOTIENT = half_up("rest", "unit_size::HUGEINT")
_EXACT_UNITS = f"""CASE WHEN unit_size = 1 THEN meter_units
    WHEN rest IS NULL THEN CAST(near // unit_size AS {QUANTITY})
    ELSE {decimal15("quotient")} END"""


def with_priced_units(source: str, *, rounding: bool = False) -> str:
    """The rows of ``source`` (a subquery with meter_units DECIMAL(38,15) and unit_size BIGINT) and
    beside them priced_units DECIMAL(38,15): their quotient, rounded half-up to 15 decimals.

    With ``rounding`` it has unit_rounding too: the quotient becomes a whole number where that says
    up, half_up or down.
    """
    near = f"SELECT *, TRY_CAST(meter_units AS BIGINT) AS near FROM ({source})"
    rest = f"SELECT *, CASE WHEN {_DIVIDES} THEN NULL ELSE {_RAW} END AS rest FROM ({near})"
    divided = f"SELECT *, {_QUOTIENT} AS quotient FROM ({rest})"
    if not rounding:
        return (
            f"SELECT * EXCLUDE (near, rest, quotient), {_EXACT_UNITS} AS priced_units "
            f"FROM ({divided})"
        )
    counted = (
        f"SELECT *, {_RAW} AS raw_units, {10**15}::HUGEINT * unit_size AS whole FROM ({divided})"
    )
    return (
        "SELECT * EXCLUDE (near, rest, quotient, raw_units, whole), "
        f"CASE WHEN unit_rounding = 'exact' THEN {_EXACT_UNITS} "
        f"ELSE CAST({_ROUNDED_UNITS} AS {QUANTITY}) END AS priced_units FROM ({counted})"
    )


_METER_UNITS = f"""
SELECT e.item_id, e.epoch_no, e.epoch_start, e.epoch_end, coalesce(m.events, 0) AS events,
       i.aggregation, i.kind, i.quantity, i.unit_size,
       CAST(coalesce(CASE i.aggregation {{highest}}WHEN 'count' THEN m.events
                                        ELSE m.summed END, 0) AS {QUANTITY}) AS meter_units
FROM price_epoch e
JOIN charge_item i USING (item_id)
LEFT JOIN metered m USING (item_id, epoch_no)
WHERE NOT i.by_event{{others}}
"""

# What an epoch was billed for is what was billed between its start and the next epoch's.
_BILLED_EPOCH = """
SELECT e.item_id, e.epoch_no, sum(b.quantity) AS quantity, sum(b.exact_amount) AS exact_amount,
       sum(b.list_amount) AS list_amount, sum(b.amount) AS amount
FROM price_epoch e
JOIN billed_usage b ON b.item_id = e.item_id
 AND b.service_start >= e.epoch_start AND b.service_start < e.epoch_end
GROUP BY e.item_id, e.epoch_no
"""

_EPOCH_BILLED = Relation(
    "billed_epoch",
    {
        "item_id": "BIGINT",
        "epoch_no": "BIGINT",
        "quantity": QUANTITY,
        "exact_amount": QUANTITY,
        "list_amount": QUANTITY,
        "amount": "DECIMAL(38,4)",
    },
    "What an epoch was billed for.",
)

# Late units stand behind everything the cycle has been billed for.
_POSITION = f"""
WITH counted AS (
    SELECT u.item_id, u.epoch_no, u.events, u.aggregation, u.kind,
           CASE WHEN u.kind = 'usage' THEN u.priced_units
                ELSE CAST(u.quantity AS {QUANTITY}) END AS units,
           {{billed}} AS billed
    FROM ({{units}}) u {{with_billed}}
), running AS (
    SELECT c.*, {{start}} AS start, {{late}} AS late,
           CAST({{grown}} AS {QUANTITY}) AS grown{{peak}}
    FROM counted c {{with_total}}
), placed AS (
    SELECT *, CAST(CASE WHEN kind <> 'usage' THEN units {{at_peak}}
                        ELSE start + grown END AS {QUANTITY}) AS quantity_after
    FROM running
)
SELECT p.item_id, p.epoch_no, 0 AS cell_no, p.events,
       p.quantity_after,
       CASE WHEN p.kind = 'usage'
            THEN CAST({{before}} AS {QUANTITY})
            ELSE CAST(0 AS {QUANTITY}) END AS quantity_before,
       p.kind = 'usage' AND (p.late OR p.epoch_no > 1) AS continues,
       p.kind <> 'usage' OR p.events > 0 OR p.late AS used
FROM placed p
"""

_BILLED_BEFORE = {
    "billed": "coalesce(b.quantity, 0)",
    "with_billed": "LEFT JOIN billed_epoch b USING (item_id, epoch_no)",
    "start": "coalesce(b.total, 0)",
    "late": "b.total IS NOT NULL",
    "with_total": "LEFT JOIN (SELECT item_id, sum(quantity) AS total FROM billed_usage "
    "GROUP BY item_id) b USING (item_id)",
}
_NOTHING_BILLED = {
    "billed": f"0::{QUANTITY}",
    "with_billed": "",
    "start": f"0::{QUANTITY}",
    "late": "false",
    "with_total": "",
}

_BEFORE = "lag(p.quantity_after, 1, p.start) OVER (PARTITION BY p.item_id ORDER BY p.epoch_no)"


def _upto(*, peaks: bool, steady: bool) -> dict[str, str]:
    """What has come together with an epoch of its cycle. An only epoch comes together with none."""
    over = " OVER (PARTITION BY c.item_id ORDER BY c.epoch_no)"
    growth, peak, at_peak = "units - billed", "", ""
    if peaks:
        growth = "CASE WHEN c.aggregation = 'max' THEN 0 ELSE units - billed END"
        peak = f", {'units' if steady else f'max(units){over}'} AS peak"
        at_peak = "WHEN aggregation = 'max' THEN greatest(start, peak)"
    grown = growth if steady else f"sum({growth}){over}"
    before = _BEFORE if peaks else "p.quantity_after - (p.units - p.billed)"
    if steady:
        before = "p.start"
    return {"grown": grown, "peak": peak, "at_peak": at_peak, "before": before}


_OTHER_POSITIONS = """
SELECT item_id, epoch_no, cell_no, events, quantity_after, quantity_before, continues, used,
       NULL::BIGINT AS event_no, NULL AS list_before, NULL AS list_after, NULL AS reach,
       NULL AS list_reach{stood}
FROM ({aggregated})
"""
_OF_STOOD = """, NULL::BIGINT AS share_days, NULL::BIGINT AS cycle_days,
       NULL AS peak_after, NULL AS peak_before"""


def metered(
    source: EventSource,
    *,
    anew: bool,
    late: bool = True,
    peaks: bool = True,
    millionths: bool = True,
    used: bool = False,
) -> tuple[Statement, ...]:
    """Make ``metered`` (what each usage epoch came to) and ``billed_epoch``: item_id, epoch_no,
    quantity, exact_amount, list_amount, amount. With ``used`` also what came in as it is, and when
    last."""
    billed = Statement(_EPOCH_BILLED.name, _EPOCH_BILLED.nothing, empty=True)
    if late:
        billed = Statement("billed_epoch", _BILLED_EPOCH)
    return (
        _metered(source, anew=anew, peaks=peaks, millionths=millionths, used=used),
        billed,
    )


def position(
    further: Sequence[str] = (),
    *,
    anew: bool = False,
    stood: bool = False,
    late: bool = True,
    peaks: bool = True,
    steady: bool = False,
) -> Statement:
    """Makes ``position``: position_id, item_id, epoch_no, cell_no, events BIGINT, quantity_before
    and quantity_after DECIMAL(38,15) in priced units of the cycle, continues BOOLEAN (something of
    the cycle was priced before, so the first tier's flat amount is not due again), used BOOLEAN
    (there may be something to price; else only a flat amount can be due).

    ``further`` names relations of further positions, which may have further columns, null for the
    others: event_no, list_before, list_after, reach and list_reach; and with ``stood`` share_days
    and cycle_days (the unit amounts are due for that share of the days) and peak_before and
    peak_after, between which flat amounts become due. ``steady``: no item has a second epoch.
    """
    others = " AND i.item_id NOT IN (SELECT item_id FROM anew_item)" if anew else ""
    highest = "WHEN 'max' THEN m.highest " if peaks else ""
    units = with_priced_units(_METER_UNITS.format(others=others, highest=highest))
    source = _POSITION.format(
        units=units,
        **(_BILLED_BEFORE if late else _NOTHING_BILLED),
        **_upto(peaks=peaks, steady=steady),
    )
    if further:
        source = _OTHER_POSITIONS.format(aggregated=source, stood=_OF_STOOD if stood else "")
        source += "".join(f" UNION ALL BY NAME SELECT * FROM {name}" for name in further)
    return Statement("position", f"SELECT row_number() OVER () AS position_id, * FROM ({source})")
