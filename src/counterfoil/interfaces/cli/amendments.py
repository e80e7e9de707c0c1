"""``counterfoil subscriptions amend|suspend|resume|transfer|renew|terminate|history``."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

import typer

from counterfoil.business.billing.changing import change_subscriptions, renew_subscriptions
from counterfoil.business.products.price_terms import parse_price
from counterfoil.business.subscriptions.changes import Change
from counterfoil.business.subscriptions.queries import (
    Selection,
    find_subscriptions,
    read_amendments,
    read_in_force,
    select_running,
    subscription_id_of,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.numbers import decimal_of, quantities_of
from counterfoil.interfaces.cli.organisation import AsJson, day_of, opened_records
from counterfoil.interfaces.cli.output import print_table
from counterfoil.platform.records.unit_of_work import UnitOfWork

DAY = ["%Y-%m-%d"]
Subscriptions = Annotated[list[str] | None, typer.Argument(help="External ids.")]
From = Annotated[
    datetime | None, typer.Option("--from", formats=DAY, help="First day of the new state.")
]
NextPeriod = Annotated[bool, typer.Option("--next-period", help="From the next cycle on.")]
Proration = Annotated[
    str,
    typer.Option(
        help="How a change within a cycle is billed: by_day, by_second (from now on, or --at), "
        "none (from the next cycle on), full (the whole cycle by the new state)."
    ),
]
At = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%dT%H:%M:%S%z"],
        help="By the second: when, such as 2026-12-01T09:30:00+01:00.",
    ),
]
Reason = Annotated[str | None, typer.Option(help="Why; kept with the amendment.")]
OfAccount = Annotated[str | None, typer.Option(help="All running ones of this account.")]
OfSite = Annotated[str | None, typer.Option(help="All running ones of this site.")]
OfPlan = Annotated[str | None, typer.Option(help="All running ones that have this plan.")]
Quantities = Annotated[
    list[str] | None, typer.Option(help="charge=quantity; may be given several times.")
]
Until = Annotated[datetime | None, typer.Option(formats=DAY, help="The new end.")]

TOLD = ("subscription", "kind", "effective_date", "billed_from", "proration", "rate_plan", "charge")
TOLD_TOO = (
    *("quantity", "amount", "uplift_percent", "fee_percent", "until", "successor"),
    *("made_by", "made_at", "reason"),
)
IN_FORCE = ("charge", "rate_plan", "quantity", "start_date", "end_date", "billed_through")


def amend(
    kind: Annotated[
        str,
        typer.Argument(
            help="change_plan (--rate-plan), change_quantity (--charge, --quantity), change_price "
            "(--charge with --amount or --price), add_on and remove_add_on (--rate-plan), "
            "change_end (--until)."
        ),
    ],
    subscriptions: Subscriptions = None,
    from_date: From = None,
    next_period: NextPeriod = False,
    proration: Proration = "by_day",
    at: At = None,
    rate_plan: Annotated[str | None, typer.Option(help="External id of a rate plan.")] = None,
    quantities: Quantities = None,
    charge: Annotated[str | None, typer.Option(help="External id of a charge.")] = None,
    quantity: Annotated[str | None, typer.Option(help="Its new quantity.")] = None,
    amount: Annotated[str | None, typer.Option(help="Its new price for a unit.")] = None,
    price: Annotated[
        str | None,
        typer.Option(
            help="Its new price as price books write it: '{model: volume, tiers: [{amount: 5}]}'."
        ),
    ] = None,
    until: Until = None,
    reason: Reason = None,
    of_account: OfAccount = None,
    of_site: OfSite = None,
    of_rate_plan: OfPlan = None,
    as_json: AsJson = False,
) -> None:
    """Change subscriptions from a day on, all or none.

    Example: counterfoil subscriptions amend change_plan S-1 --rate-plan gold --from 2026-12-01
    """
    with opened_records() as uow:
        _amend(
            uow,
            _chosen(uow, subscriptions, from_date, (of_account, of_site, of_rate_plan)),
            Change(
                subscription=0,
                kind=kind,
                day=day_of(from_date),
                next_period=next_period,
                proration=proration,
                at=at,
                rate_plan=rate_plan,
                quantities=quantities_of(quantities, "--quantities"),
                charge=charge,
                quantity=decimal_of(quantity, "--quantity"),
                amount=decimal_of(amount, "--amount"),
                price=None if price is None else parse_price(price),
                until=day_of(until),
                reason=reason,
            ),
            as_json=as_json,
        )


def suspend(
    subscriptions: Subscriptions = None,
    from_date: From = None,
    charged: Annotated[bool, typer.Option("--charged", help="The charges go on.")] = False,
    proration: Proration = "by_day",
    at: At = None,
    reason: Reason = None,
    of_account: OfAccount = None,
    of_site: OfSite = None,
    as_json: AsJson = False,
) -> None:
    """Suspend subscriptions, with or without charge."""
    with opened_records() as uow:
        change = Change(
            subscription=0,
            kind="suspend",
            day=day_of(from_date),
            charged=charged,
            proration=proration,
            at=at,
            reason=reason,
        )
        chosen = _chosen(uow, subscriptions, from_date, (of_account, of_site, None))
        _amend(uow, chosen, change, as_json=as_json)


def resume(
    subscriptions: Subscriptions = None,
    from_date: From = None,
    proration: Proration = "by_day",
    at: At = None,
    reason: Reason = None,
    of_account: OfAccount = None,
    of_site: OfSite = None,
    as_json: AsJson = False,
) -> None:
    """Resume suspended subscriptions."""
    with opened_records() as uow:
        change = Change(
            subscription=0,
            kind="resume",
            day=day_of(from_date),
            proration=proration,
            at=at,
            reason=reason,
        )
        chosen = _chosen(uow, subscriptions, from_date, (of_account, of_site, None))
        _amend(uow, chosen, change, as_json=as_json)


def transfer(
    subscription: Annotated[str, typer.Argument(help="External id.")],
    account: Annotated[str | None, typer.Option(help="To this account.")] = None,
    site: Annotated[str | None, typer.Option(help="To this site.")] = None,
    successor: Annotated[
        str | None, typer.Option(help="External id of the one that goes on.")
    ] = None,
    from_date: From = None,
    proration: Proration = "by_day",
    at: At = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Transfer a subscription to another account or site: a successor goes on."""
    with opened_records() as uow:
        change = Change(
            subscription=0,
            kind="transfer",
            day=day_of(from_date),
            account=account,
            site=site,
            successor=successor,
            proration=proration,
            at=at,
            reason=reason,
        )
        _amend(uow, find_subscriptions(uow, [subscription]), change, as_json=as_json)


