"""Event by event, where the order of events matters: pools and allowances.

Items marked ``by_event`` count together with the other items of their pool (one charge, one cycle,
one subscription, site, account, subtree or root). Their events stand in one line, in order of time;
allowances are drawn down along it, and what is left takes its place in the tiers. So whose events
reached a tier, and who used what was included, follows from when they happened.
"""

from counterfoil.core.rating.quantities import EVENT_COUNTS, EventSource, with_priced_units
from counterfoil.core.rating.relations import QUANTITY, Relation, Statement


def _counted(source: EventSource, *, rounding: bool) -> Statement:
    rounded = ", i.unit_rounding" if rounding else ""
    item = "JOIN charge_item i USING (item_id)" if rounding else ""
    return Statement(
        "counted_event",
        f"""
SELECT e.item_id, e.epoch_no, e.pool_id, {source.cell_no} AS cell_no, e.unit_size{rounded},
       CAST({EVENT_COUNTS} AS {QUANTITY}) AS counts,
       row_number() OVER (ORDER BY u.time, u.source, u.event_id) AS event_no
FROM {source.events_in_epochs}
{item}
WHERE e.by_event
""",
    )


_RUNNING = f"""
SELECT *, CAST(sum(counts) OVER (PARTITION BY pool_id, cell_no ORDER BY event_no
               ROWS UNBOUNDED PRECEDING) AS {QUANTITY}) AS meter_units
FROM counted_event WHERE cell_no IS NOT NULL
"""


def _event_unit(*, rounding: bool) -> Statement:
    return Statement(
        "event_unit",
        f"""
SELECT event_no, item_id, epoch_no, pool_id, cell_no,
       CAST(priced_units - lag(priced_units, 1, 0) OVER (PARTITION BY pool_id, cell_no
            ORDER BY event_no) AS {QUANTITY}) AS units
FROM ({with_priced_units(_RUNNING, rounding=rounding)})
""",
    )


def _draw(rank: int) -> tuple[Statement, Statement]:
    """Draw the allowances of one rank: what is taken, and what is left of each event.

    Taken is the difference of two positions within the capacity, so an event that takes usage back
    gives the allowance back too.
    """
    before = "event_unit" if rank == 1 else f"undrawn_{rank - 1}"
    taken = f"""
SELECT e.event_no, e.item_id, e.epoch_no, a.allowance_id,
       CAST(least(a.capacity, sum(e.units) OVER line)
            - least(a.capacity, sum(e.units) OVER line - e.units) AS {QUANTITY}) AS taken
FROM {before} e
JOIN allowance_item i USING (item_id)
JOIN allowance a ON a.allowance_id = i.allowance_id AND a.draw_rank = {rank}
WINDOW line AS (PARTITION BY a.allowance_id ORDER BY e.event_no ROWS UNBOUNDED PRECEDING)
"""
    left = f"""
SELECT e.* REPLACE (CAST(e.units - coalesce(t.taken, 0) AS {QUANTITY}) AS units)
FROM {before} e LEFT JOIN taken_{rank} t USING (event_no)
"""
    return Statement(f"taken_{rank}", taken), Statement(f"undrawn_{rank}", left)


_DRAWN = Relation(
    "drawn",
    {
        "allowance_id": "BIGINT",
        "item_id": "BIGINT",
        "epoch_no": "BIGINT",
        "quantity": QUANTITY,
    },
    "What items drew on allowances, in priced units.",
)


def drawn(ranks: int) -> Statement:
    """Make ``drawn``: allowance_id, item_id, epoch_no, quantity in priced units."""
    parts = [
        f"SELECT allowance_id, item_id, epoch_no, taken FROM taken_{rank}"
        for rank in range(1, ranks + 1)
    ]
    if not parts:
        return Statement(_DRAWN.name, _DRAWN.nothing, empty=True)
    return Statement(
        _DRAWN.name,
        f"SELECT allowance_id, item_id, epoch_no, CAST(sum(taken) AS {QUANTITY}) AS quantity "
        f"FROM ({' UNION ALL '.join(parts)}) GROUP BY ALL",
    )


