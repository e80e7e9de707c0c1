"""Reads what a bill run needs of some billed accounts out of PostgreSQL, as Arrow relations.

Every function takes the ids of *billed* accounts (those with a billing profile) and answers for
all of them and for the accounts below that are billed through them, in one statement.
"""

from collections.abc import Collection, Sequence
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.billing.price_layers import layers_of, regions
from counterfoil.business.products.cells import cell_of
from counterfoil.business.products.entities import SAYS_WHAT_EVENTS_COST
from counterfoil.business.subscriptions.invoicing import invoiced
from counterfoil.business.usage.store import BUCKETS
from counterfoil.core.rating.relations import (
    CELL_CONDITION,
    CELL_WINDOW,
    PRICE_CELL,
    Relation,
)
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_INVOICED = f"WITH RECURSIVE {invoiced('p.account_id = ANY(:accounts)')}"

PRICED_BY_EVENT = f"c.id IN (SELECT charge_id FROM price WHERE {SAYS_WHAT_EVENTS_COST})"
"""Whether a price of a charge ``c`` says what single events cost."""

CHARGE_NAME = """c.name || CASE WHEN c.kind = 'one_time' AND sc.began_by_id IS NOT NULL THEN
           coalesce((SELECT ' (' || trim_scale(f.fee_percent) || ' % of '
                            || (f.fee_basis ->> 'amount') || ' for the remaining term)'
                     FROM amendment f WHERE f.id = sc.began_by_id AND f.fee_basis IS NOT NULL), '')
       ELSE '' END"""
"""The name of a charge ``c`` as invoices show it; the fee of an early termination says of what it
is a share."""

# How far cycles reach that may be due by the billing date, and when the first of them is: what is
# billed several cycles ahead, but never before service begins.
_HORIZON = """CASE WHEN c.periods_ahead > 1
    THEN CAST(CAST(:billing_date AS date)
              + CAST(c.periods_ahead * c.period_count || c.period_unit AS interval) AS date)
    ELSE CAST(:billing_date AS date) END"""
_FIRST_SERVICE = """CASE WHEN c.periods_ahead > 1 THEN
    (SELECT min(f.start_date) FROM subscription_charge f JOIN charge k ON k.id = f.charge_id
     WHERE f.subscription_id = s.id AND k.kind = 'recurring'
       AND (f.end_date IS NULL OR f.end_date > f.start_date)) ELSE sc.start_date END"""

