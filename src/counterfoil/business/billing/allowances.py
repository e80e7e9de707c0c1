"""What is included by entitlements: allowances, one per entitlement, owner and cycle.

An allowance is what one cycle grants, less what earlier invoices drew from it; with rollover it
stays for further cycles, and the oldest is drawn first. Which events it covers follows from their
order in time (core.rating.events).
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.relations import make_relation
from counterfoil.business.subscriptions.plans_held import plans_held
from counterfoil.core.money.exact_sql import decimal15, half_up, raw
from counterfoil.core.periods.cadence import Cadence, calendar_anchor, cycle_index, cycle_start
from counterfoil.core.rating.relations import ALLOWANCE, ALLOWANCE_ITEM, QUANTITY, Relation
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.records.unit_of_work import UnitOfWork

# Whose the allowances of an entitlement are, seen from a subscription ``s`` of account ``a``: the
# one account that has it, or whatever it is pooled over.
_OWNER = """CASE WHEN e.account_id IS NOT NULL THEN e.account_id
     WHEN e.pooled_over = 'site' THEN coalesce(s.site_id, -a.id)
     WHEN e.pooled_over = 'account' THEN a.id
     WHEN e.pooled_over = 'subtree' THEN coalesce(n.subtree_id, a.id)
     WHEN e.pooled_over = 'root' THEN a.root_id ELSE s.id END"""

_NODES = """node AS (
    SELECT id AS account_id, id AS subtree_id FROM account WHERE pool_node
    UNION ALL
    SELECT a.id, n.subtree_id FROM account a JOIN node n ON a.parent_id = n.account_id
    WHERE NOT a.pool_node
)"""

_ENTITLED = f"""
WITH RECURSIVE {_NODES}, below AS (
    SELECT account_id AS top_id, account_id FROM entitlement WHERE account_id IS NOT NULL
    UNION
    SELECT b.top_id, a.id FROM account a JOIN below b ON a.parent_id = b.account_id
), target AS (
    SELECT DISTINCT t.entitlement_id, c.id AS charge_id, c.rate_plan_id
    FROM entitlement_target t
    JOIN charge c ON c.kind = 'usage' AND c.meter_id IN (
         SELECT id FROM meter WHERE aggregation IN ('sum', 'count') AND NOT carried_over)
     AND (c.id = t.charge_id OR c.rate_plan_id = t.rate_plan_id
         OR c.rate_plan_id IN (SELECT id FROM rate_plan p WHERE p.product_id = t.product_id))
)
SELECT e.id AS entitlement_id, sc.id AS subscription_charge_id, {_OWNER} AS owner_id
FROM target t
JOIN entitlement e ON e.id = t.entitlement_id
JOIN subscription_charge sc ON sc.charge_id = t.charge_id
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
LEFT JOIN node n ON n.account_id = a.id
WHERE a.root_id = ANY(:roots)
  AND (e.account_id IS NULL OR EXISTS (
       SELECT 1 FROM below b WHERE b.top_id = e.account_id AND b.account_id = a.id
          AND (e.pooled_over = 'subtree' OR a.id = e.account_id)))
"""

_IN_TREES = """s.account_id IN (SELECT t.id FROM account t WHERE t.root_id = ANY(:roots))"""

# Of a rate plan: those who have it, on the days on which they do.
_ENTITLING = f"""
WITH RECURSIVE {_NODES}, {plans_held(_IN_TREES)}, holder AS (
    SELECT e.id AS entitlement_id, h.subscription_id, h.from_day, h.to_day
    FROM entitlement e JOIN plan_held h ON h.rate_plan_id = e.rate_plan_id
    UNION ALL
    SELECT e.id, s.id, s.start_date, s.end_date
    FROM entitlement e JOIN subscription s ON s.external_id = e.subscription_external_id
), having_it AS (
    SELECT e.*, s.id AS granting_id, {_OWNER} AS owner_id,
           coalesce(sc.quantity, 1) AS held, greatest(h.from_day, sc.start_date) AS from_day,
           least(h.to_day, sc.end_date) AS to_day
    FROM entitlement e
    JOIN holder h ON h.entitlement_id = e.id
    JOIN subscription s ON s.id = h.subscription_id
    JOIN account a ON a.id = s.account_id
    LEFT JOIN node n ON n.account_id = a.id
    LEFT JOIN subscription_charge sc ON sc.subscription_id = s.id AND sc.charge_id = e.per_charge_id
    WHERE a.root_id = ANY(:roots) AND (e.per_charge_id IS NULL OR sc.id IS NOT NULL)
    UNION ALL
    SELECT e.*, 0, e.account_id, 1, NULL, NULL
    FROM entitlement e JOIN account a ON a.id = e.account_id WHERE a.root_id = ANY(:roots)
)
SELECT id AS entitlement_id, owner_id, granting_id, priority::int AS priority,
       rollover_cycles::int AS rollover_cycles, proration,
       (quantity * held)::numeric(38,15) AS quantity,
       greatest(from_day, valid_from, '0001-01-01') AS from_day,
       least(to_day, valid_to, '9999-12-31') AS to_day
