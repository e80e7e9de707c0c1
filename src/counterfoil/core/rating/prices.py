"""Which price holds when: the most specific layer that has one, cut where the winner changes."""

from collections.abc import Collection

from counterfoil.core.rating.layers import BILLED, LAYER_NAMES, LAYERS
from counterfoil.core.rating.relations import Statement

_ITEM_LAYERS = tuple(layer for layer in LAYERS if layer.column)


def _of_the_item(partial: str, layers: Collection[str]) -> str:
    """One branch for each of the layers whose owners the item names."""
    return "".join(
        f"""
    UNION ALL
    SELECT i.item_id, p.price_id, p.layer, {layer.specificity},{partial}
           greatest(p.valid_from, i.service_start), least(p.valid_to, i.pricing_end)
    FROM charge_item i
    JOIN price p ON p.charge_id = i.charge_id AND p.currency = i.currency
     AND p.layer = '{layer.name}' AND p.owner_id = i.{layer.column}
"""
        for layer in _ITEM_LAYERS
        if layer.name in layers
    )


def _candidates(layers: Collection[str], *, partials: bool, late: bool) -> str:
    """The prices that hold on some day of an item."""
    partial = " p.partial," if partials else ""
    sql = f"""
SELECT * FROM (
    SELECT i.item_id, p.price_id, p.layer, l.specificity,{partial}
           greatest(p.valid_from, l.valid_from, i.service_start) AS from_day,
           least(p.valid_to, l.valid_to, i.pricing_end) AS to_day
    FROM charge_item i
    JOIN price p ON p.charge_id = i.charge_id AND p.currency = i.currency
    JOIN price_layer l
      ON l.account_id = i.account_id AND l.layer = p.layer AND l.owner_id = p.owner_id
    {_of_the_item(partial, layers)}
) WHERE from_day < to_day
"""
    if late:
        sql += _BILLED_AT.format(
            price="price_id", specificity=BILLED, partial=partial and " false,", rows=""
        )
    if late and partials:
        sql += _PARTIAL_BILLED_AT
    return sql


# Service that was billed keeps the price it was billed at, whatever was entered since, so that late
# usage never prices anything again; and the partial prices that were laid over it.
_BILLED_AT = """
UNION ALL
SELECT i.item_id, b.{price}, b.layer, {specificity},{partial}
       greatest(b.service_start, i.service_start), least(b.service_end, i.pricing_end)
FROM charge_item i
JOIN (SELECT DISTINCT item_id, service_start, service_end, price_id, layer{rows}
      FROM billed_usage) b
  ON b.item_id = i.item_id
"""

_PARTIAL_BILLED_AT = _BILLED_AT.format(
    price="partial_id",
    specificity=f"{BILLED} + b.place",
    partial=" true,",
    rows=", unnest(partial_ids) AS partial_id, unnest(range(len(partial_ids), 0, -1)) AS place",
)

# Between two neighbouring cuts no candidate begins or ends, so one winner holds throughout.
_CUT = """
WITH cut AS (
    SELECT item_id, service_start AS day FROM charge_item
    UNION SELECT item_id, from_day FROM price_candidate
    UNION SELECT c.item_id, c.to_day FROM price_candidate c
          JOIN charge_item i USING (item_id) WHERE c.to_day < i.pricing_end
), stretch AS (
    SELECT item_id, day, lead(day) OVER (PARTITION BY item_id ORDER BY day) AS next_day FROM cut
)
"""
_HOLDS = "c.item_id = s.item_id AND c.from_day <= s.day AND c.to_day > s.day"

_STRETCHES = f"""
{_CUT}, price_stretch AS (
    SELECT s.item_id, s.day, arg_max(c.price_id, c.specificity) AS price_id,
           arg_max(c.layer, c.specificity) AS layer
    FROM stretch s
    LEFT JOIN price_candidate c ON {_HOLDS}
    GROUP BY s.item_id, s.day
)
"""

# A partial price lies over every whole price that is less specific, of the same owner too.
_PARTIAL_STRETCH = f"""
{_CUT}, held AS (
    SELECT s.item_id, s.day, c.price_id, c.layer, c.partial,
           2 * c.specificity + CAST(c.partial AS INTEGER) AS rank,
           max(2 * c.specificity) FILTER (NOT c.partial)
               OVER (PARTITION BY s.item_id, s.day) AS whole_rank
    FROM stretch s LEFT JOIN price_candidate c ON {_HOLDS}
)
SELECT item_id, day, arg_max(price_id, rank) FILTER (NOT partial) AS price_id,
       arg_max(layer, rank) FILTER (NOT partial) AS layer,
       list(price_id ORDER BY rank DESC) FILTER (partial AND rank > whole_rank) AS partial_ids
FROM held
GROUP BY item_id, day
"""

