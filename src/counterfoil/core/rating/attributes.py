"""What usage events say beside their quantity: attributes that filters and properties look at.

The text of an event's attributes is read once; equal combinations of what matters are then judged
once, and events only refer to their combination.
"""

from collections.abc import Sequence

from counterfoil.core.rating.relations import QUANTITY, Relation, Statement


def json_paths(attribute: str) -> tuple[str, str]:
    """Where an attribute may stand: in the data of a CloudEvent, or in the record itself.

    ``a.b`` means b within a; a name that begins with a slash is a JSON pointer already.
    """
    if attribute.startswith("/"):
        return f"/data{attribute}", attribute
    path = "".join('."' + part.replace('"', "") + '"' for part in attribute.split("."))
    return f'$."data"{path}', f"${path}"


def _literals(texts: Sequence[str]) -> str:
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"[{quoted}]"


HOURS = "#hours"
"""The attribute that stands for the time of an event: day of the week and piece of the day."""

ATTRIBUTES = """
SELECT property FROM charge_item WHERE property IS NOT NULL
UNION SELECT quantity_attribute FROM charge_item WHERE quantity_attribute IS NOT NULL
UNION SELECT attribute FROM meter_filter
UNION SELECT attribute FROM cell_condition ORDER BY 1
"""
"""The names of the attributes that the items at hand look at."""

READ_ATTRIBUTES = f"""
SELECT quantity_attribute FROM formula_name WHERE quantity_attribute IS NOT NULL
UNION {ATTRIBUTES}"""
"""The same, and the quantities of meters that formulas read, whoever is charged for these."""

PIECES = """
SELECT DISTINCT unnest([from_minute, to_minute]) FROM cell_window ORDER BY 1
"""
"""The minutes of the day at which windows of hours begin or end."""

_METER_ATTRIBUTE = """
SELECT DISTINCT meter_id, property AS attribute, 'property' AS role FROM charge_item
WHERE property IS NOT NULL
UNION SELECT meter_id, quantity_attribute, 'quantity' FROM charge_item
WHERE quantity_attribute IS NOT NULL
UNION SELECT meter_id, attribute, 'combined' FROM meter_filter
UNION SELECT i.meter_id, c.attribute, 'combined'
FROM charge_item i JOIN cell_condition c USING (charge_id)
"""

_HOURS_AS_ATTRIBUTE = f"""
UNION SELECT i.meter_id, '{HOURS}', 'combined'
FROM charge_item i JOIN cell_window w USING (charge_id)
"""

_READ_QUANTITY = """
UNION SELECT id, quantity_attribute, 'quantity' FROM formula_name
WHERE quantity_attribute IS NOT NULL
"""

_METER_KEY = """
SELECT meter_id, list(attribute ORDER BY attribute) FILTER (role = 'combined') AS attributes,
       list(list_position({names}, attribute) ORDER BY attribute) FILTER (role = 'combined')
           AS places,
       max(list_position({names}, attribute)) FILTER (role = 'property') AS property_place,
       max(list_position({names}, attribute)) FILTER (role = 'quantity') AS quantity_place
FROM meter_attribute GROUP BY meter_id
"""

_EXTRACTED = """
SELECT u.* EXCLUDE ({dropped}) REPLACE (
           CASE WHEN k.quantity_place IS NULL THEN quantity
                ELSE try_cast(found[k.quantity_place] AS {quantity}) END AS quantity{millionths}),
       list_select(found, k.places) AS combined, found[k.property_place] AS property
FROM (SELECT * EXCLUDE (anywhere), {found} AS found
      FROM (SELECT u.*, json_extract_string(u.attributes, {paths}) AS anywhere
            FROM usage u WHERE u.meter_id IN (SELECT meter_id FROM meter_key)) u) u
JOIN meter_key k USING (meter_id)
"""

# What stands beside the quantity of the event says nothing about that of an attribute.
_OTHER_QUANTITY = ", CASE WHEN k.quantity_place IS NULL THEN millionths END AS millionths"

# In the time zone of the site.
_LOCAL = """
SELECT u.* EXCLUDE (local, minute), isodow(local) || '-' || greatest({begun}) AS hours
FROM (SELECT u.*, hour(local) * 60 + minute(local) AS minute
      FROM (SELECT u.*, timezone(z.usage_zone, u.time AT TIME ZONE 'UTC') AS local
            FROM usage u
            JOIN (SELECT DISTINCT subscription_id, usage_zone FROM charge_item) z
              USING (subscription_id)) u) u
"""

_COMBINATION = """
SELECT row_number() OVER () AS combination_no, meter_id, combined
FROM (SELECT DISTINCT meter_id, combined FROM extracted WHERE combined IS NOT NULL)
"""

