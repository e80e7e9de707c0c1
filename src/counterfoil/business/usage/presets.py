"""What the built-in formats fill in: a collector of format focus or cloudevents may be empty.

A definition's own keys win over the preset's; ``fields`` and ``value_maps`` are merged by key.
"""

from collections.abc import Mapping

FOCUS: Mapping[str, object] = {
    "null_values": ["NULL"],
    "time_zone": "UTC",
    "fields": {
        # The standard has no identity of a row.
        "event_id": {"content_hash": True},
        "time": "ChargePeriodStart",
        "identifier": {"template": "{SubAccountName|SubAccountId|BillingAccountId}"},
        "meter": {"template": "{SkuPriceId|SkuId}{PricingCategory|}"},
        "quantity": "PricingQuantity",
    },
    "value_maps": {
        "PricingCategory": {
            "Standard": "",
            "Committed": ":committed",
            "Dynamic": ":dynamic",
            "Other": ":other",
        }
    },
    "reject": [
        {
            "column": "ChargeCategory",
            "not_in": ["Usage"],
            "reason": "not_usage",
            "message": "the row's ChargeCategory is not Usage",
        }
    ],
}
"""FinOps Open Cost and Usage Specification 1.0, as CSV."""

CLOUDEVENTS: Mapping[str, object] = {
    "time_zone": "UTC",
    "fields": {
        "event_id": "id",
        "source": "source",
        "time": "time",
        "identifier": "subject",
        "meter": "type",
        "quantity": {"template": "{data.quantity|=1}"},
    },
    "reject": [
        {
            "column": "specversion",
            "not_in": ["1.0"],
            "reason": "malformed_record",
            "message": "not a CloudEvent of specversion 1.0:",
        }
    ],
}
"""CloudEvents 1.0, structured JSON: an event without ``data.quantity`` counts as one."""

PRESETS: Mapping[str, Mapping[str, object]] = {
    "csv": {},
    "jsonl": {},
    "focus": FOCUS,
    "cloudevents": CLOUDEVENTS,
}
"""Preset by format."""

BUILT_IN: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "focus": ("FOCUS 1.0 cost and usage", {"format": "focus"}),
    "cloudevents": ("CloudEvents", {"format": "cloudevents"}),
}
"""Collectors every organisation has: external id to name and definition."""


def with_preset(definition: Mapping[str, object]) -> dict[str, object]:
    """The definition completed by the preset of its format."""
    preset = PRESETS.get(str(definition.get("format")), {})
    merged = {**preset, **definition}
    for key in ("fields", "value_maps"):
        own, given = definition.get(key), preset.get(key)
        if isinstance(own, dict) and isinstance(given, dict):
            merged[key] = {**given, **own}
    return merged