FROM having_it
"""

_DRAWN_BEFORE = """
SELECT d.entitlement_id, d.owner_id, d.granted_cycle_start, r.subscription_charge_id,
       r.cycle_start, sum(d.quantity)::numeric(38,15) AS quantity
FROM allowance_draw d JOIN rated_charge r ON r.id = d.rated_charge_id
WHERE d.entitlement_id = ANY(:entitlements) AND d.owner_id = ANY(:owners)
  AND NOT EXISTS (SELECT 1 FROM rated_charge a WHERE a.reverses_id = r.id AND a.kind = 'adjustment')
GROUP BY 1, 2, 3, 4, 5
"""

_ENTITLED_SCHEMA = pa.schema(
    [(name, pa.int64()) for name in ("entitlement_id", "subscription_charge_id", "owner_id")]
)

_GRANTED_ALLOWANCE = Relation(
    "allowance",
    {
        **ALLOWANCE.columns,
        "entitlement_id": "BIGINT",
        "owner_id": "BIGINT",
        "granted_start": "DATE",
        "granted_end": "DATE",
    },
    "An allowance and the cycle that granted it.",
)

_DRAWN = Relation(
    "drawn_before",
    {
        "entitlement_id": "BIGINT",
        "owner_id": "BIGINT",
        "granted_cycle_start": "DATE",
        "subscription_charge_id": "BIGINT",
        "cycle_start": "DATE",
        "quantity": QUANTITY,
    },
    "What earlier invoices drew.",
)

_DRAWING = """
SELECT DISTINCT i.item_id, i.root_id, n.entitlement_id, n.owner_id, g.granted_start, g.granted_end
FROM charge_item i
JOIN entitled n USING (subscription_charge_id)
JOIN grant_cycle g
  ON g.alignment = i.alignment AND g.period_unit = i.period_unit
 AND g.period_count = i.period_count AND g.cycle_start = i.cycle_start
 AND (i.alignment = 'calendar' AND g.cycle_day = i.cycle_day
      OR i.alignment = 'anniversary' AND g.anchor_date = i.anchor_date)
WHERE g.age <= (SELECT max(rollover_cycles) FROM entitling e
                WHERE e.entitlement_id = n.entitlement_id AND e.owner_id = n.owner_id)
"""

_DAYS = "(least(to_day, granted_end) - greatest(from_day, granted_start))"
_SHARE = decimal15(
    half_up(f"({raw('quantity', 15)} * {_DAYS})", "(granted_end - granted_start)::HUGEINT")
)

# What a cycle grants: of each that has the entitlement the share of its days, or what it held on
# the first day it was served.
_ALLOWANCE = f"""
WITH cycle AS (
    SELECT entitlement_id, owner_id, granted_start, granted_end, any_value(root_id) AS root_id
    FROM drawing GROUP BY ALL
), held AS (
    SELECT c.*, e.granting_id, any_value(e.priority) AS priority,
           CASE WHEN any_value(e.proration) = 'by_day' THEN sum({_SHARE})
                ELSE arg_min(e.quantity, e.from_day) END AS quantity
    FROM cycle c JOIN entitling e USING (entitlement_id, owner_id)
    WHERE e.from_day < c.granted_end AND e.to_day > c.granted_start AND e.from_day < e.to_day
    GROUP BY c.entitlement_id, c.owner_id, c.granted_start, c.granted_end, c.root_id, e.granting_id
), granted AS (
    SELECT entitlement_id, owner_id, granted_start, granted_end, root_id,
           min(priority) AS priority, sum(quantity) AS quantity
    FROM held GROUP BY ALL
), drawn_elsewhere AS (
    SELECT d.entitlement_id, d.owner_id, d.granted_cycle_start, sum(d.quantity) AS quantity
    FROM drawn_before d
    WHERE NOT EXISTS (SELECT 1 FROM charge_item i
                      WHERE i.subscription_charge_id = d.subscription_charge_id
                        AND i.cycle_start = d.cycle_start)
    GROUP BY ALL
)
SELECT row_number() OVER () AS allowance_id,
       CAST(dense_rank() OVER (PARTITION BY g.root_id
            ORDER BY g.priority, g.granted_start, g.entitlement_id) AS INTEGER) AS draw_rank,
       CAST(greatest(g.quantity - coalesce(d.quantity, 0), 0) AS {QUANTITY}) AS capacity,
       g.entitlement_id, g.owner_id, g.granted_start, g.granted_end
FROM granted g
LEFT JOIN drawn_elsewhere d
  ON d.entitlement_id = g.entitlement_id AND d.owner_id = g.owner_id
 AND d.granted_cycle_start = g.granted_start