_CHARGES = f"""{_INVOICED}, {regions("invoiced")}, below_node AS (
    SELECT DISTINCT account_id, account_id AS ancestor_id FROM invoiced
    WHERE EXISTS (SELECT 1 FROM charge WHERE pooled_over = 'subtree')
    UNION ALL
    SELECT b.account_id, a.parent_id FROM below_node b JOIN account a ON a.id = b.ancestor_id
    WHERE a.parent_id IS NOT NULL AND NOT a.pool_node
), node AS (
    SELECT b.account_id, a.id AS subtree_id
    FROM below_node b JOIN account a ON a.id = b.ancestor_id WHERE a.pool_node
)
SELECT sc.id AS subscription_charge_id, sc.subscription_id, b.account_id, b.billed_account_id,
       sc.charge_id, c.kind, c.timing, c.period_unit, c.period_count::int AS period_count,
       c.periods_ahead::int AS periods_ahead, {_FIRST_SERVICE} AS first_service,
       c.alignment, c.proration, p.cycle_day::int AS cycle_day,
       coalesce(s.anchor_date, s.start_date) AS anchor_date,
       c.meter_id, coalesce(m.aggregation, 'sum') AS aggregation,
       m.quantity_attribute, m.property, m.percentile,
       coalesce(m.carried_over, false) AS carried_over,
       c.event_minimum, c.event_increment, c.unit_size, c.unit_rounding, c.unit,
       {CHARGE_NAME} AS charge_name, pr.name AS product_name, a.name AS account_name,
       rp.id AS rate_plan_id, pr.id AS product_id,
       st.name AS site_name, a.root_id, s.site_id, s.contact_id, s.contract_id,
       coalesce(st.price_region_id, region.price_region_id) AS price_region_id,
       sc.quantity, sc.start_date, sc.end_date, sc.billed_through,
       sc.start_offset, sc.end_offset, sc.former_end_date, sc.former_end_offset,
       EXISTS (SELECT 1 FROM subscription_charge e
               WHERE e.subscription_id = sc.subscription_id AND e.charge_id = sc.charge_id
                 AND e.end_date = sc.start_date AND e.start_date < e.end_date) AS continues,
       c.pooled_over, CASE c.pooled_over
           WHEN 'site' THEN coalesce(s.site_id, -b.account_id) WHEN 'account' THEN b.account_id
           WHEN 'subtree' THEN coalesce(n.subtree_id, b.account_id) WHEN 'root' THEN a.root_id
           ELSE s.id END AS pool_owner_id,
       {PRICED_BY_EVENT} AS priced_by_event,
       EXISTS (SELECT 1 FROM entitlement) AS any_entitlement, p.currency, p.time_zone,
       coalesce(st.time_zone, p.time_zone) AS usage_zone
FROM invoiced b
JOIN account a ON a.id = b.account_id
JOIN billing_profile p ON p.account_id = b.billed_account_id
JOIN subscription s ON s.id = b.subscription_id
JOIN subscription_charge sc ON sc.subscription_id = s.id
JOIN charge c ON c.id = sc.charge_id
JOIN rate_plan rp ON rp.id = c.rate_plan_id
JOIN product pr ON pr.id = rp.product_id
LEFT JOIN meter m ON m.id = c.meter_id
LEFT JOIN site st ON st.id = s.site_id
LEFT JOIN node n ON n.account_id = b.account_id
LEFT JOIN region ON region.account_id = b.account_id
WHERE sc.start_date <= {_HORIZON}
"""

_UNBILLED = f"""
  AND (sc.billed_through IS NULL
       OR sc.billed_through <= {_HORIZON} AND (sc.end_date IS NULL
                                                  OR sc.billed_through < sc.end_date)
       OR sc.billed_through > sc.end_date
       OR c.kind = 'usage')
"""

_BY_EVENT = f"""
  AND (c.pooled_over <> 'subscription' OR sc.id = ANY(:entitled) OR {PRICED_BY_EVENT})
  AND (sc.end_date IS NULL OR sc.end_date > sc.start_date)
"""

_BILLED_IN_TREES = """
SELECT p.account_id FROM billing_profile p JOIN account a ON a.id = p.account_id
WHERE a.root_id = ANY(:roots)
"""

_BILLED_FOR = f"""
WITH RECURSIVE {invoiced()}
SELECT DISTINCT billed_account_id AS account_id FROM invoiced
WHERE subscription_id = ANY(:subscriptions)
"""

_METER_FILTERS = """
SELECT m.id AS meter_id, f.key AS attribute, jsonb_array_elements_text(f.value) AS value
FROM meter m, jsonb_each(m.filter) f WHERE m.id = ANY(:meters)
"""

_CELLS = """
SELECT DISTINCT p.charge_id, c.cell_no, c.label, c.conditions, c.days, c.from_time, c.to_time,
       NULL AS group_by
FROM price_cell c JOIN price p ON p.id = c.price_id WHERE p.charge_id = ANY(:charges)
UNION ALL
SELECT id, -1, NULL, NULL, NULL, NULL, NULL, group_by
FROM charge WHERE id = ANY(:charges) AND group_by IS NOT NULL
ORDER BY charge_id, cell_no
"""

_BILLED_CHARGES = """
SELECT r.id AS rated_charge_id, r.subscription_charge_id, r.kind, r.cycle_start, r.cycle_end,
       r.service_start, r.service_end, r.reverses_id, r.price_id, r.layer, r.quantity,
       r.exact_amount, r.list_amount, r.amount, r.discount_id, r.holder_id, r.applies_to_id,
       CASE WHEN r.kind IN ('minimum', 'maximum', 'discount')
            THEN (SELECT l.description FROM invoice_line l WHERE l.rated_charge_id = r.id) END
           AS applied_name,
       (SELECT d.kind FROM discount d WHERE d.id = r.discount_id) AS discount_kind,
       (SELECT string_agg(p.price_id::text, ',' ORDER BY p.position)
        FROM rated_charge_partial p WHERE p.rated_charge_id = r.id)::text AS partial_ids
FROM rated_charge r WHERE r.subscription_charge_id = ANY(:subscription_charges)
"""

