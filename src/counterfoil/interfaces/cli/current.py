"""``counterfoil usage current``, ``included`` and ``spending``: what an account has come to, may
still use, and has spent."""

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated

import typer

from counterfoil.business.billing.current import CurrentCharge, CurrentCharges, current_charges
from counterfoil.business.billing.included import included_quantities
from counterfoil.business.billing.spending import spending
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation
from counterfoil.interfaces.cli.output import print_json, print_table, trimmed

_BAR = 10
CHARGE_COLUMNS = (
    *("account", "subscription", "charge", "state", "from", "to"),
    *("quantity", "unit", "included", "tier", "last_event", "amount"),
)
METER_COLUMNS = ("meter", "from", "to", "events", "quantity", "unit", "last_event")


INCLUDED_COLUMNS = (
    *("entitlement", "owner", "from", "to", "granted", "used", "left", "share", "may_go_on"),
)


def included_command(
    account: Annotated[str, typer.Argument(help="External id of the account.")],
    as_json: AsJson = False,
) -> None:
    """Show what the account may still use without charge in its running cycles.

    Example: counterfoil usage included ACME
    """
    with opened_organisation() as organisation:
        found = included_quantities(
            organisation.database, organisation.usage_store, account, now=organisation.clock()
        )
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (
            *(one.entitlement, one.owner, one.cycle_start, one.cycle_end),
            *(one.granted, one.used, one.left),
            *(_bar(one.used, one.granted), one.may_go_on),
        )
        for one in found
    ]
    print_table(f"Included for {account}", INCLUDED_COLUMNS, rows, as_json=False)


SPENDING_COLUMNS = (
    *("threshold", "account", "scope", "from", "to", "spent", "amount", "currency", "share"),
    *("reached", "complete"),
)


def spending_command(
    account: Annotated[str, typer.Argument(help="External id of the account.")],
    as_json: AsJson = False,
) -> None:
    """Show what counts for the account's thresholds of spending in their running periods.

    Example: counterfoil usage spending ACME
    """
    with opened_organisation() as organisation:
        found = spending(
            organisation.database, organisation.usage_store, account, now=organisation.clock()
        )
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (
            *(one.threshold, one.account, one.scope, one.period_start, one.period_end),
            *(one.spent, one.amount, one.currency, _bar(one.spent, one.amount)),
            *(one.reached, one.complete),
        )
        for one in found
    ]
    print_table(f"Spending of {account}", SPENDING_COLUMNS, rows, as_json=False)


def current_command(
    account: Annotated[str, typer.Argument(help="External id of the account.")],
    as_json: AsJson = False,
) -> None:
    """Show usage and charges up to now that are not billed yet; store nothing.

    Cycles that run are priced as if they ended now. Example: counterfoil usage current ACME
    """
    with opened_organisation() as organisation:
        found = current_charges(
            organisation.database, organisation.usage_store, account, now=organisation.clock()
        )
    if as_json:
        print_json(asdict(found))
        return
    for problem in found.problems:
        typer.echo(f"problem: {problem.message}", err=True)
    rows = [_row(charge) for charge in found.charges]
    print_table(f"Current charges of {account}", CHARGE_COLUMNS, rows, as_json=False)
    if found.meters:
        meters = [
            (
                *(one.meter, one.cycle_start, one.cycle_end, one.events),
                *(trimmed(one.quantity), one.unit, one.last_event_at),
            )
            for one in found.meters
        ]
        print_table("Usage", METER_COLUMNS, meters, as_json=False)
    typer.echo(_totals(found))


def _row(charge: CurrentCharge) -> tuple[object, ...]:
    return (
        charge.account or charge.account_name,
        charge.subscription,
        charge.charge_name,
        charge.state if charge.kind in ("usage", "recurring", "one_time") else charge.kind,
        charge.cycle_start,
        charge.cycle_end,
        trimmed(charge.quantity),
        charge.unit,
        _included(charge),
        _tier(charge),
        charge.last_event_at,
        charge.amount,
    )


def _included(charge: CurrentCharge) -> str:
    """A bar of how much of what is included was used."""
    if charge.kind != "usage" or not charge.included_limit:
        return ""
    used, limit = charge.included_quantity, charge.included_limit
    return f"{_bar(used, limit)} {trimmed(used)} of {trimmed(limit)}"


def _tier(charge: CurrentCharge) -> str:
    """The tier that was reached, with a bar of how far through it; after what is included."""
    if charge.kind != "usage" or charge.tier_from is None or charge.quantity is None:
        return ""
    if charge.tier_up_to is None:
        return f"above {trimmed(charge.tier_from)}" if charge.tier_from else ""
    counted = max(charge.quantity - charge.included_quantity - charge.tier_from, Decimal(0))
    bar = _bar(counted, charge.tier_up_to - charge.tier_from)
    return f"{bar} {trimmed(charge.tier_from)} to {trimmed(charge.tier_up_to)}"


def _bar(part: Decimal, whole: Decimal) -> str:
    filled = min(int(part * _BAR / whole), _BAR) if whole > 0 else _BAR
    return "█" * filled + "░" * (_BAR - filled)


def _totals(found: CurrentCharges) -> str:
    if found.due is None:
        return "No totals: the account cannot be billed before the problem is solved."
    return (
        f"Due {found.due:,f}, running {found.running:,f}, together {found.total:,f} "
        f"{found.currency} on {found.today}"
    )
