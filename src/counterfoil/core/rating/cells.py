"""Matrix prices: which cell of its price an event falls into.

A cell asks for values of attributes, for prefixes of them, and for hours of the week; where it
asks for several, all must hold. Of the cells that hold, the one that asks for most attributes wins;
then the one with the longest prefixes, an exact value counting as longer than any; then the lowest
number. What no cell holds falls into cell 0, if the price has it. Combinations of values are judged
once, however many events have them.

Usage that is grouped by an attribute has a cell for each value there is, numbered from -1 down in
the order of the values. They have the tiers of cell 0, into which falls what has no such attribute.
"""

from collections.abc import Sequence

from counterfoil.core.rating.attributes import HOURS
from counterfoil.core.rating.relations import Relation, Statement

_EXACT = 1000
"""The weight of an exact value; a prefix weighs its length."""

_MATRIX_TERMS = """
SELECT DISTINCT terms_id FROM terms_tier
WHERE cell_no <> 0 OR price_id IN (SELECT p.price_id FROM price p JOIN cell_condition c
                                   ON c.charge_id = p.charge_id AND c.value IS NULL)
"""

# A window of hours is a set of the pieces that all windows together cut the week into.
_CELL_ENTRY = f"""
SELECT charge_id, cell_no, attribute, is_prefix, value FROM cell_condition
WHERE value IS NOT NULL
UNION ALL
SELECT w.charge_id, w.cell_no, '{HOURS}', false, w.weekday || '-' || p.begins
FROM cell_window w CROSS JOIN (SELECT unnest({{pieces}}) AS begins) p
WHERE CASE WHEN w.from_minute < w.to_minute
      THEN p.begins >= w.from_minute AND p.begins < w.to_minute
      ELSE p.begins >= w.from_minute OR p.begins < w.to_minute END
"""

_ASKED = """
SELECT charge_id, cell_no, count(DISTINCT attribute) AS conditions FROM cell_entry GROUP BY ALL
"""

_CELL_PAIR = """
SELECT DISTINCT e.charge_id, e.terms_id, u.combination_no
FROM counted_usage u JOIN usage_epoch e
  ON u.subscription_id = e.subscription_id AND u.meter_id = e.meter_id
 AND u.time >= e.start_at AND u.time < e.end_at
WHERE e.matrix
"""

_GROUP_CELL = """
SELECT p.charge_id, p.terms_id, p.combination_no, v.value AS label,
       -dense_rank() OVER (PARTITION BY p.charge_id ORDER BY v.value) AS cell_no
FROM cell_pair p
JOIN cell_condition c ON c.charge_id = p.charge_id AND c.value IS NULL
JOIN combination_value v ON v.combination_no = p.combination_no AND v.attribute = c.attribute
WHERE v.value IS NOT NULL
"""

_COMBINATION_PREFIX = """
SELECT combination_no, attribute, left(value, length) AS prefix, length
FROM (SELECT v.combination_no, v.attribute, v.value,
             CAST(unnest(range(1, least(length(v.value), p.longest) + 1)) AS BIGINT) AS length
      FROM combination_value v
      JOIN (SELECT attribute, max(length(value)) AS longest FROM cell_entry
            WHERE is_prefix GROUP BY attribute) p USING (attribute))
"""

_CELL_HELD = f"""
SELECT p.terms_id, p.combination_no, c.charge_id, c.cell_no, c.attribute, {_EXACT} AS weight
FROM cell_pair p
JOIN combination_value v USING (combination_no)
JOIN cell_entry c ON c.charge_id = p.charge_id AND c.attribute = v.attribute
 AND c.value = v.value AND NOT c.is_prefix
UNION ALL
SELECT p.terms_id, p.combination_no, c.charge_id, c.cell_no, c.attribute, v.length
FROM cell_pair p
JOIN combination_prefix v USING (combination_no)
JOIN cell_entry c ON c.charge_id = p.charge_id AND c.attribute = v.attribute
 AND c.value = v.prefix AND c.is_prefix
"""

