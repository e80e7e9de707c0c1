"""``counterfoil leads``: companies that may become customers, and how they do."""

from dataclasses import astuple
from datetime import datetime
from typing import Annotated

import typer

from counterfoil.business.sales.leads import Conversion, convert_leads
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.numbers import decimal_of
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_properties, print_table
from counterfoil.interfaces.cli.records import demand_choice

app = typer.Typer(no_args_is_help=True, help="Leads: add, list, convert to accounts.")


LISTED = ("external_id", "company", "status", "source", "owner", "person", "email", "country")
_LIST = """
SELECT external_id, company, status, source, owner, person, email, country FROM lead
WHERE (CAST(:status AS text) IS NULL OR status = :status) ORDER BY external_id
"""


@app.command("add")
def add_command(
    lead: Annotated[str, typer.Argument(help="External id of the lead.")],
    company: Annotated[str, typer.Option(help="Name of the company.")],
    currency: Annotated[str, typer.Option(help="In which it would be billed.")],
    person: Annotated[str | None, typer.Option(help="Whom to talk to.")] = None,
    email: Annotated[str | None, typer.Option(help="That person's mail address.")] = None,
    phone: Annotated[str | None, typer.Option(help="That person's telephone.")] = None,
    country: Annotated[str | None, typer.Option(help="Two letters.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA name; default UTC.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it comes from.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who looks after it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a lead; its sites and further persons are records: import or post them."""
    values = {
        "external_id": lead,
        "company": company,
        "currency": currency,
        "person": person,
        "email": email,
        "phone": phone,
        "country": country,
        "time_zone": time_zone,
        "source": source,
        "owner": owner,
    }
    given = {name: value for name, value in values.items() if value is not None}
    with opened_records() as uow:
        print_properties("Lead", uow.create("lead", given), as_json=as_json)


@app.command("list")
def list_command(
    status: Annotated[str | None, typer.Option(help="Only those of this status.")] = None,
    as_json: AsJson = False,
) -> None:
    """All leads, by external id."""
    with opened_records() as uow:
        demand_choice(uow, "lead", "status", status)
        rows = [list(row.values()) for row in uow.query(_LIST, status=status)]
    print_table("Leads", LISTED, rows, as_json=as_json)


@app.command("convert")
def convert_command(
    leads: Annotated[list[str], typer.Argument(help="External ids of the leads.")],
    account: Annotated[
        str | None, typer.Option(help="External id of the account, of a single lead.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the opportunity, of a single lead.")] = None,
    amount: Annotated[str | None, typer.Option(help="Of the opportunity.")] = None,
    close: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="When it may be decided.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make accounts with contacts, sites and an opportunity; again adds nothing."""
    if account is not None and len(leads) > 1:
        raise Refused(Problem("bad_choice", "goes with a single lead", "--account"))
    conversions = [
        Conversion(
            lead=lead,
            account=account,
            name=name,
            amount=decimal_of(amount),
            close_date=None if close is None else close.date(),
        )
        for lead in leads
    ]
    with opened_records() as uow:
        made = convert_leads(uow, conversions)
    columns = ("lead", "account", "opportunity", "contacts", "sites", "fresh")
    print_table("Converted", columns, [astuple(one) for one in made], as_json=as_json)
