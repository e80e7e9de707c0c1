"""What minimums, maximums, discounts, commitments and prepaid balances say of themselves."""

from decimal import Decimal

from counterfoil.business.billing.formula_sentences import formula_sentences
from counterfoil.business.billing.number_words import money, plain
from counterfoil.platform.metadata import Record


def applied_sentences(rated: Record) -> tuple[str, ...]:
    """How a rated charge of one of ``entities.APPLIED_KINDS`` came about, from what was stored
    beside it."""
    facts = rated["steps"][0]
    if rated["kind"] == "prepaid":
        return _prepaid(rated, facts)
    if rated["commitment_id"] is not None:
        return _commitment(rated, facts)
    if rated["kind"] == "discount" and facts["kind"] == "adjusted":
        return _adjusted_discount(rated, facts)
    if rated["kind"] == "discount":
        return _discount(rated, facts)
    return _bound(rated, facts)


def _bound(rated: Record, facts: Record) -> tuple[str, ...]:
    kind = rated["kind"]
    said = [
        (
            f"The price has a {kind} per cycle; for the {rated['days']} of {rated['cycle_days']} "
            f"days served it is {_money(rated, facts['bound'])}."
        )
    ]
    said.append(f"Without it the cycle costs {_money(rated, facts['cost'])}.")
    return (*said, f"So this line is {_money(rated, rated['amount'])}{_before(rated, facts)}.")


def _before(rated: Record, facts: Record) -> str:
    """What a line adds to when it is not all there is."""
    gap = Decimal(str(facts["bound"])) - Decimal(str(facts["cost"]))
    return "" if gap == Decimal(str(rated["amount"])) else ", the difference to what was billed"


def _discount(rated: Record, facts: Record) -> tuple[str, ...]:
    kind, name = facts["kind"], facts["discount"]
    what = {
        "fixed": f"takes {plain(facts['amount'] or 0)} off an invoice",
        "per_unit": f"takes {plain(facts['amount'] or 0)} off each unit",
        "percentage": f"takes {plain(facts['percent'] or 0)} percent off",
        "volume": f"takes {plain(facts['percent'] or 0)} percent off at a volume of "
        f"{plain(facts['volume'] or 0)}",
    }[kind]
    return (
        f"Discount {name} {what}.",
        *formula_sentences(rated, ""),
        f"Off this invoice it takes {_money(rated, facts['whole'])}, spread over its lines.",
        (
            f"The line it applies to, rated charge {rated['applies_to_id']}, came to "
            f"{_money(rated, facts['line'])} before; its share is {_money(rated, facts['taken'])}."
        ),
    )


def _adjusted_discount(rated: Record, facts: Record) -> tuple[str, ...]:
    return (
        (
            f"The cycle was rated again: {_money(rated, facts['rated'])} in place of "
            f"{_money(rated, facts['billed'])}."
        ),
        (
            f"So its share of the discount is {_money(rated, facts['now'])} in place of "
            f"{_money(rated, facts['before'])}."
        ),
    )


def _commitment(rated: Record, facts: Record) -> tuple[str, ...]:
    days = ""
    if rated["days"] != rated["cycle_days"]:
        days = (
            f", for {rated['days']} of {rated['cycle_days']} days {_money(rated, facts['target'])}"
        )
    said = [
        (
            f"Commitment {facts['commitment']} is a {facts['kind']} of "
            f"{_money(rated, facts['full_amount'])} from {rated['cycle_start']} to "
            f"{rated['cycle_end']}{days}."
        ),
        f"Billed for that period, net of discounts: {_money(rated, facts['counted'])}.",
    ]
    if Decimal(str(facts["before"])) != 0:
        said.append(f"Billed before for this commitment: {_money(rated, facts['before'])}.")
    return (*said, f"What remains is this line: {_money(rated, rated['amount'])}.")


def _prepaid(rated: Record, facts: Record) -> tuple[str, ...]:
    return (
        (
            f"Prepaid grant {facts['grant']} ({facts['kind']}) had "
            f"{_money(rated, facts['available'])} left."
        ),
        (
            f"This invoice draws {_money(rated, -Decimal(str(rated['amount'])))}; "
            f"{_money(rated, facts['remaining'])} remain."
        ),
    )


def _money(rated: Record, amount: object) -> str:
    return money(amount, rated["currency"])
