"""Applies incentives to ``charged``, the rows a bill consists of, on the engine.

Every step adds rows of its own kind, each with what it was computed from as its ``steps``. Whoever
calls these functions has put the relations on the engine that core.rating.discounts, commitments
and prepaid name.
"""

from datetime import date, timedelta
from itertools import groupby

import pyarrow as pa

from counterfoil.core.money.currencies import CURRENCIES
from counterfoil.core.periods.cadence import Cadence, calendar_anchor, cycles_between
from counterfoil.core.rating.commitments import COMMITMENT_DUE
from counterfoil.core.rating.discounts import DISCOUNT_LINES, DISCOUNT_TAKEN
from counterfoil.core.rating.prepaid import PREPAID_DRAWN
from counterfoil.platform.engine.duck import Engine

_NEXT_ROW = "(SELECT coalesce(max(row_no), 0) FROM charged) + row_number() OVER (ORDER BY {order})"

_NOTHING = """
'' AS unit, NULL AS price_id, NULL AS layer, 0 AS quantity, 0 AS quantity_before,
0 AS included_quantity, 0 AS events, NULL AS unit_amount, false AS late"""
"""What a row has that stands for no service of its own."""

_DISCOUNT_ROWS = f"""
INSERT INTO charged BY NAME
SELECT c.* EXCLUDE (unit, price_id, layer, quantity, quantity_before, included_quantity, events,
                    unit_amount, late)
       REPLACE (
           {_NEXT_ROW.format(order="c.row_no")} AS row_no, c.row_no AS applies_to_row,
           NULL AS item_id, 'discount' AS kind, d.name AS charge_name,
           t.discount_id AS discount_id, t.holder_id AS holder_id,
           f.formulas AS formulas,
           -t.taken AS list_amount, -t.taken AS exact_amount, -t.taken AS amount,
           CAST(to_json([struct_pack(
               discount := d.external_id, kind := d.kind, percent := t.percent,
               amount := d.amount, volume := CASE d.kind WHEN 'volume' THEN t.volume END,
               line := t.net, whole := t.whole_amount, taken := t.taken)]) AS VARCHAR) AS steps),
       {_NOTHING}
FROM discount_taken t JOIN charged c USING (row_no) JOIN discount d ON d.discount_id = t.discount_id
LEFT JOIN discount_trace f ON f.row_no = t.row_no AND f.discount_id = t.discount_id
"""


def apply_discounts(engine: Engine) -> None:
    """Take every discount off the lines it is for, round by round."""
    for statement in DISCOUNT_LINES:
        engine.run(statement.create)
    rounds = int(engine.row("SELECT coalesce(max(round_no), 0) FROM discount_line")[0])
    for number in range(1, rounds + 1):
        engine.run(f"CREATE TABLE discount_taken AS {DISCOUNT_TAKEN.format(round=number)}")
        engine.run(_DISCOUNT_ROWS)
        engine.run("DROP TABLE discount_taken")


_PERIODS = pa.schema(
    [
        ("commitment_id", pa.int64()),
        ("subject_id", pa.int64()),
        ("period_start", pa.date32()),
        ("period_end", pa.date32()),
        ("covered_start", pa.date32()),
        ("covered_end", pa.date32()),
    ]
)


def commitment_periods(commitments: pa.Table, billing_date: date) -> pa.Table:
    """``commitment_period`` of commitments as business.incentives.loading gives them: every period
    that has begun by the billing date, cut to the days the commitment holds; where it holds twice
    in a period, from the first to the last of them."""
    covered: dict[tuple[object, ...], tuple[date, date]] = {}
    known: dict[tuple[object, ...], list[tuple[date, date]]] = {}
    for one in commitments.to_pylist():
        unit = str(one["period_unit"])
        anchor = (
            calendar_anchor(unit, int(one["cycle_day"]))
            if one["alignment"] == "calendar"
            else one["anchor_date"]
        )
        first, end = one["start_date"], one["end_date"]
        last = billing_date + timedelta(days=1)
        if end is not None:
            last = min(last, end)
        key = (anchor, unit, one["period_count"], first, last)
        if key not in known:
            cadence = Cadence(unit, int(one["period_count"]))
            known[key] = cycles_between(anchor, cadence, first, last)
        for start, stop in known[key]:
            of = (one["commitment_id"], one["subject_id"], start, stop)
            begins, ends = max(start, first), stop if end is None else min(stop, end)
            earlier = covered.get(of, (begins, ends))
            covered[of] = (min(begins, earlier[0]), max(ends, earlier[1]))
    rows = [(*of, *days) for of, days in covered.items()]
    columns = [
        pa.array([row[position] for row in rows], column.type)
        for position, column in enumerate(_PERIODS)
    ]
    return pa.table(columns, schema=_PERIODS)


def with_minor_digits(table: pa.Table, currency: str) -> pa.Table:
    """The table with ``minor_digits``, the decimal places of the currency in that column."""
    digits = [CURRENCIES[name] for name in table.column(currency).to_pylist()]
    return table.append_column("minor_digits", pa.array(digits, pa.int32()))