"""

_ALLOWANCE_ITEM = """
SELECT DISTINCT a.allowance_id, d.item_id
FROM drawing d
JOIN allowance a USING (entitlement_id, owner_id, granted_start, granted_end)
"""

# Of what is drawn by an item that was billed before, the difference to what it drew then.
DRAWS = """
WITH taken AS (
    SELECT i.subscription_charge_id, i.cycle_start, a.entitlement_id, a.owner_id,
           a.granted_start AS granted_cycle_start, sum(d.quantity) AS quantity
    FROM drawn d JOIN allowance a USING (allowance_id) JOIN due_item i USING (item_id)
    GROUP BY ALL
    UNION ALL
    SELECT b.subscription_charge_id, b.cycle_start, b.entitlement_id, b.owner_id,
           b.granted_cycle_start, -b.quantity
    FROM drawn_before b
    WHERE EXISTS (SELECT 1 FROM due_item i WHERE i.late AND i.by_event
                  AND i.subscription_charge_id = b.subscription_charge_id
                  AND i.cycle_start = b.cycle_start)
), net AS (
    SELECT subscription_charge_id, cycle_start, entitlement_id, owner_id, granted_cycle_start,
           CAST(sum(quantity) AS DECIMAL(38,15)) AS quantity
    FROM taken GROUP BY ALL HAVING sum(quantity) <> 0
)
SELECT c.charge_no, n.entitlement_id, n.owner_id, n.granted_cycle_start, n.quantity
FROM net n
JOIN (SELECT subscription_charge_id, cycle_start, min(charge_no) AS charge_no FROM numbered
      WHERE kind = 'usage' GROUP BY ALL) c USING (subscription_charge_id, cycle_start)
ORDER BY c.charge_no, n.entitlement_id, n.granted_cycle_start
"""
"""charge_no, entitlement_id, owner_id, granted_cycle_start, quantity: what each charge drew."""


def load_entitled(uow: UnitOfWork, charges: pa.Table) -> pa.Table:
    """Which subscription charges of the trees of ``charges`` may draw on which entitlement:
    entitlement_id, subscription_charge_id, owner_id (whose allowance it is)."""
    usage = charges.filter(pc.field("any_entitlement"))
    roots = sorted(set(usage.column("root_id").to_pylist()))
    if not roots:
        return _ENTITLED_SCHEMA.empty_table()
    return uow.read_arrow(_ENTITLED, roots=roots)


_ROOTS = "SELECT DISTINCT root_id FROM charge_item JOIN entitled USING (subscription_charge_id)"


def make_allowances(uow: UnitOfWork, engine: Engine) -> None:
    """From ``charge_item`` and ``entitled`` make ``allowance``, ``allowance_item`` and
    ``drawn_before`` (core.rating.relations; allowance has what it was granted by beside)."""
    roots = engine.rows(_ROOTS) if engine.has_rows("entitled") else []
    if not roots:
        for shape in (_GRANTED_ALLOWANCE, ALLOWANCE_ITEM, _DRAWN):
            make_relation(engine, shape.name, shape, None)
        return
    engine.register("entitling", uow.read_arrow(_ENTITLING, roots=[int(row[0]) for row in roots]))
    engine.register("grant_cycle", _grant_cycles(engine))
    engine.run(f"CREATE TABLE drawing AS {_DRAWING}")
    engine.register("drawn_before", _load_drawn(uow, engine))
    engine.run(f"CREATE TABLE allowance AS {_ALLOWANCE}")
    engine.run(f"CREATE TABLE allowance_item AS {_ALLOWANCE_ITEM}")


def _load_drawn(uow: UnitOfWork, engine: Engine) -> pa.Table:
    rows = engine.rows("SELECT DISTINCT entitlement_id, owner_id FROM drawing")
    return uow.read_arrow(
        _DRAWN_BEFORE,
        entitlements=sorted({int(row[0]) for row in rows}),
        owners=sorted({int(row[1]) for row in rows}),
    )


_CYCLES_DRAWN_IN = """
SELECT DISTINCT i.alignment, i.period_unit, i.period_count, i.cycle_day, i.anchor_date,
       i.cycle_start
FROM charge_item i JOIN entitled USING (subscription_charge_id)
"""

_GRANT_CYCLES = pa.schema(
    [
        ("alignment", pa.string()),
        ("period_unit", pa.string()),
        ("period_count", pa.int64()),
        ("cycle_day", pa.int64()),
        ("anchor_date", pa.date32()),
        ("cycle_start", pa.date32()),
        ("granted_start", pa.date32()),
        ("granted_end", pa.date32()),
        ("age", pa.int64()),
    ]
)


def _grant_cycles(engine: Engine) -> pa.Table:
    """For every cycle that is rated the cycles whose grants may still be there: itself (age 0) and
    as many before it as any rollover reaches back."""
    oldest = engine.row("SELECT coalesce(max(rollover_cycles), 0) FROM entitling")[0]
    rows: list[Sequence[object]] = []
    for alignment, unit, count, cycle_day, anchor_date, start in engine.rows(_CYCLES_DRAWN_IN):
        anchor = calendar_anchor(unit, cycle_day) if alignment == "calendar" else anchor_date
        cadence = Cadence(unit, count)
        k = cycle_index(anchor, cadence, start)
        rows += [
            (
                *(alignment, unit, count, cycle_day, anchor_date, start),
                cycle_start(anchor, cadence, k - age),
                cycle_start(anchor, cadence, k - age + 1),
                age,
            )
            for age in range(oldest + 1)
        ]
    return pa.table(
        [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(_GRANT_CYCLES)],
        schema=_GRANT_CYCLES,
    )