_PROFILES = """
SELECT p.account_id AS billed_account_id, a.name AS account_name, p.currency,
       p.payment_terms_days::int AS terms_days, p.split_by, p.purchase_order,
       jsonb_build_object(
           'seller', (SELECT jsonb_object_agg(e.key, e.value)
                      FROM (SELECT * FROM seller ORDER BY id LIMIT 1) s, jsonb_each(to_jsonb(s)) e
                      WHERE e.key NOT IN ('id', 'created_at', 'updated_at', 'row_version')
                        AND NOT starts_with(e.key, 'x_')),
           'account', jsonb_build_object('external_id', a.external_id, 'name', a.name),
           'bill_to', jsonb_build_object(
               'name', coalesce(p.bill_to_name, a.name), 'attention', p.attention,
               'street', p.street, 'city', p.city, 'region', p.region,
               'postal_code', p.postal_code, 'country', p.country, 'tax_id', p.tax_id,
               'email', p.email),
           'paper', p.paper, 'template', p.invoice_template,
           'payment_terms_days', p.payment_terms_days, 'purchase_order', p.purchase_order,
           'time_zone', p.time_zone, 'language', 'en')::text AS snapshot
FROM billing_profile p JOIN account a ON a.id = p.account_id
WHERE p.account_id = ANY(:accounts)
"""


_LINE_NAMES = """
SELECT sc.id AS subscription_charge_id, a.external_id AS account, a.name AS account_name,
       s.external_id AS subscription, pr.external_id AS product, c.external_id AS charge,
       m.external_id AS meter, m.unit AS meter_unit
FROM subscription_charge sc
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
JOIN charge c ON c.id = sc.charge_id
JOIN rate_plan rp ON rp.id = c.rate_plan_id
JOIN product pr ON pr.id = rp.product_id
LEFT JOIN meter m ON m.id = c.meter_id
WHERE sc.id = ANY(:subscription_charges)
"""

_UNDER_TEMPLATE = f"""
SELECT DISTINCT b.account_id, b.billed_account_id
FROM ({_INVOICED} SELECT account_id, billed_account_id FROM invoiced) b
JOIN ({layers_of(f"{_INVOICED} SELECT account_id FROM invoiced")}) l ON l.account_id = b.account_id
WHERE l.layer = 'template' AND l.owner_id = :template
"""

_NOBODY_BILLED = f"""
WITH RECURSIVE {invoiced()}
SELECT a.id, a.external_id, count(DISTINCT s.id) AS subscriptions
FROM account a
JOIN subscription s ON s.account_id = a.id
JOIN subscription_charge sc ON sc.subscription_id = s.id
WHERE NOT EXISTS (SELECT 1 FROM invoiced i WHERE i.subscription_id = s.id)
  AND sc.start_date <= :billing_date AND (sc.end_date IS NULL OR sc.end_date > sc.start_date)
GROUP BY a.id, a.external_id ORDER BY a.id
"""

_SEEN = "SELECT coalesce(max(usage_segment_seen), 0) FROM bill_run WHERE state = 'finished'"

# A run that could not bill an account has not seen its usage.
_BEHIND = f"""
SELECT p.account_id, (
    SELECT coalesce(max(r.usage_segment_seen), 0) FROM bill_run r
    WHERE r.state = 'finished' AND NOT EXISTS (
        SELECT 1 FROM billing_problem q
        WHERE q.bill_run_id = r.id AND q.account_id = p.account_id)) AS seen
FROM (SELECT DISTINCT q.account_id FROM billing_problem q
      JOIN bill_run l ON l.id = q.bill_run_id
      WHERE l.usage_segment_seen = ({_SEEN})) p
WHERE p.account_id = ANY(:accounts)
"""


