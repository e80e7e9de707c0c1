"""``counterfoil accounts``: list accounts, show a tree with its sites, create one."""

from typing import Annotated

import typer

from counterfoil.business.accounts.commands import create_account
from counterfoil.business.accounts.queries import (
    find_account,
    list_accounts,
    read_ancestors,
    read_sites,
    read_subtree,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_properties, print_table

app = typer.Typer(no_args_is_help=True, help="List, show and create accounts.")

ExternalId = Annotated[str, typer.Argument(help="External id of the account.")]

LISTED = ("external_id", "name", "parent", "status", "currency", "sites")
SHOWN = ("depth", "account", "name", "status", "site", "site_name", "city", "country", "p_code")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """All accounts, by external id."""
    with opened_records() as uow:
        accounts = list_accounts(uow)
    rows = [[account[name] for name in LISTED] for account in accounts]
    print_table("Accounts", LISTED, rows, as_json=as_json)


@app.command()
def show(account: ExternalId, as_json: AsJson = False) -> None:
    """An account with the accounts below it and all their sites, one row per site."""
    with opened_records() as uow:
        top = find_account(uow, account)
        above = read_ancestors(uow, int(str(top["id"])))
        below = read_subtree(uow, int(str(top["id"])))
        sites = read_sites(uow, [int(str(each["id"])) for each in below])
    rows: list[list[object]] = []
    for each in below:
        own = [site for site in sites if site["account_id"] == each["id"]]
        head = [each["depth"], each["external_id"], each["name"], each["status"]]
        for site in own or [{}]:
            place = [site.get(name) for name in ("external_id", "name", "city", "country")]
            rows.append([*head, *place, site.get("p_code")])
    path = " / ".join(str(each["name"]) for each in (*reversed(above), top))
    print_table(path, SHOWN, rows, as_json=as_json)


@app.command()
def create(
    account: ExternalId,
    name: Annotated[str, typer.Option(help="Name of the account.")],
    parent: Annotated[str | None, typer.Option(help="External id of the account above.")] = None,
    pricing_template: Annotated[str | None, typer.Option(help="External id.")] = None,
    currency: Annotated[
        str | None, typer.Option(help="ISO 4217 code; gives the account a billing profile.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="IANA name, with a currency; UTC by default.")
    ] = None,
    cycle_day: Annotated[
        int | None, typer.Option(help="Day cycles begin, with a currency; 1 by default.")
    ] = None,
    invoice: Annotated[
        str | None,
        typer.Option(
            help="Whether it is invoiced itself, with a currency: no, optional (only subscriptions "
            "that name it) or required, the default."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create an account; with a currency it is billed itself, else through its parent.

    Example: counterfoil accounts create ACME --name "Acme Conferencing" --currency EUR
    """
    profile = {
        "currency": currency,
        "time_zone": time_zone,
        "cycle_day": cycle_day,
        "invoice_at_this_level": invoice,
    }
    given = {field: value for field, value in profile.items() if value is not None}
    if given and currency is None:
        message = "is needed for a billing profile"
        raise Refused(Problem("missing_currency", message, "--currency"))
    with opened_records() as uow:
        created = create_account(
            uow,
            {"external_id": account, "name": name},
            parent=parent,
            pricing_template=pricing_template,
            billing_profile=given or None,
        )
    print_properties("Account", created, as_json=as_json)