_TERMS = """
SELECT -row_number() OVER () AS terms_id, price_id, partial_ids
FROM (SELECT DISTINCT price_id, partial_ids FROM {rows} WHERE partial_ids IS NOT NULL)
"""


def laid_over(rows: str) -> Statement:
    """Make ``terms`` of the relation ``rows`` (price_id, partial_ids): one row per whole price with
    the partial prices laid over it; terms_id is negative, so that it is no price's id."""
    return Statement("terms", _TERMS.format(rows=rows))


def _epoch(*, partials: bool) -> str:
    terms, told, kept, joined, same = "k.price_id", "NULL::BIGINT[]", "", "", ""
    begin = f"{_STRETCHES}, marked AS ("
    if partials:
        begin = "WITH marked AS ("
        terms, told = "coalesce(t.terms_id, k.price_id)", "k.partial_ids"
        kept = ", partial_ids"
        joined = "LEFT JOIN terms t ON t.price_id = k.price_id AND t.partial_ids = k.partial_ids"
        same = "OR lag(partial_ids) OVER w IS DISTINCT FROM partial_ids"
    return f"""
{begin}
    SELECT *, lag(price_id) OVER w IS DISTINCT FROM price_id OR lag(day) OVER w IS NULL
              {same} AS begins
    FROM price_stretch WINDOW w AS (PARTITION BY item_id ORDER BY day)
), kept AS (
    SELECT item_id, day AS epoch_start, price_id, layer{kept} FROM marked WHERE begins
)
SELECT k.item_id, k.epoch_start, k.price_id, {terms} AS terms_id, {told} AS partial_ids, k.layer,
       row_number() OVER w AS epoch_no,
       coalesce(lead(k.epoch_start) OVER w, i.service_end) AS epoch_end
FROM kept k JOIN charge_item i USING (item_id) {joined}
WINDOW w AS (PARTITION BY k.item_id ORDER BY k.epoch_start)
"""


# Where every candidate holds throughout, the most specific one does.
_STEADY_EPOCH = """
SELECT i.item_id, i.service_start AS epoch_start, arg_max(c.price_id, c.specificity) AS price_id,
       arg_max(c.price_id, c.specificity) AS terms_id, NULL::BIGINT[] AS partial_ids,
       arg_max(c.layer, c.specificity) AS layer, 1::BIGINT AS epoch_no, i.service_end AS epoch_end
FROM charge_item i LEFT JOIN price_candidate c USING (item_id)
GROUP BY i.item_id, i.service_start, i.service_end
"""

_OWN_TIER = (
    "SELECT price_id AS terms_id, cell_no, from_quantity, up_to, unit_amount, flat_amount, "
    "price_id FROM price_tier"
)

TERMS_TIER = Statement("terms_tier", _OWN_TIER, view=True)

# Of the partial prices that set a tier the first, the most specific, counts.
_LAID = f"""
WITH own AS ({_OWN_TIER}), laid AS (
    SELECT o.terms_id, t.* EXCLUDE (terms_id)
    FROM (SELECT terms_id, unnest(partial_ids) AS price_id,
                 unnest(range(len(partial_ids))) AS place FROM terms) o
    JOIN own t USING (price_id)
    QUALIFY row_number() OVER (
        PARTITION BY o.terms_id, t.cell_no, t.from_quantity ORDER BY o.place) = 1
)
SELECT * FROM own
UNION ALL
SELECT t.terms_id, b.cell_no, b.from_quantity, b.up_to, coalesce(l.unit_amount, b.unit_amount),
       coalesce(l.flat_amount, b.flat_amount), coalesce(l.price_id, b.price_id)
FROM terms t
JOIN own b ON b.terms_id = t.price_id
LEFT JOIN laid l ON l.terms_id = t.terms_id AND l.cell_no = b.cell_no
     AND l.from_quantity = b.from_quantity
"""

LAID_TIER = Statement("terms_tier", _LAID)
"""``terms_tier`` where there is the relation ``terms``."""