def load_charges(uow: UnitOfWork, accounts: Sequence[int], billing_date: date) -> pa.Table:
    """Subscription charges of which something may be due by ``billing_date``.

    Usage charges are among them even when billed, for late usage. Columns as in ``_CHARGES``:
    ids int64, dates date32, quantity decimal(18,6), texts string.
    """
    return uow.read_arrow(
        _CHARGES + _UNBILLED,
        accounts=list(accounts),
        billing_date=billing_date,
    )


def load_served_charges(uow: UnitOfWork, accounts: Sequence[int], until: date) -> pa.Table:
    """All subscription charges that began before ``until``; columns as of ``load_charges``."""
    return uow.read_arrow(_CHARGES, accounts=list(accounts), billing_date=until - timedelta(days=1))


def load_charges_of(uow: UnitOfWork, subscriptions: Sequence[int]) -> pa.Table:
    """All subscription charges of these subscriptions (ids); columns as of ``load_charges``."""
    rows = uow.query(_BILLED_FOR, subscriptions=list(subscriptions))
    return uow.read_arrow(
        _CHARGES + " AND sc.subscription_id = ANY(:subscriptions)",
        accounts=[row["account_id"] for row in rows],
        billing_date=date.max,
        subscriptions=list(subscriptions),
    )


def load_pool_members(
    uow: UnitOfWork, charges: pa.Table, entitled: pa.Table, billing_date: date
) -> pa.Table:
    """All charges whose events may stand in line with those of ``charges``, these included: what is
    pooled, or draws on an entitlement, in the same trees.

    Whoever they are billed to: a pool may reach over the whole tree. Columns as of
    :func:`load_charges`; none when nothing goes by event.
    """
    drawing = entitled.column("subscription_charge_id").to_pylist()
    by_event = charges.filter(
        (pc.field("pooled_over") != "subscription")
        | pc.field("priced_by_event")
        | pc.field("subscription_charge_id").isin(pa.array(drawing, pa.int64()))
    )
    roots = sorted(set(by_event.column("root_id").to_pylist()))
    if not roots:
        return by_event
    accounts = trees_billed(uow, roots)
    return uow.read_arrow(
        _CHARGES + _BY_EVENT, accounts=accounts, billing_date=billing_date, entitled=drawing
    )


def trees_billed(uow: UnitOfWork, roots: Sequence[int]) -> list[int]:
    """Ids of all billed accounts in the trees of these roots."""
    return [int(row["account_id"]) for row in uow.query(_BILLED_IN_TREES, roots=list(roots))]


def load_meter_filters(uow: UnitOfWork, meters: Collection[int]) -> pa.Table:
    """``meter_filter`` (core.rating.relations) of the meters (ids)."""
    return uow.read_arrow(_METER_FILTERS, meters=sorted(set(meters)))


def load_cells(uow: UnitOfWork, charges: Sequence[int]) -> dict[str, pa.Table]:
    """``price_cell``, ``cell_condition`` and ``cell_window`` (core.rating.relations), by name, of
    charges (ids)."""
    rows: dict[Relation, list[Record]] = {PRICE_CELL: [], CELL_CONDITION: [], CELL_WINDOW: []}
    seen: set[tuple[int, int]] = set()
    for row in uow.query(_CELLS, charges=sorted(set(charges))):
        place = (row["charge_id"], row["cell_no"])
        if place in seen:
            continue
        seen.add(place)
        own = {"charge_id": row["charge_id"], "cell_no": row["cell_no"]}
        if row["group_by"] is not None:
            every = {"attribute": row["group_by"], "is_prefix": False, "value": None}
            rows[PRICE_CELL].append({**own, "label": None})
            rows[CELL_CONDITION].append({**own, **every})
            continue
        cell = cell_of({**row, "name": row["label"]})
        rows[PRICE_CELL].append({**own, "label": row["label"]})
        for attribute, asked in cell.conditions.items():
            is_prefix = isinstance(asked, dict)
            for value in asked["prefix"] if is_prefix else asked:
                rows[CELL_CONDITION].append(
                    {**own, "attribute": attribute, "is_prefix": is_prefix, "value": value}
                )
        for weekday, begin, end in cell.pieces if cell.timed else ():
            rows[CELL_WINDOW].append(
                {**own, "weekday": weekday, "from_minute": begin, "to_minute": end}
            )
    return {
        shape.name: pa.Table.from_pylist(found, _schema(shape)) for shape, found in rows.items()
    }