_TRUE_UP_ROWS = f"""
INSERT INTO charged BY NAME
SELECT {_NEXT_ROW.format(order="k.commitment_id, k.subject_id, k.period_start")} AS row_no,
       1 AS section, k.billed_account_id, k.account_id, k.root_id, k.account_name,
       k.line_product_id AS product_id, k.product_name, k.line_plan_id AS rate_plan_id,
       nullif(k.subject_id, 0) AS subscription_id,
       CASE k.kind WHEN 'minimum' THEN 'true_up' ELSE 'maximum' END AS kind,
       k.name AS charge_name, k.currency, k.minor_digits, k.period_start AS cycle_start,
       k.period_end AS cycle_end, k.covered_start AS service_start,
       k.covered_end AS service_end, k.covered_start AS counts_on,
       k.billed_on, k.covered_end - k.covered_start AS days,
       k.period_end - k.period_start AS cycle_days,
       k.amount AS list_amount, k.amount AS exact_amount, k.amount,
       k.commitment_id, k.subject_id, k.parts AS commitment_part,
       CAST(to_json([struct_pack(
           commitment := k.external_id, kind := k.kind, full_amount := f.amount,
           target := k.target, counted := k.counted, before := k.before)]) AS VARCHAR) AS steps,
       {_NOTHING}
FROM commitment_due k JOIN commitment f USING (commitment_id, subject_id)
WHERE k.billed_account_id NOT IN (SELECT account_id FROM problem)
  AND k.billed_account_id NOT IN (SELECT account_id FROM open_draft)
  AND NOT EXISTS (SELECT 1 FROM commitment_account m
                  WHERE m.commitment_id = k.commitment_id AND m.subject_id = k.subject_id
                    AND m.billed_account_id IN (SELECT account_id FROM problem))
"""


def apply_commitments(engine: Engine, billing_date: date, *, as_due: bool = False) -> None:
    """True up minimums and keep maximums, from the narrowest commitments to the widest.

    One of which an account could not be billed this time waits for the next bill run. ``as_due``
    keeps them on the invoices of many days, as bill runs on all days would.
    """
    day = billing_date.isoformat()
    closing = "covered_end" if as_due else f"DATE '{day}'"
    ranks = engine.rows("SELECT DISTINCT rank FROM commitment ORDER BY rank")
    for (rank,) in ranks:
        due = COMMITMENT_DUE.format(rank=int(rank), billing_date=day, closing=closing)
        engine.run(f"CREATE TABLE commitment_due AS {due}")
        engine.run(_TRUE_UP_ROWS)
        engine.run("DROP TABLE commitment_due")


_PREPAID_ROWS = f"""
INSERT INTO charged BY NAME
SELECT {_NEXT_ROW.format(order="d.billed_account_id, d.billed_on, d.grant_id")} AS row_no,
       2 AS section, d.billed_account_id, d.billed_account_id AS account_id, p.account_name,
       '' AS product_name, 'prepaid' AS kind, g.name AS charge_name, p.currency,
       d.billed_on AS cycle_start, d.billed_on + 1 AS cycle_end,
       d.billed_on AS service_start, d.billed_on + 1 AS service_end,
       d.billed_on AS counts_on, d.billed_on, 1 AS days, 1 AS cycle_days,
       -d.drawn AS list_amount, -d.drawn AS exact_amount, -d.drawn AS amount,
       d.grant_id AS prepaid_grant_id, 0 AS commitment_part,
       CAST(to_json([struct_pack(
           "grant" := g.external_id, kind := g.kind, available := d.available,
           remaining := d.available - d.drawn)]) AS VARCHAR) AS steps,
       {_NOTHING}
FROM prepaid_drawn d
JOIN prepaid_grant g USING (grant_id)
JOIN profile p USING (billed_account_id)
"""


def draw_prepaid(engine: Engine) -> None:
    """Draw what invoices come to from the grants their accounts have, grant by grant."""
    rounds = int(engine.row("SELECT coalesce(max(round_no), 0) FROM grant_account")[0])
    for number in range(1, rounds + 1):
        engine.run(f"CREATE TABLE prepaid_drawn AS {PREPAID_DRAWN.format(round=number)}")
        engine.run(_PREPAID_ROWS)
        engine.run("DROP TABLE prepaid_drawn")


def with_rounds(usable: pa.Table) -> pa.Table:
    """The grants of accounts (billed_account_id, grant_id), in the order in which grants are drawn,
    with ``round_no``: after all that any of its accounts draws on before it."""
    rounds: dict[object, int] = {}
    reached: dict[object, int] = {}
    accounts = usable.column("billed_account_id").to_pylist()
    grants = usable.column("grant_id").to_pylist()
    for grant, rows in groupby(range(usable.num_rows), key=grants.__getitem__):
        drawing = [accounts[row] for row in rows]
        rounds[grant] = 1 + max(reached.get(account, 0) for account in drawing)
        reached |= dict.fromkeys(drawing, rounds[grant])
    numbers = pa.array([rounds[grant] for grant in grants], pa.int64())
    return usable.append_column("round_no", numbers)
