"""What makes a charge right: which settings belong to which kind."""

from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record

_OF_USAGE = ("meter_id", "event_minimum", "event_increment", "group_by")


def find_charge_problems(charge: Record, line: int | None = None) -> list[Problem]:
    """Contradictions among the fields of one charge; ``line`` is put into every problem."""
    problems: list[Problem] = []

    def refuse(code: str, message: str, field: str) -> None:
        problems.append(Problem(code, message, field, line=line))

    if charge["pooled_over"] != "subscription":
        for code, message, field in _pool_faults(charge):
            refuse(code, message, field)
    if charge["periods_ahead"] != 1 and not _in_advance(charge):
        message = "belongs to recurring charges in advance"
        refuse("not_for_this_kind", message, "periods_ahead")
    if charge["kind"] == "usage":
        problems += _find_usage_problems(charge, line)
        return problems
    for field in _OF_USAGE:
        if charge[field] is not None:
            refuse("not_for_this_kind", f"does not belong to a {charge['kind']} charge", field)
    for field, silent in (("unit_size", 1), ("unit_rounding", "exact")):
        if charge[field] != silent:
            refuse("not_for_this_kind", f"does not belong to a {charge['kind']} charge", field)
    return problems


def _in_advance(charge: Record) -> bool:
    return bool(charge["kind"] == "recurring" and charge["timing"] == "in_advance")


def _find_usage_problems(charge: Record, line: int | None) -> list[Problem]:
    """Contradictions among the fields of a charge for usage."""
    faults = []
    if charge["meter_id"] is None:
        faults.append(("missing_meter", "a usage charge needs a meter", "meter_id"))
    if charge["timing"] == "in_advance":
        faults.append(("usage_in_advance", "usage is always charged in arrears", "timing"))
    if charge["group_by"] is not None and charge["quantity_formula"] is not None:
        message = "says how much there is, but not in which group"
        faults.append(("grouped_usage", message, "quantity_formula"))
    if charge["event_increment"] == 0:
        message = "must be above 0; leave it out when events are not rounded up"
        faults.append(("zero_increment", message, "event_increment"))
    return [Problem(code, message, field, line=line) for code, message, field in faults]


def _pool_faults(charge: Record) -> list[tuple[str, str, str]]:
    """Code, message and field of what does not go with pooling."""
    if charge["kind"] != "usage":
        return [("not_for_this_kind", "only usage is pooled", "pooled_over")]
    faults = []
    if charge["alignment"] == "anniversary":
        message = "what is pooled has calendar cycles, which all subscriptions share"
        faults.append(("pool_needs_calendar", message, "alignment"))
    return faults