def _schema(shape: Relation) -> pa.Schema:
    types = {
        "BIGINT": pa.int64(),
        "INTEGER": pa.int32(),
        "VARCHAR": pa.string(),
        "BOOLEAN": pa.bool_(),
    }
    return pa.schema([(name, types[kind]) for name, kind in shape.columns.items()])


def load_billed_charges(uow: UnitOfWork, subscription_charges: Sequence[int]) -> pa.Table:
    """Rated charges of these subscription charges that earlier invoices carry."""
    return uow.read_arrow(_BILLED_CHARGES, subscription_charges=list(subscription_charges))


def load_profiles(uow: UnitOfWork, accounts: Sequence[int]) -> pa.Table:
    """billed_account_id, currency, terms_days, snapshot (JSON text) of the billed accounts."""
    return uow.read_arrow(_PROFILES, accounts=list(accounts))


def load_line_names(uow: UnitOfWork, subscription_charges: Sequence[int]) -> pa.Table:
    """How people call subscription charges: subscription_charge_id, and external ids in account,
    subscription, product, charge and meter, with account_name and meter_unit beside."""
    return uow.read_arrow(_LINE_NAMES, subscription_charges=list(subscription_charges))


def accounts_under_template(
    uow: UnitOfWork, accounts: Sequence[int], template: int
) -> tuple[frozenset[int], frozenset[int]]:
    """The accounts billed through these ones that inherit a pricing template, and the ones of
    these through which they are billed."""
    rows = uow.query(_UNDER_TEMPLATE, accounts=list(accounts), template=template)
    return (
        frozenset(int(row["account_id"]) for row in rows),
        frozenset(int(row["billed_account_id"]) for row in rows),
    )


def load_open_drafts(uow: UnitOfWork, accounts: Sequence[int]) -> pa.Table:
    """account_id of those of the accounts of which something stands on a draft."""
    return uow.read_arrow(
        "SELECT account_id FROM invoice WHERE state = 'draft' AND account_id = ANY(:accounts) "
        "UNION SELECT m.account_id FROM merged_account m JOIN invoice i ON i.id = m.invoice_id "
        "WHERE i.state = 'draft' AND m.account_id = ANY(:accounts)",
        accounts=list(accounts),
    )


def unbilled_accounts(uow: UnitOfWork, billing_date: date) -> list[tuple[int, str]]:
    """Accounts with service by ``billing_date`` for which nobody is billed; each with a message.

    Neither they nor an account above them has a billing profile by which it is invoiced.
    """
    rows = uow.query(_NOBODY_BILLED, billing_date=billing_date)
    message = (
        "neither account {external_id!r} nor an account above it has a billing profile by "
        "which it is invoiced: {subscriptions} of its subscriptions are not billed"
    )
    return [(int(row["id"]), message.format_map(row)) for row in rows]


def billed_accounts(uow: UnitOfWork) -> list[int]:
    """Ids of all accounts that are or may be invoiced, bucket by bucket (root_id % 16)."""
    rows = uow.query(
        "SELECT p.account_id FROM billing_profile p JOIN account a ON a.id = p.account_id "
        "WHERE p.invoice_at_this_level <> 'no' "
        f"ORDER BY a.root_id % {BUCKETS}, a.root_id, p.account_id"
    )
    return [row["account_id"] for row in rows]


def usage_seen(uow: UnitOfWork, accounts: Sequence[int]) -> dict[int, int]:
    """For each account the highest usage segment that a finished bill run over all accounts has
    considered without finding a problem of that account; 0 when none has."""
    newest = int(uow.query(f"SELECT ({_SEEN}) AS seen")[0]["seen"])
    behind = uow.query(_BEHIND, accounts=list(accounts))
    return {
        **dict.fromkeys(accounts, newest),
        **{int(row["account_id"]): int(row["seen"]) for row in behind},
    }