_CELL_MATCH = """
WITH best AS (
    SELECT terms_id, combination_no, charge_id, cell_no, attribute, max(weight) AS weight
    FROM cell_held GROUP BY ALL
), scored AS (
    SELECT terms_id, combination_no, charge_id, cell_no, count(*) AS held, sum(weight) AS weight
    FROM best GROUP BY ALL
), won AS (
    SELECT s.terms_id, s.combination_no, arg_max(s.cell_no, (s.held, s.weight, -s.cell_no))
               AS cell_no
    FROM scored s
    JOIN cell_asked a ON a.charge_id = s.charge_id AND a.cell_no = s.cell_no
     AND a.conditions = s.held
    JOIN (SELECT DISTINCT terms_id, cell_no FROM terms_tier) t
      ON t.terms_id = s.terms_id AND t.cell_no = s.cell_no
    GROUP BY s.terms_id, s.combination_no
), rest AS (
    SELECT DISTINCT terms_id FROM terms_tier WHERE cell_no = 0
)
SELECT p.terms_id, p.combination_no,
       coalesce(w.cell_no, g.cell_no, CASE WHEN r.terms_id IS NOT NULL THEN 0 END) AS cell_no
FROM cell_pair p
LEFT JOIN group_cell g ON g.terms_id = p.terms_id AND g.combination_no = p.combination_no
LEFT JOIN won w ON w.terms_id = p.terms_id AND w.combination_no = p.combination_no
LEFT JOIN rest r ON r.terms_id = p.terms_id
"""

_UNMATCHED = f"""
WITH described AS (
    SELECT combination_no, string_agg(
        CASE WHEN attribute = '{HOURS}' THEN 'time ' || value
             ELSE attribute || ' ' || coalesce(value, '(none)') END, ', ' ORDER BY attribute)
        AS found
    FROM combination_value
    WHERE combination_no IN (SELECT combination_no FROM cell_match WHERE cell_no IS NULL)
    GROUP BY combination_no
)
SELECT e.item_id, e.epoch_no, d.found, count(*) AS events
FROM cell_match m
JOIN described d USING (combination_no)
JOIN counted_usage u ON u.combination_no = m.combination_no
JOIN usage_epoch e ON e.terms_id = m.terms_id AND u.subscription_id = e.subscription_id
 AND u.meter_id = e.meter_id AND u.time >= e.epoch_at AND u.time < e.end_at
WHERE m.cell_no IS NULL AND e.matrix
GROUP BY e.item_id, e.epoch_no, d.found
"""

UNMATCHED = Relation(
    "unmatched",
    {"item_id": "BIGINT", "epoch_no": "BIGINT", "found": "VARCHAR", "events": "BIGINT"},
    "Usage that no cell of its price holds: the values of its attributes in words.",
)

MATRIX_TERMS = Statement("matrix_terms", _MATRIX_TERMS)
"""Makes ``matrix_terms``: terms_id of the terms that have cells."""


def cell_statements(pieces: Sequence[int]) -> tuple[Statement, ...]:
    """Make ``cell_match`` (terms_id, combination_no, cell_no, null where nothing holds),
    ``group_cell`` (charge_id, terms_id, combination_no, cell_no, label) and ``unmatched``: item_id,
    epoch_no, found (the values of the attributes, in words), events.

    ``pieces`` are the minutes of the day at which a window of hours begins or ends. Needs
    ``counted_usage`` and ``usage_epoch``.
    """
    begins = ", ".join(str(minute) for minute in sorted({0, *pieces}))
    return (
        Statement("cell_entry", _CELL_ENTRY.format(pieces=f"[{begins}]")),
        Statement("cell_asked", _ASKED),
        Statement("cell_pair", _CELL_PAIR),
        Statement("group_cell", _GROUP_CELL),
        Statement("combination_prefix", _COMBINATION_PREFIX),
        Statement("cell_held", _CELL_HELD),
        Statement("cell_match", _CELL_MATCH),
        Statement("unmatched", _UNMATCHED),
    )
