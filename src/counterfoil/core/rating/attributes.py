"""What usage events say beside their quantity: attributes that filters and properties look at.

The text of an event's attributes is read once; equal combinations of what matters are then judged
once, and events only refer to their combination.
"""

from collections.abc import Sequence

from counterfoil.core.rating.relations import Statement


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


ATTRIBUTES = """
SELECT property FROM charge_item WHERE property IS NOT NULL
UNION SELECT attribute FROM meter_filter ORDER BY 1
"""
"""The names of the attributes that the items at hand look at."""

_METER_ATTRIBUTE = """
SELECT DISTINCT meter_id, property AS attribute, false AS looked_at FROM charge_item
WHERE property IS NOT NULL
UNION SELECT meter_id, attribute, true FROM meter_filter
"""

_METER_KEY = """
SELECT meter_id, list(attribute ORDER BY attribute) FILTER (looked_at) AS attributes,
       list(list_position({names}, attribute) ORDER BY attribute) FILTER (looked_at) AS places,
       max(list_position({names}, attribute)) FILTER (NOT looked_at) AS property_place
FROM meter_attribute GROUP BY meter_id
"""

_EXTRACTED = """
SELECT u.* EXCLUDE ({dropped}),
       list_select(found, k.places) AS combined, found[k.property_place] AS property
FROM (SELECT * EXCLUDE (anywhere), {found} AS found
      FROM (SELECT *, json_extract_string(attributes, {paths}) AS anywhere
            FROM usage WHERE meter_id IN (SELECT meter_id FROM meter_key))) u
JOIN meter_key k USING (meter_id)
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

_COUNTED_USAGE = """
SELECT e.* EXCLUDE (combined), c.combination_no
FROM extracted e
LEFT JOIN combination c ON c.meter_id = e.meter_id AND c.combined = e.combined
WHERE c.combination_no IS NULL
   OR c.combination_no NOT IN (SELECT combination_no FROM filtered_out)
UNION ALL BY NAME
SELECT *{without}, NULL::VARCHAR AS property, NULL::BIGINT AS combination_no
FROM usage WHERE meter_id NOT IN (SELECT meter_id FROM meter_key)
"""


def attribute_statements(attributes: Sequence[str], *, keep: bool = False) -> tuple[Statement, ...]:
    """Make ``counted_usage``: the columns of ``usage`` (attributes if ``keep``), the value of the
    meter's property, and combination_no: only the events that pass the filters of their meters.

    ``attributes`` are the names of all that is looked at; nothing is made of none. Needs
    ``charge_item`` and ``meter_filter``.
    """
    if not attributes:
        return ()
    names = _literals(attributes)
    paths = _literals([path for name in attributes for path in json_paths(name)])
    found = ", ".join(
        f"coalesce(anywhere[{2 * n + 1}], anywhere[{2 * n + 2}])" for n in range(len(attributes))
    )
    return (
        Statement("meter_attribute", _METER_ATTRIBUTE),
        Statement("meter_key", _METER_KEY.format(names=names)),
        Statement(
            "extracted",
            _EXTRACTED.format(
                paths=paths, found=f"[{found}]", dropped="found" if keep else "attributes, found"
            ),
        ),
        Statement("combination", _COMBINATION),
        Statement("combination_value", _COMBINATION_VALUE),
        Statement("filtered_out", _FILTERED_OUT),
        Statement(
            "counted_usage",
            _COUNTED_USAGE.format(without="" if keep else " EXCLUDE (attributes)"),
            view=True,
        ),
    )
