"""Which price holds when: the most specific layer that has one, cut where the winner changes."""

from counterfoil.core.rating.layers import BILLED, LAYERS
from counterfoil.core.rating.relations import Statement

_ITEM_LAYERS = tuple(layer for layer in LAYERS if layer.column)

# One branch per layer: without a price of a layer its branch costs nothing.
_OF_THE_ITEM = "".join(
    f"""
    UNION ALL
    SELECT i.item_id, p.price_id, p.layer, {layer.specificity},
           greatest(p.valid_from, i.service_start), least(p.valid_to, i.pricing_end)
    FROM charge_item i
    JOIN price p ON p.charge_id = i.charge_id AND p.currency = i.currency
     AND p.layer = '{layer.name}' AND p.owner_id = i.{layer.column}
"""
    for layer in _ITEM_LAYERS
)

# The last branch: service that was billed keeps the price it was billed at, whatever was entered
# since, so that late usage never prices anything again.
_CANDIDATE = f"""
SELECT * FROM (
    SELECT i.item_id, p.price_id, p.layer, l.specificity,
           greatest(p.valid_from, l.valid_from, i.service_start) AS from_day,
           least(p.valid_to, l.valid_to, i.pricing_end) AS to_day
    FROM charge_item i
    JOIN price p ON p.charge_id = i.charge_id AND p.currency = i.currency
    JOIN price_layer l
      ON l.account_id = i.account_id AND l.layer = p.layer AND l.owner_id = p.owner_id
    {_OF_THE_ITEM}
) WHERE from_day < to_day
UNION ALL
SELECT i.item_id, b.price_id, b.layer, {BILLED}, greatest(b.service_start, i.service_start),
       least(b.service_end, i.pricing_end)
FROM charge_item i
JOIN (SELECT DISTINCT item_id, service_start, service_end, price_id, layer FROM billed_usage) b
  ON b.item_id = i.item_id
"""
# Between two neighbouring cuts no candidate begins or ends, so one winner holds throughout.
_STRETCH = """
WITH cut AS (
    SELECT item_id, service_start AS day FROM charge_item
    UNION SELECT item_id, from_day FROM price_candidate
    UNION SELECT c.item_id, c.to_day FROM price_candidate c
          JOIN charge_item i USING (item_id) WHERE c.to_day < i.pricing_end
), stretch AS (
    SELECT item_id, day, lead(day) OVER (PARTITION BY item_id ORDER BY day) AS next_day FROM cut
)
SELECT s.item_id, s.day, arg_max(c.price_id, c.specificity) AS price_id,
       arg_max(c.layer, c.specificity) AS layer
FROM stretch s
LEFT JOIN price_candidate c
  ON c.item_id = s.item_id AND c.from_day <= s.day AND c.to_day > s.day
GROUP BY s.item_id, s.day
"""

_EPOCH = """
WITH marked AS (
    SELECT *, lag(price_id) OVER w IS DISTINCT FROM price_id OR lag(day) OVER w IS NULL AS begins
    FROM price_stretch WINDOW w AS (PARTITION BY item_id ORDER BY day)
), kept AS (
    SELECT item_id, day AS epoch_start, price_id, layer FROM marked WHERE begins
)
SELECT k.item_id, k.epoch_start, k.price_id, k.price_id AS terms_id, k.layer,
       row_number() OVER w AS epoch_no,
       coalesce(lead(k.epoch_start) OVER w, i.service_end) AS epoch_end
FROM kept k JOIN charge_item i USING (item_id)
WINDOW w AS (PARTITION BY k.item_id ORDER BY k.epoch_start)
"""

TERMS_TIER = Statement(
    "terms_tier",
    "SELECT price_id AS terms_id, 0 AS cell_no, from_quantity, up_to, unit_amount, flat_amount, "
    "price_id FROM price_tier",
    view=True,
)

# What was billed keeps its price, whatever its condition says now.
_MET_CANDIDATE = f"""
SELECT c.* FROM price_offer c
LEFT JOIN unmet_price u ON u.item_id = c.item_id AND u.price_id = c.price_id
WHERE u.price_id IS NULL OR c.specificity >= {BILLED}
"""


def price_epochs(*, conditional: bool = False) -> tuple[Statement, ...]:
    """Make ``price_epoch`` and ``terms_tier``, see ``PRICE_EPOCHS``; ``conditional`` passes over
    the prices in ``unmet_price`` (item_id, price_id)."""
    candidates: tuple[Statement, ...] = (Statement("price_candidate", _CANDIDATE),)
    if conditional:
        candidates = (
            Statement("price_offer", _CANDIDATE),
            Statement("price_candidate", _MET_CANDIDATE),
        )
    return (
        *candidates,
        Statement("price_stretch", _STRETCH),
        Statement("price_epoch", _EPOCH),
        TERMS_TIER,
    )


PRICE_EPOCHS = price_epochs()
"""Make ``price_epoch``: item_id, epoch_no (from 1), epoch_start, epoch_end DATE, price_id,
terms_id, layer. The epochs of an item cover its service period without gap or overlap; price_id is
null where no layer has a price.

And ``terms_tier``: terms_id, cell_no, from_quantity, up_to, unit_amount, flat_amount, price_id (the
price the tier was taken from): the tiers in force under the terms of an epoch."""

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
