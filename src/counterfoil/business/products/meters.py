"""What makes a meter right, and a usage charge fit for its meter."""

from collections.abc import Iterator
from decimal import Decimal

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record

CARRYING = ("sum", "latest", "unique_count", "weighted_sum")
"""Aggregations that know a level, which can be carried into the next cycle."""

PLAIN = ("sum", "count", "max")
"""Aggregations whose charges may round single events (which a count and a maximum leave alone)."""

POOLED = ("sum", "count")
"""Aggregations to which each event adds by itself, so that events of several subscriptions can
stand in one line."""


def find_meter_problems(meter: Record, line: int | None = None) -> list[Problem]:
    """Contradictions among the fields of one meter; ``line`` is put into every problem."""
    problems: list[Problem] = []

    def refuse(code: str, message: str, field: str) -> None:
        problems.append(Problem(code, message, field, line=line))

    aggregation = meter["aggregation"]
    if aggregation == "unique_count" and meter["property"] is None:
        refuse("missing_property", "needs the attribute whose values are counted", "property")
    if aggregation != "unique_count" and meter["property"] is not None:
        refuse("unexpected_property", f"does not belong to a {aggregation}", "property")
    if aggregation in ("count", "unique_count") and meter["quantity_attribute"] is not None:
        message = f"does not belong to a {aggregation}, which asks for no quantity"
        refuse("unexpected_quantity_attribute", message, "quantity_attribute")
    percentile = meter["percentile"]
    if aggregation == "percentile" and percentile is None:
        refuse("missing_percentile", "is required, such as 95", "percentile")
    elif aggregation != "percentile" and percentile is not None:
        refuse("unexpected_percentile", f"does not belong to a {aggregation}", "percentile")
    elif percentile is not None and not 0 < Decimal(str(percentile)) <= 100:
        refuse("percentile_range", "must be above 0 and at most 100", "percentile")
    if meter["carried_over"] and aggregation not in CARRYING:
        message = f"a {aggregation} has no level to carry over; {', '.join(CARRYING)} have"
        refuse("nothing_to_carry", message, "carried_over")
    problems.extend(
        Problem("bad_filter", message, "filter", line=line)
        for message in _filter_faults(meter["filter"])
    )
    return problems


def find_metered_charge_problems(
    charge: Record, meter: Record, line: int | None = None
) -> list[Problem]:
    """What a usage charge asks for that its meter cannot give."""
    problems: list[Problem] = []
    aggregation = meter["aggregation"]
    for field in ("event_minimum", "event_increment"):
        if charge[field] is not None and (aggregation not in PLAIN or meter["carried_over"]):
            level = "a meter that carries over" if aggregation == "sum" else f"a {aggregation}"
            message = f"rounds single events, which is of no use to {level}"
            problems.append(Problem("not_for_this_meter", message, field, line=line))
    if charge["pooled_over"] != "subscription" and (
        aggregation not in POOLED or meter["carried_over"]
    ):
        message = "only meters that sum or count, and carry nothing over, can be pooled"
        problems.append(Problem("not_for_this_meter", message, "pooled_over", line=line))
    return problems


def _filter_faults(document: object) -> Iterator[str]:
    if document is None:
        return
    if not isinstance(document, dict):
        yield "must be an object of attributes and lists of values"
        return
    for name, values in document.items():
        good = isinstance(values, list) and values and all(isinstance(v, str) for v in values)
        if not name or not good:
            yield f"{name!r} needs a list of texts with at least one"
