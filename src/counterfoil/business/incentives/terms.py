"""What makes an incentive right, told from its own fields alone."""

from collections.abc import Sequence
from decimal import Decimal

from counterfoil.core.money.currencies import CURRENCIES, unknown_currency
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record

_VALUE_OF = {"percentage": "percent", "fixed": "amount", "per_unit": "amount", "volume": None}
_CAPS = ("invoice_maximum", "holder_maximum")


def find_discount_problems(row: Record) -> list[Problem]:
    """Contradictions among the fields of a discount."""
    problems = _currency_problems(row)
    wanted = _VALUE_OF[row["kind"]]
    problems += _value_problems(row, wanted)
    in_currency = wanted == "amount" or any(row[cap] is not None for cap in _CAPS)
    if in_currency and row["currency"] is None:
        problems.append(Problem("missing", "is missing beside an amount", "currency"))
    if row["code"] is not None and row["audience"] == "everyone":
        message = "a coupon is for those who redeem it, not for everyone"
        problems.append(Problem("wrong_audience", message, "audience"))
    return problems + _period_problems(row, "valid_from", "valid_to")


def _value_problems(row: Record, wanted: str | None) -> list[Problem]:
    """Exactly what the kind of discount needs is there; a percentage may be a formula."""
    problems = []
    formula = "percent_formula" if row["percent_formula"] is not None else "percent"
    if wanted == "percent":
        wanted = formula
    for field in ("percent", "percent_formula", "amount"):
        if field == wanted and row[field] is None:
            problems.append(Problem("missing", "is missing", field))
        elif field != wanted and row[field] is not None:
            message = f"does not belong to a discount of the kind {row['kind']}"
            if wanted == "percent_formula" and field == "percent":
                message = "stands beside a formula for it"
            problems.append(Problem("not_for_this_kind", message, field))
    return problems


def find_commitment_problems(row: Record) -> list[Problem]:
    """Contradictions among the fields of a commitment."""
    problems = _currency_problems(row)
    one = row["subscription_external_id"]
    if row["scope"] == "subscription":
        if one is None and row["rate_plan_id"] is None:
            message = "needs a subscription, or a rate plan whose subscriptions have it"
            problems.append(Problem("missing_owner", message, "subscription_external_id"))
    else:
        if row["account_id"] is None:
            problems.append(Problem("missing_owner", "is missing", "account_id"))
        if one is not None:
            message = f"does not belong to the scope {row['scope']}"
            problems.append(Problem("wrong_owner", message, "subscription_external_id"))
        if row["start_date"] is None:
            problems.append(Problem("missing", "is missing", "start_date"))
    return problems + _period_problems(row, "start_date", "end_date")


def find_entitlement_problems(row: Record) -> list[Problem]:
    """Contradictions among the fields of an entitlement."""
    owners = [
        field
        for field in ("rate_plan_id", "subscription_external_id", "account_id")
        if row[field] is not None
    ]
    problems: list[Problem] = []
    if len(owners) != 1:
        message = "name one of rate_plan, subscription and account: who has it"
        problems.append(Problem("missing_owner", message, owners[1] if owners else "rate_plan_id"))
    elif owners == ["account_id"]:
        if row["pooled_over"] not in ("account", "subtree"):
            message = "of an account's entitlement must be account or subtree"
            problems.append(Problem("wrong_pool", message, "pooled_over", ("account", "subtree")))
        if row["per_charge_id"] is not None:
            message = "belongs to the entitlement of a rate plan or subscription"
            problems.append(Problem("not_for_this_kind", message, "per_charge_id"))
    return problems + _period_problems(row, "valid_from", "valid_to")


def find_drawing_problems(row: Record) -> list[Problem]:
    """What draws on an entitlement is one product, rate plan or charge."""
    return find_target_problems({**row, "role": "target"})


def find_grant_problems(row: Record) -> list[Problem]:
    """Contradictions among the fields of a prepaid grant."""
    problems = _currency_problems(row)
    if row["amount"] is not None and row["amount"] <= 0:
        problems.append(Problem("too_small", "must be above 0", "amount"))
    return problems + _period_problems(row, "start_date", "expiry_date")


def find_spending_problems(row: Record) -> list[Problem]:
    """Contradictions among the fields of a threshold of spending."""
    problems = _currency_problems(row)
    if row["amount"] is not None and row["amount"] <= 0:
        problems.append(Problem("too_small", "must be above 0", "amount"))
    if row["alignment"] == "anniversary" and row["start_date"] is None:
        message = "is missing: the periods of an anniversary begin on it"
        problems.append(Problem("missing", message, "start_date"))
    return problems + _period_problems(row, "start_date", "end_date")


def find_tier_problems(tiers: Sequence[Record]) -> list[tuple[int, Problem]]:
    """What is wrong with the tiers of a volume discount, each with the position of its tier."""
    problems: list[tuple[int, Problem]] = []
    seen: set[Decimal] = set()
    for position, tier in enumerate(tiers):
        if tier["from_amount"] in seen:
            message = f"another tier begins at {tier['from_amount']} as well"
            problems.append((position, Problem("double_tier", message, "from_amount")))
        seen.add(tier["from_amount"])
    return problems


def find_target_problems(row: Record) -> list[Problem]:
    """A target or requirement names one product, rate plan or charge; a target may be one
    subscription."""
    one = "subscription_external_id"
    named = [name for name in ("product_id", "rate_plan_id", "charge_id", one) if row.get(name)]
    if len(named) != 1:
        message = "name one of product, rate_plan, charge and subscription"
        return [Problem("wrong_target", message, named[1] if named else "")]
    if named == [one] and row["role"] == "required":
        message = "is no requirement: name a product, rate plan or charge"
        return [Problem("not_for_this_kind", message, one)]
    asked = [name for name in ("minimum_quantity", "minimum_amount") if row.get(name) is not None]
    if asked and row["role"] == "target":
        return [Problem("not_for_this_kind", "belongs to a requirement", asked[0])]
    return []


def _currency_problems(row: Record) -> list[Problem]:
    if row["currency"] is None or row["currency"] in CURRENCIES:
        return []
    return [unknown_currency(row["currency"])]


def _period_problems(row: Record, first: str, last: str) -> list[Problem]:
    starts, ends = row[first], row[last]
    if starts is None or ends is None or ends > starts:
        return []
    return [Problem("ends_before_start", f"{ends} is not after {starts}", last)]