def renew(
    subscriptions: Subscriptions = None,
    from_date: From = None,
    until: Until = None,
    due: Annotated[
        datetime | None,
        typer.Option(formats=DAY, help="All terms that end by this day, as each says."),
    ] = None,
    uplift_percent: Annotated[
        str | None, typer.Option(help="By how much prices rise; by default as each says.")
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Renew subscriptions for another term, or evergreen; or all whose term has ended."""
    with opened_records() as uow:
        others = (subscriptions, from_date, until, uplift_percent, reason)
        if any(others) if due is not None else not subscriptions:
            message = "name subscriptions, or give --due alone for all whose term has ended by then"
            raise Refused(Problem("bad_choice", message, "--due"))
        if due is not None:
            done = renew_subscriptions(uow, due.date())
            told = "; ".join(f"{name}: {why}" for name, why in done.problems.items())
            print_table("Renewals", ("terms", "problems"), [[done.terms, told]], as_json=as_json)
            return
        chosen = find_subscriptions(uow, subscriptions or [])
        change = Change(
            subscription=0,
            kind="renew",
            day=day_of(from_date),
            until=day_of(until),
            uplift_percent=decimal_of(uplift_percent, "--uplift-percent"),
            reason=reason,
        )
        _amend(uow, chosen, change, as_json=as_json)


def terminate(
    subscriptions: Subscriptions = None,
    on: Annotated[
        datetime | None, typer.Option(formats=DAY, help="First day no longer served.")
    ] = None,
    at_period_end: Annotated[
        bool, typer.Option("--at-period-end", help="When the running cycle has ended.")
    ] = False,
    proration: Proration = "by_day",
    at: At = None,
    fee: Annotated[
        str | None, typer.Option(help="Rate plan of the one-time charge that this costs.")
    ] = None,
    fee_amount: Annotated[str | None, typer.Option(help="In place of its price.")] = None,
    fee_percent: Annotated[
        str | None, typer.Option(help="Or so much of what the remaining term would cost.")
    ] = None,
    reason: Reason = None,
    of_account: OfAccount = None,
    of_site: OfSite = None,
    of_rate_plan: OfPlan = None,
    as_json: AsJson = False,
) -> None:
    """End subscriptions now, at the end of the cycle or on a day, with a fee or without."""
    with opened_records() as uow:
        change = Change(
            subscription=0,
            kind="cancel",
            day=day_of(on),
            next_period=at_period_end,
            proration=proration,
            at=at,
            rate_plan=fee,
            amount=decimal_of(fee_amount, "--fee-amount"),
            fee_percent=decimal_of(fee_percent, "--fee-percent"),
            reason=reason,
        )
        chosen = _chosen(uow, subscriptions, on, (of_account, of_site, of_rate_plan))
        _amend(uow, chosen, change, as_json=as_json)


def history(
    subscription: Annotated[str, typer.Argument(help="External id.")],
    on: Annotated[
        datetime | None, typer.Option(formats=DAY, help="What was in force on this day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The amendments of a subscription, or what was in force on a day."""
    with opened_records() as uow:
        subscription_id = subscription_id_of(uow, subscription)
        if on is None:
            _print_amendments(uow, [subscription_id], as_json=as_json)
            return
        found = read_in_force(uow, subscription_id, on.date())
    rows = [[row[name] for name in IN_FORCE] for row in found["charges"]]
    title = f"{subscription} on {on.date()}: {found['state']}, {found['rate_plan']}"
    print_table(title, IN_FORCE, rows, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    """Make these commands of ``counterfoil subscriptions``."""
    for command in (amend, suspend, resume, transfer, renew, terminate, history):
        app.command()(command)


def _amend(uow: UnitOfWork, chosen: list[int], change: Change, *, as_json: bool) -> None:
    change_subscriptions(uow, changes_of(chosen, change))
    _print_amendments(uow, chosen, as_json=as_json)


def changes_of(chosen: list[int], change: Change) -> list[Change]:
    """The same change of each of these subscriptions."""
    return [replace(change, subscription=each) for each in chosen]


def _print_amendments(uow: UnitOfWork, chosen: list[int], *, as_json: bool) -> None:
    names = (*TOLD, *TOLD_TOO) if as_json else (*TOLD, "quantity", "amount", "until", "successor")
    rows = [[row[name] for name in names] for row in read_amendments(uow, chosen)]
    print_table("Amendments", names, rows, as_json=as_json)


def _chosen(
    uow: UnitOfWork,
    names: list[str] | None,
    from_date: datetime | None,
    common: tuple[str | None, str | None, str | None],
) -> list[int]:
    account, site, rate_plan = common
    if names:
        if any(common):
            message = "name subscriptions, or those of an account, site or rate plan, not both"
            raise Refused(Problem("bad_choice", message, "subscriptions"))
        return find_subscriptions(uow, names)
    day = day_of(from_date) or uow.now.date()
    selection = Selection(day=day, account=account, site=site, rate_plan=rate_plan)
    return select_running(uow, [selection])[0]