# Of a matrix price or of groups nothing is due where nothing was used, nor of a cell that the first
# epoch has not.
_OPENED = """
WHERE EXISTS (SELECT 1 FROM price_epoch e JOIN terms_tier t USING (terms_id)
              WHERE e.item_id = opening.item_id AND e.epoch_no = 1
                AND t.cell_no = greatest(opening.cell_no, 0))
  AND (list_reach > 0 OR item_id NOT IN (
      SELECT e.item_id FROM price_epoch e JOIN matrix_terms m USING (terms_id)
      WHERE e.epoch_no = 1))
"""


def _event_position(ranks: int, *, cells: bool) -> Statement:
    """Where each event stands, and once per pool the opening at zero, at which a first tier's flat
    amount is due; ``reach`` is what the pool came to, which decides the band of a volume price."""
    left = f"undrawn_{ranks}" if ranks else "event_unit"
    sql = f"""
WITH lined AS (
    SELECT e.*, l.units AS undrawn, row_number() OVER (PARTITION BY e.pool_id ORDER BY e.event_no)
               <= coalesce(r.free_events, 0) AS free
    FROM event_unit e
    JOIN {left} l USING (event_no)
    JOIN price_epoch q ON q.item_id = e.item_id AND q.epoch_no = e.epoch_no
    LEFT JOIN price r ON r.price_id = q.price_id
), netted AS (
    SELECT *, CASE WHEN free THEN 0 ELSE undrawn END AS net FROM lined
), placed AS (
    SELECT e.event_no, e.item_id, e.epoch_no, e.pool_id, e.cell_no, e.net, e.units, e.free,
           CAST(sum(e.net) OVER upto AS {QUANTITY}) AS quantity_after,
           CAST(sum(e.units) OVER upto AS {QUANTITY}) AS list_after,
           CAST(sum(e.net) OVER pool AS {QUANTITY}) AS reach,
           CAST(sum(e.units) OVER pool AS {QUANTITY}) AS list_reach
    FROM netted e
    WINDOW upto AS (PARTITION BY e.pool_id, e.cell_no ORDER BY e.event_no
                    ROWS UNBOUNDED PRECEDING),
           pool AS (PARTITION BY e.pool_id, e.cell_no)
), opening AS (
    SELECT i.item_id, p.cell_no, p.reach, p.list_reach
    FROM (SELECT pool_id, arg_min(item_id, subscription_charge_id) AS item_id
          FROM charge_item WHERE by_event GROUP BY pool_id) i
    JOIN (SELECT pool_id, cell_no, any_value(reach) AS reach, any_value(list_reach) AS list_reach
          FROM placed GROUP BY pool_id, cell_no
          UNION
          SELECT DISTINCT pool_id, 0, 0, 0 FROM charge_item
          WHERE by_event AND pool_id NOT IN (SELECT pool_id FROM placed WHERE cell_no = 0)) p
      USING (pool_id)
)
SELECT event_no, item_id, epoch_no, cell_no, 1 AS events,
       CAST(quantity_after - net AS {QUANTITY}) AS quantity_before, quantity_after,
       true AS continues, true AS used, CAST(list_after - units AS {QUANTITY}) AS list_before,
       list_after, reach, list_reach, free
FROM placed
UNION ALL
SELECT NULL, item_id, 1, cell_no, 0, 0, 0, false, true, 0, 0, reach, list_reach, false FROM opening
{_OPENED if cells else ""}"""
    return Statement("event_position", sql)


def event_positions(
    ranks: int, source: EventSource, *, rounding: bool = False
) -> tuple[Statement, ...]:
    """Make ``event_position``: event_no (null for an opening) and the columns of ``position``, with
    ``ranks`` of allowances drawn before.

    Needs ``allowance`` (allowance_id, draw_rank from 1, capacity) and ``allowance_item``
    (allowance_id, item_id): of one rank at most one allowance per item.
    """
    drawing = tuple(statement for rank in range(1, ranks + 1) for statement in _draw(rank))
    return (
        _counted(source, rounding=rounding),
        _event_unit(rounding=rounding),
        *drawing,
        _event_position(ranks, cells=source.cells),
    )
