"""``counterfoil subscriptions``: activate, change quantities, cancel, list, and amendments."""

from datetime import datetime
from typing import Annotated

import typer

from counterfoil.business.accounts.queries import find_account
from counterfoil.business.subscriptions.commands import (
    Activation,
    activate_subscriptions,
    cancel_subscriptions,
)
from counterfoil.business.subscriptions.commands import change_quantity as change
from counterfoil.business.subscriptions.queries import (
    find_subscriptions,
    list_subscriptions,
    read_quantities,
)
from counterfoil.interfaces.cli.amendments import add_to
from counterfoil.interfaces.cli.numbers import decimal_of, number_of, quantities_of
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_table
from counterfoil.platform.records.unit_of_work import UnitOfWork

app = typer.Typer(no_args_is_help=True, help="Activate, change, cancel and list subscriptions.")

DAY = ["%Y-%m-%d"]
ExternalId = Annotated[str, typer.Argument(help="External id of the subscription.")]
Account = Annotated[str, typer.Option(help="External id of the account.")]
InvoiceAccount = Annotated[
    str | None,
    typer.Option(help="Invoiced at this account: its own or one above that may be invoiced."),
]
PurchaseOrder = Annotated[str | None, typer.Option(help="The customer's number of the order.")]
End = Annotated[datetime | None, typer.Option(formats=DAY, help="First day no longer served.")]
TrialEnd = Annotated[datetime | None, typer.Option(formats=DAY, help="First day after the trial.")]
Anchor = Annotated[
    datetime | None, typer.Option(formats=DAY, help="First day of an anniversary cycle.")
]
Quantities = Annotated[
    list[str] | None, typer.Option(help="charge=quantity; may be given several times.")
]
Identifiers = Annotated[
    list[str] | None, typer.Option(help="Token in usage records; several times.")
]
TermEnd = Annotated[
    datetime | None, typer.Option(formats=DAY, help="First day after the agreed term.")
]
TermMonths = Annotated[int | None, typer.Option(help="Months of a term on renewal.")]
Renewal = Annotated[str, typer.Option(help="What happens at its end: evergreen, renew or end.")]
UpliftPercent = Annotated[
    str | None, typer.Option(help="By how much prices rise with every renewal.")
]
UpliftOf = Annotated[
    str, typer.Option(help="Of recurring charges, or all: those of usage as well.")
]

LISTED = ("external_id", "account", "rate_plan", "site", "start_date", "end_date")
QUANTITIES = ("charge", "quantity", "start_date", "end_date", "billed_through")


@app.command()
def activate(
    subscription: ExternalId,
    account: Account,
    rate_plan: Annotated[str, typer.Option(help="External id of the rate plan.")],
    start: Annotated[datetime, typer.Option(formats=DAY, help="First day of service.")],
    site: Annotated[str | None, typer.Option(help="External id of the site.")] = None,
    contact: Annotated[str | None, typer.Option(help="External id of a contact.")] = None,
    contract: Annotated[str | None, typer.Option(help="External id of the contract.")] = None,
    invoice_account: InvoiceAccount = None,
    purchase_order: PurchaseOrder = None,
    end: End = None,
    trial_end: TrialEnd = None,
    anchor: Anchor = None,
    quantity: Quantities = None,
    identifier: Identifiers = None,
    term_end: TermEnd = None,
    term_months: TermMonths = None,
    renewal: Renewal = "evergreen",
    uplift_percent: UpliftPercent = None,
    uplift_of: UpliftOf = "recurring",
    as_json: AsJson = False,
) -> None:
    """Begin a subscription of an account for a rate plan.

    Example: counterfoil subscriptions activate S1 --account ACME --rate-plan hd --start 2026-12-01
    """
    activation = Activation(
        external_id=subscription,
        account=account,
        rate_plan=rate_plan,
        start_date=start.date(),
        site=site,
        contact=contact,
        contract=contract,
        invoice_account=invoice_account,
        purchase_order=purchase_order,
        end_date=end.date() if end else None,
        trial_end=trial_end.date() if trial_end else None,
        anchor_date=anchor.date() if anchor else None,
        quantities=quantities_of(quantity, "--quantity"),
        identifiers=tuple(identifier or ()),
        term_end=term_end.date() if term_end else None,
        term_months=term_months,
        renewal=renewal,
        renewal_uplift_percent=decimal_of(uplift_percent, "--uplift-percent"),
        renewal_uplift_of=uplift_of,
    )
    with opened_records() as uow:
        (subscription_id,) = activate_subscriptions(uow, [activation])
        rows = _quantities(uow, subscription_id)
    print_table(f"Subscription {subscription}", QUANTITIES, rows, as_json=as_json)


@app.command()
def change_quantity(
    subscription: ExternalId,
    charge: Annotated[str, typer.Option(help="External id of a recurring charge.")],
    quantity: Annotated[str, typer.Option(help="The new quantity.")],
    from_date: Annotated[datetime, typer.Option("--from", formats=DAY, help="First day of it.")],
    as_json: AsJson = False,
) -> None:
    """Give a recurring charge another quantity from a day on."""
    with opened_records() as uow:
        (subscription_id,) = find_subscriptions(uow, [subscription])
        new = number_of(quantity, "--quantity")
        change(uow, subscription_id, charge, new, from_date.date())
        rows = _quantities(uow, subscription_id)
    print_table(f"Subscription {subscription}", QUANTITIES, rows, as_json=as_json)


@app.command()
def cancel(
    subscriptions: Annotated[list[str], typer.Argument(help="External ids.")],
    on: Annotated[datetime, typer.Option(formats=DAY, help="First day no longer served.")],
    as_json: AsJson = False,
) -> None:
    """End subscriptions on a day."""
    with opened_records() as uow:
        cancel_subscriptions(uow, find_subscriptions(uow, subscriptions), on.date())
        named = set(subscriptions)
        found = [row for row in list_subscriptions(uow) if row["external_id"] in named]
    rows = [[row[name] for name in LISTED] for row in found]
    print_table("Subscriptions", LISTED, rows, as_json=as_json)


@app.command("list")
def list_command(
    account: Annotated[str | None, typer.Option(help="External id of the account.")] = None,
    as_json: AsJson = False,
) -> None:
    """Subscriptions of all accounts, or of one."""
    with opened_records() as uow:
        holder = None if account is None else int(str(find_account(uow, account)["id"]))
        found = list_subscriptions(uow, account_id=holder)
    rows = [[row[name] for name in LISTED] for row in found]
    print_table("Subscriptions", LISTED, rows, as_json=as_json)


add_to(app)


def _quantities(uow: UnitOfWork, subscription_id: int) -> list[list[object]]:
    return [[row[name] for name in QUANTITIES] for row in read_quantities(uow, subscription_id)]
