"""Reads prices and the layers that accounts look into out of PostgreSQL, as Arrow relations."""

from collections.abc import Collection

import pyarrow as pa

from counterfoil.core.rating.layers import SPECIFICITY
from counterfoil.platform.records.unit_of_work import UnitOfWork


def regions(accounts: str) -> str:
    """CTEs for a WITH RECURSIVE that make ``region``: account_id, price_region_id of those accounts
    (a relation with account_id) that have a price region or lie below one that has."""
    return f"""
above AS (
    SELECT DISTINCT account_id, account_id AS ancestor_id, 0 AS distance FROM {accounts}
    WHERE EXISTS (SELECT 1 FROM price_region)
    UNION ALL
    SELECT u.account_id, a.parent_id, u.distance + 1
    FROM above u JOIN account a ON a.id = u.ancestor_id WHERE a.parent_id IS NOT NULL
), region AS (
    SELECT DISTINCT ON (u.account_id) u.account_id, a.price_region_id
    FROM above u JOIN account a ON a.id = u.ancestor_id
    WHERE a.price_region_id IS NOT NULL ORDER BY u.account_id, u.distance
)
"""


# Of the templates on the way up the nearest counts, day by day: an assignment before the account's
# own field, which holds always. What a template builds on stands behind it.
_LAYERS = f"""
WITH RECURSIVE up AS (
    SELECT id AS account_id, id AS ancestor_id, 0 AS distance FROM account
    WHERE id IN ({{accounts}})
    UNION ALL
    SELECT u.account_id, a.parent_id, u.distance + 1
    FROM up u JOIN account a ON a.id = u.ancestor_id WHERE a.parent_id IS NOT NULL
), offered AS (
    SELECT u.account_id, 2 * u.distance AS rank, t.pricing_template_id, t.valid_from, t.valid_to
    FROM up u JOIN template_assignment t ON t.account_id = u.ancestor_id
    UNION ALL
    SELECT u.account_id, 2 * u.distance + 1, a.pricing_template_id, NULL, NULL
    FROM up u JOIN account a ON a.id = u.ancestor_id WHERE a.pricing_template_id IS NOT NULL
), cut AS (
    SELECT account_id, coalesce(valid_from, '-infinity') AS day FROM offered
    UNION
    SELECT account_id, valid_to FROM offered WHERE valid_to IS NOT NULL
), stretch AS (
    SELECT account_id, day, lead(day) OVER (PARTITION BY account_id ORDER BY day) AS next_day
    FROM cut
), chosen AS (
    SELECT DISTINCT ON (s.account_id, s.day) s.account_id, o.pricing_template_id,
           nullif(s.day, '-infinity') AS valid_from, s.next_day AS valid_to
    FROM stretch s JOIN offered o ON o.account_id = s.account_id
     AND coalesce(o.valid_from, '-infinity') <= s.day AND (o.valid_to IS NULL OR o.valid_to > s.day)
    ORDER BY s.account_id, s.day, o.rank
), stack AS (
    SELECT id AS top_id, id, base_template_id, 0 AS depth FROM pricing_template
    UNION ALL
    SELECT s.top_id, t.id, t.base_template_id, s.depth + 1
    FROM stack s JOIN pricing_template t ON t.id = s.base_template_id
)
SELECT account_id, 'list' AS layer, 0::bigint AS owner_id, {SPECIFICITY["list"]} AS specificity,
       NULL::date AS valid_from, NULL::date AS valid_to
FROM up WHERE distance = 0
UNION ALL
SELECT c.account_id, 'template', s.id, {SPECIFICITY["template"]} - s.depth, c.valid_from, c.valid_to
FROM chosen c JOIN stack s ON s.top_id = c.pricing_template_id
UNION ALL
SELECT account_id, 'account', ancestor_id, {SPECIFICITY["account"]} - distance, NULL, NULL FROM up
"""

# Each layer's prices are found by its own index: those that many other accounts have for the same
# charge are not looked through. A contract's prices hold while it runs.
_PRICES = """
WITH wanted AS (
    SELECT id FROM price
    WHERE charge_id = ANY(:charge_id) AND layer IN ('list', 'region', 'template')
    UNION SELECT unnest(CAST(:billed_at AS bigint[]))
    UNION SELECT id FROM price WHERE account_id = ANY(:above)
    UNION SELECT id FROM price WHERE site_id = ANY(:site_id)
    UNION SELECT id FROM price WHERE contact_id = ANY(:contact_id)
    UNION SELECT p.id FROM price p JOIN contract c ON c.external_id = p.contract_external_id
          WHERE c.id = ANY(:contract_id)
    UNION SELECT p.id FROM price p JOIN subscription s ON s.external_id = p.subscription_external_id
          WHERE s.id = ANY(:subscription_id)
)
SELECT p.id AS price_id, p.charge_id, p.currency, p.layer,
       coalesce(p.price_region_id, p.pricing_template_id, p.account_id, p.site_id, p.contact_id,
                c.id, s.id, 0) AS owner_id,
       greatest(p.valid_from, c.start_date) AS valid_from,
       least(p.valid_to, c.end_date) AS valid_to,
       p.model, p.package_size, p.included_quantity, p.minimum_amount, p.maximum_amount,
       p.event_amount, p.event_amount_minimum, p.event_amount_maximum, p.free_events, p.partial
FROM wanted w JOIN price p ON p.id = w.id
LEFT JOIN contract c ON c.external_id = p.contract_external_id
LEFT JOIN subscription s ON s.external_id = p.subscription_external_id
WHERE p.charge_id = ANY(:charge_id)
"""

_TIERS = """
SELECT price_id, cell_no, from_quantity, up_to, unit_amount, flat_amount
FROM price_tier WHERE price_id = ANY(:prices)
"""

_OWNED_BY = ("charge_id", "site_id", "contact_id", "contract_id", "subscription_id")


def load_prices(
    uow: UnitOfWork, charges: pa.Table, billed: pa.Table
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """``price``, ``price_tier``, ``price_layer`` (core.rating.relations) of the charges, with the
    prices at which ``billed`` charges were billed.

    ``charges`` has the columns account_id, charge_id, site_id, contact_id, contract_id and
    subscription_id.
    """
    layers = load_layers(uow, _ids(charges, "account_id"))
    prices = uow.read_arrow(
        _PRICES,
        above=_ids(layers, "owner_id"),
        billed_at=billed_prices(billed),
        **{name: _ids(charges, name) for name in _OWNED_BY},
    )
    tiers = uow.read_arrow(_TIERS, prices=prices.column("price_id").to_pylist())
    return prices, tiers, layers


def layers_of(accounts: str) -> str:
    """A SELECT of ``price_layer`` (core.rating.relations) of the accounts a SELECT of ids names."""
    return _LAYERS.format(accounts=accounts)


def load_layers(uow: UnitOfWork, accounts: Collection[int]) -> pa.Table:
    """``price_layer`` (core.rating.relations) of these accounts."""
    ids = "SELECT unnest(CAST(:accounts AS bigint[]))"
    return uow.read_arrow(layers_of(ids), accounts=list(accounts))


def billed_prices(billed: pa.Table) -> list[int]:
    """The prices that charges were billed at (price_id), and the partial ones laid over them
    (partial_ids, a text with commas)."""
    lists = billed.column("partial_ids").drop_null().unique().to_pylist()
    partial = {int(price) for joined in lists for price in joined.split(",")}
    return sorted(partial.union(_ids(billed, "price_id")))


def _ids(table: pa.Table, column: str) -> list[int]:
    return sorted(set(table.column(column).drop_null().to_pylist()))