_COMBINATION_VALUE = """
SELECT c.combination_no, c.meter_id, unnest(k.attributes) AS attribute, unnest(c.combined) AS value
FROM combination c JOIN meter_key k USING (meter_id)
"""

# A filter asks for one of several values of each of its attributes.
_FILTERED_OUT = """
SELECT v.combination_no
FROM combination_value v
JOIN (SELECT DISTINCT meter_id, attribute FROM meter_filter) f USING (meter_id, attribute)
LEFT JOIN meter_filter m
  ON m.meter_id = v.meter_id AND m.attribute = v.attribute AND m.value = v.value
WHERE m.value IS NULL
"""

_COMBINED_USAGE = """
SELECT e.* EXCLUDE (combined), c.combination_no
FROM extracted e
LEFT JOIN combination c ON c.meter_id = e.meter_id AND c.combined = e.combined
WHERE c.combination_no IS NULL
   OR c.combination_no NOT IN (SELECT combination_no FROM filtered_out)
"""

_COUNTED_USAGE = """
SELECT * FROM combined_usage
UNION ALL BY NAME
SELECT *{without}, NULL::VARCHAR AS property, NULL::BIGINT AS combination_no
FROM usage WHERE meter_id NOT IN (SELECT meter_id FROM meter_key)
"""


UNREADABLE = Statement(
    "unreadable",
    """
SELECT e.item_id, min(u.event_id) AS event_id, count(*) AS events
FROM counted_usage u JOIN usage_epoch e
  ON u.subscription_id = e.subscription_id AND u.meter_id = e.meter_id
 AND u.time >= e.epoch_at AND u.time < e.end_at
WHERE u.quantity IS NULL GROUP BY e.item_id
""",
)
"""Makes ``unreadable``: item_id, an event_id and how many events have no number where their meter
looks for the quantity."""

NOTHING_UNREADABLE = Relation(
    "unreadable",
    {"item_id": "BIGINT", "event_id": "VARCHAR", "events": "BIGINT"},
    "What ``UNREADABLE`` makes, where no attribute is looked at.",
)


def attribute_statements(
    attributes: Sequence[str],
    pieces: Sequence[int] = (),
    *,
    keep: bool = False,
    millionths: bool = True,
    read: bool = False,
) -> tuple[Statement, ...]:
    """Make ``counted_usage``: the columns of ``usage`` (attributes if ``keep``), the value of the
    meter's property, and combination_no: only the events that pass the filters of their meters.

    ``attributes`` and ``pieces`` are what ``ATTRIBUTES`` and ``PIECES`` find; nothing is made of
    none: without pieces no hours are looked at. ``millionths`` is whether ``usage`` has them;
    with ``read`` ``attributes`` are ``READ_ATTRIBUTES``. Needs ``charge_item``, ``meter_filter``,
    ``cell_condition`` and ``cell_window``, with ``read`` ``formula_name``.
    """
    if not attributes and not pieces:
        return ()
    names = _literals([*attributes, *((HOURS,) if pieces else ())])
    found = [
        f"coalesce(anywhere[{2 * n + 1}], anywhere[{2 * n + 2}])" for n in range(len(attributes))
    ]
    extracted = _EXTRACTED.format(
        quantity=QUANTITY,
        millionths=_OTHER_QUANTITY if millionths else "",
        paths=_literals([path for name in attributes for path in json_paths(name)]) + "::VARCHAR[]",
        found="[" + ", ".join([*found, *(("hours",) if pieces else ())]) + "]",
        dropped=", ".join(
            ["found", *(("hours",) if pieces else ()), *(() if keep else ("attributes",))]
        ),
    )
    if pieces:
        begun = ", ".join(
            f"CASE WHEN minute >= {piece} THEN {piece} ELSE 0 END" for piece in pieces
        )
        extracted = extracted.replace("FROM usage u", f"FROM ({_LOCAL.format(begun=begun)}) u")
    attribute_of_meter = _METER_ATTRIBUTE
    attribute_of_meter += _HOURS_AS_ATTRIBUTE if pieces else ""
    attribute_of_meter += _READ_QUANTITY if read else ""
    return (
        Statement("meter_attribute", attribute_of_meter),
        Statement("meter_key", _METER_KEY.format(names=names)),
        Statement("extracted", extracted),
        Statement("combination", _COMBINATION),
        Statement("combination_value", _COMBINATION_VALUE),
        Statement("filtered_out", _FILTERED_OUT),
        Statement("combined_usage", _COMBINED_USAGE),
        Statement(
            "counted_usage",
            _COUNTED_USAGE.format(without="" if keep else " EXCLUDE (attributes)"),
            view=True,
        ),
    )