# What a partial price sets must be there in the whole price, with the same bounds.
_CONFLICTING = f"""
WITH own AS ({_OWN_TIER}), part AS (
    SELECT terms_id, price_id AS whole_id, unnest(partial_ids) AS partial_id FROM terms
)
SELECT e.item_id, e.epoch_no, f.whole_id AS price_id, f.partial_id,
       min(p.from_quantity) AS from_quantity
FROM part f
JOIN own p ON p.terms_id = f.partial_id
JOIN price w ON w.price_id = f.whole_id
JOIN price q ON q.price_id = f.partial_id
JOIN price_epoch e ON e.terms_id = f.terms_id
LEFT JOIN own b ON b.terms_id = f.whole_id AND b.cell_no = p.cell_no
     AND b.from_quantity = p.from_quantity
WHERE b.terms_id IS NULL OR b.up_to IS DISTINCT FROM p.up_to OR q.model <> w.model
GROUP BY e.item_id, e.epoch_no, f.whole_id, f.partial_id
"""

_NOTHING_CONFLICTS = """
SELECT NULL::BIGINT AS item_id, NULL::BIGINT AS epoch_no, NULL::BIGINT AS price_id,
       NULL::BIGINT AS partial_id, NULL::DECIMAL(28,6) AS from_quantity WHERE false
"""


# What was billed keeps its price, whatever its condition says now.
_MET_CANDIDATE = f"""
SELECT c.* FROM price_offer c
LEFT JOIN unmet_price u ON u.item_id = c.item_id AND u.price_id = c.price_id
WHERE u.price_id IS NULL OR c.specificity >= {BILLED}
"""


def price_epochs(
    *,
    partials: bool,
    conditional: bool = False,
    layers: Collection[str] = LAYER_NAMES,
    late: bool = True,
    steady: bool = False,
) -> tuple[Statement, ...]:
    """Make ``price_epoch``: item_id, epoch_no (from 1), epoch_start, epoch_end DATE, price_id,
    terms_id, partial_ids, layer. The epochs of an item cover its service period without gap or
    overlap; price_id is null where no layer has a price.

    ``terms_tier``: terms_id, cell_no, from_quantity, up_to, unit_amount, flat_amount, price_id (the
    price the tier was taken from): the tiers in force under the terms of an epoch.

    ``conflicting``: item_id, epoch_no, price_id, partial_id, from_quantity: partial prices that do
    not fit the price they lie over. What was priced for these items is not to be used.

    ``partials``: whether some prices are partial; without it all are taken for whole ones.
    ``conditional`` passes over the prices in ``unmet_price`` (item_id, price_id). Only ``layers``
    have prices, and nothing was billed at any unless ``late``. ``steady``: nothing was, and no
    price begins or ends within an item, so that each has one epoch.
    """
    offers = _candidates(layers, partials=partials, late=late)
    candidates: tuple[Statement, ...] = (Statement("price_candidate", offers),)
    if conditional:
        candidates = (
            Statement("price_offer", offers),
            Statement("price_candidate", _MET_CANDIDATE),
        )
    if not partials:
        return (
            *candidates,
            Statement("price_epoch", _STEADY_EPOCH if steady else _epoch(partials=False)),
            TERMS_TIER,
            Statement("conflicting", _NOTHING_CONFLICTS, empty=True),
        )
    return (
        *candidates,
        Statement("price_stretch", _PARTIAL_STRETCH),
        laid_over("price_stretch"),
        Statement("price_epoch", _epoch(partials=True)),
        LAID_TIER,
        Statement("conflicting", _CONFLICTING),
    )


_LOOKED_INTO = """
SELECT i.item_id, l.layer, l.owner_id, l.specificity, l.valid_from, l.valid_to
FROM charge_item i JOIN price_layer l USING (account_id)
""" + "".join(
    f"""
UNION ALL
SELECT item_id, '{layer.name}', {layer.column}, {layer.specificity}, NULL, NULL
FROM charge_item WHERE {layer.column} IS NOT NULL
"""
    for layer in _ITEM_LAYERS
)

LOOKED_INTO = Statement("looked_into", _LOOKED_INTO)
"""For explanations, ``looked_into``: item_id, layer, owner_id, specificity, valid_from, valid_to
of every owner whose prices are looked at for an item, whether it has any or not."""
