"""Which fields a kind of order line takes, and what is wrong with a line by itself."""

from collections.abc import Iterator, Mapping

from counterfoil.business.orders.notation import LINE_FORM, NewLine
from counterfoil.core.problems import Problem

_ANY = ("subscription", "effective_date", "billing_start", "billing_date")
_ALWAYS = frozenset({*_ANY, "kind", "purchase_order", "reason"})
_CHANGE = frozenset({"next_period", "proration"})
_PLAN = frozenset({"rate_plan", "quantities", "prices"})

TAKEN: Mapping[str, frozenset[str]] = {
    "add": _ALWAYS
    | _PLAN
    | {"account", "site", "contact", "contract", "invoice_account", "identifiers"}
    | {"end_date", "trial_end", "term_months", "renewal", "uplift_percent"},
    "change_plan": _ALWAYS | _CHANGE | _PLAN,
    "change_quantity": _ALWAYS | _CHANGE | {"charge", "quantity"},
    "change_price": _ALWAYS | _CHANGE | {"charge", "amount"},
    "add_on": _ALWAYS | _CHANGE | _PLAN,
    "remove_add_on": _ALWAYS | _CHANGE | {"rate_plan"},
    "change_end": _ALWAYS | _CHANGE | {"until"},
    "suspend": _ALWAYS | _CHANGE | {"charged"},
    "resume": _ALWAYS | _CHANGE,
    "transfer": _ALWAYS | _CHANGE | {"account", "site", "successor"},
    "renew": _ALWAYS | _CHANGE | _PLAN | {"until", "term_months", "uplift_percent"},
    "trial": _ALWAYS | _CHANGE | {"until"},
    "cancel": _ALWAYS | _CHANGE | {"rate_plan", "amount", "fee_percent"},
    "charge_once": _ALWAYS | {"rate_plan", "quantities", "amount"},
}
"""The fields of a line by its kind; others would say something that is not done."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "add": ("rate_plan",),
    "change_plan": ("rate_plan",),
    "change_quantity": ("charge", "quantity"),
    "change_price": ("charge", "amount"),
    "add_on": ("rate_plan",),
    "remove_add_on": ("rate_plan",),
    "trial": ("until",),
    "charge_once": ("rate_plan",),
}

_DEFAULTS = {field.name: field.default for field in LINE_FORM.fields}


def find_line_problems(line: NewLine) -> Iterator[Problem]:
    """What is missing in a line, and what it says that its kind does not take."""
    taken = TAKEN.get(line.kind)
    if taken is None:
        message = f"{line.kind!r} is not allowed"
        yield Problem("unknown_choice", message, "kind", tuple(TAKEN))
        return
    allowed = tuple(name for name in _DEFAULTS if name in taken)
    for name, default in _DEFAULTS.items():
        if name not in taken and getattr(line, name) not in (default, {}, (), None):
            yield Problem("unknown_field", f"means nothing for {line.kind}", name, allowed)
    needed = _NEEDED.get(line.kind, ())
    if line.kind != "add":
        needed = ("subscription", *needed)
    for name in needed:
        if getattr(line, name) is None:
            yield Problem("required", f"is required for {line.kind}", name)
    if line.kind == "transfer" and line.account is None and line.site is None:
        yield Problem("required", "name an account or a site", "account", ("account", "site"))
    if line.kind == "renew" and line.rate_plan is None and (line.prices or line.quantities):
        message = (
            "is required: quantities and prices of a renewal are those of another plan; "
            "change_quantity and change_price are for the one there is"
        )
        yield Problem("required", message, "rate_plan")
    yield from _find_day_problems(line)


def _find_day_problems(line: NewLine) -> Iterator[Problem]:
    if line.billing_start == "on_date" and line.billing_date is None:
        yield Problem("required", "is required: billing starts on a date", "billing_date")
    if line.billing_start != "on_date" and line.billing_date is not None:
        message = "means nothing unless billing starts on_date"
        yield Problem("bad_choice", message, "billing_start", ("on_date",))
    if line.next_period and (line.effective_date or line.billing_start != "on_activation"):
        message = "give an effective date, or next_period, not both"
        yield Problem("bad_choice", message, "next_period")
    if line.renewal != "evergreen" and line.term_months is None and line.kind == "add":
        message = "there is no term that could end: give term_months"
        yield Problem("required", message, "term_months")
