"""``counterfoil quotes``: made, shown, approved, sent, accepted, converted to orders."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.commands import BillRunSummary
from counterfoil.business.sales.accepting import Acceptance, accept_by_hand
from counterfoil.business.sales.conversion import Ordered, convert_quotes
from counterfoil.business.sales.drafting import change_quote, make_quotes, revise_quote
from counterfoil.business.sales.first_invoices import bill_orders
from counterfoil.business.sales.queries import Quote, find_quotes, list_quotes, read_quotes
from counterfoil.business.sales.quote_files import FiledQuote, parse_quotes
from counterfoil.business.sales.sending import (
    ask_approval,
    decide_discount,
    decline_quote,
    read_document,
    send_quote,
)
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.files import read_text, write_file
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation
from counterfoil.interfaces.cli.output import print_json, print_table, trimmed
from counterfoil.interfaces.cli.records import demand_choice
from counterfoil.platform.records.unit_of_work import UnitOfWork

app = typer.Typer(
    no_args_is_help=True, help="Quotes: make, show, approve, send, accept, convert to orders."
)

File = Annotated[Path, typer.Argument(help="Quotes in YAML, see docs/sales.md.")]
Name = Annotated[
    str, typer.Argument(help="Number of the quote (its newest version), or NUMBER/VERSION.")
]
Comment = Annotated[str | None, typer.Option(help="For the record.")]
Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Last day on which the new version can be accepted."),
]

LISTED = (
    *("number", "version", "status", "party", "title", "currency", "contract_value"),
    *("discount_percent", "valid_until"),
)
LINES = (
    *("position", "site", "rate_plan", "charge", "cycle", "quantity", "unit", "amount"),
    "explanation",
)
CONVERTED = ("quote", "account", "order", "status", "lines", "subscriptions", "tasks", "fresh")


@app.command()
def make(file: File, as_json: AsJson = False) -> None:
    """Make the quotes of a file, all or none, priced as the bills will be."""
    filed = parse_quotes(read_text(file), str(file))
    with opened_organisation() as organisation, _work(organisation) as uow:
        ids = [_made(uow, organisation, one) for one in filed]
        quotes = read_quotes(uow, ids)
    rows = [[trimmed(value) for value in _summary(quote)] for quote in quotes]
    print_table("Quotes", LISTED, rows, as_json=as_json)


@app.command()
def change(name: Name, file: File) -> None:
    """Let a quote that was not sent offer what the one quote of a file says."""
    filed = parse_quotes(read_text(file), str(file))
    if len(filed) != 1:
        raise Refused(Problem("bad_choice", "has to hold one quote", "quotes", file=str(file)))
    with opened_organisation() as organisation, _work(organisation) as uow:
        (one,) = find_quotes(uow, [name])
        try:
            change_quote(uow, organisation.usage_store, one, filed[0].quote)
        except Refused as refused:
            raise _located(refused, filed[0]) from refused
        _tell(read_quotes(uow, [one])[0])


@app.command()
def revise(name: Name, valid_until: Day = None) -> None:
    """Draft the next version of a quote, priced anew."""
    until = None if valid_until is None else valid_until.date()
    with opened_organisation() as organisation, _work(organisation) as uow:
        (old,) = find_quotes(uow, [name])
        made = revise_quote(uow, organisation.usage_store, old, valid_until=until)
        _tell(read_quotes(uow, [made])[0])


@app.command("list")
def list_command(
    status: Annotated[str | None, typer.Option(help="Only quotes of this status.")] = None,
    as_json: AsJson = False,
) -> None:
    """All quotes, by number."""
    with opened_organisation() as organisation, _work(organisation) as uow:
        demand_choice(uow, "quote", "status", status)
        found = list_quotes(uow, status)
    rows = [[trimmed(row[name]) for name in LISTED] for row in found]
    print_table("Quotes", LISTED, rows, as_json=as_json)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """A quote charge by charge, each with its counterfoil."""
    with opened_organisation() as organisation, _work(organisation) as uow:
        (quote,) = read_quotes(uow, find_quotes(uow, [name]))
    rows = [
        [
            *(line["position"], line["site_name"], line["rate_plan"], charge["description"]),
            *(charge["cycle"], trimmed(charge["quantity"]), charge["unit"]),
            *(_money(quote, charge["amount"]), " ".join(charge["explanation"])),
        ]
        for line in quote.lines
        for charge in line["charges"]
    ]
    print_table(f"Quote {quote.name}, {quote.row['status']}", LINES, rows, as_json=as_json)
    if not as_json:
        _tell(quote)


@app.command("ask-approval")
def ask_command(name: Name) -> None:
    """Ask for the discount of a quote to be approved."""
    with opened_organisation() as organisation, _work(organisation) as uow:
        found = ask_approval(uow, find_quotes(uow, [name])[0])
    typer.echo(f"{name} is {found['status'].replace('_', ' ')}.")


@app.command()
def approve(name: Name, comment: Comment = None) -> None:
    """Approve the discount of a quote."""
    _decide(name, comment, approved=True)


@app.command()
def reject(name: Name, comment: Comment = None) -> None:
    """Reject the discount of a quote; it is a draft again."""
    _decide(name, comment, approved=False)


@app.command()
def send(
    name: Name,
    to: Annotated[
        Path | None, typer.Option("--pdf", help="Also write the PDF to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a quote: fix its document and make its link, which is shown this once."""
    with opened_organisation() as organisation, _work(organisation) as uow:
        (one,) = find_quotes(uow, [name])
        sent = send_quote(uow, organisation.files, one)
        if to is not None:
            write_file(to, read_document(uow, organisation.files, one)[1])
    path = f"/accept/{sent.token}"
    if as_json:
        print_json({"path": path, "expires_at": sent.expires_at, "hash": sent.document_hash})
        return
    typer.echo(f"{name} can be accepted until {sent.expires_at:%Y-%m-%d %H:%M} UTC at")
    typer.echo(f"  {path}")
    typer.echo("below the address of `counterfoil serve`. Who has the link can accept.")


@app.command()
def decline(name: Name, reason: Comment = None) -> None:
    """Note that a quote was declined."""
    with opened_organisation() as organisation, _work(organisation) as uow:
        decline_quote(uow, find_quotes(uow, [name])[0], reason)
    typer.echo(f"{name} is declined.")


@app.command()
def accept(
    name: Name, by: Annotated[str, typer.Option(help="Who has accepted it at the customer.")]
) -> None:
    """Note that a quote that was sent was accepted on paper."""
    with opened_organisation() as organisation, _work(organisation) as uow:
        quote = accept_by_hand(uow, find_quotes(uow, [name])[0], Acceptance(name=by))
    typer.echo(f"{quote.name} was accepted by {quote.row['accepted_by']}.")


@app.command("print")
def print_command(
    name: Name, to: Annotated[Path, typer.Option("--to", help="File to write the PDF to.")]
) -> None:
    """Write a quote as PDF: as it was sent, or as it is now."""
    with opened_organisation() as organisation, _work(organisation) as uow:
        _, content = read_document(uow, organisation.files, find_quotes(uow, [name])[0])
    write_file(to, content)
    typer.echo(str(to))


@app.command()
def convert(
    names: Annotated[list[str], typer.Argument(help="Numbers of accepted quotes.")],
    bill: Annotated[bool, typer.Option("--bill", help="Also make the first invoice.")] = False,
    on: Annotated[
        datetime | None,
        typer.Option("--on", formats=["%Y-%m-%d"], help="Billing date; default today."),
    ] = None,
    purchase_order: Annotated[str | None, typer.Option(help="The customer's number.")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn accepted quotes into orders, tasks and subscriptions, and bill what is due."""
    with opened_organisation() as organisation:
        with _work(organisation) as uow:
            made = convert_quotes(uow, find_quotes(uow, names), purchase_order=purchase_order)
        billed = _bill(organisation, made, on.date() if on else None) if bill else []
    rows = [[getattr(one, name) for name in CONVERTED] for one in made]
    if as_json:
        told = [dict(zip(CONVERTED, row, strict=True)) for row in rows]
        print_json({"converted": told, "bill_runs": billed})
        return
    print_table("Orders", CONVERTED, rows, as_json=False)
    for run in billed:
        totals = ", ".join(f"{total:,f} {currency}" for currency, total in run.totals.items())
        typer.echo(f"{run.invoices} invoices with {run.lines} lines: {totals or 'nothing due'}")
        for _, code, message in run.problems:
            typer.echo(f"problem: {code}: {message}", err=True)


def _bill(
    organisation: Organisation, made: Sequence[Ordered], on: date | None
) -> list[BillRunSummary]:
    return bill_orders(
        organisation.database,
        organisation.usage_store,
        made,
        now=organisation.clock(),
        on=on,
        runner=organisation.runner,
    )


def _made(uow: UnitOfWork, organisation: Organisation, filed: FiledQuote) -> int:
    try:
        return make_quotes(uow, organisation.usage_store, [filed.quote])[0]
    except Refused as refused:
        raise _located(refused, filed) from refused


def _located(refused: Refused, filed: FiledQuote) -> Refused:
    return Refused([filed.locate(one) for one in refused.problems], refused.status)


def _decide(name: str, comment: str | None, *, approved: bool) -> None:
    with opened_organisation() as organisation, _work(organisation) as uow:
        one = find_quotes(uow, [name])[0]
        found = decide_discount(uow, one, approved=approved, comment=comment)
    typer.echo(f"{name} is {found['status']}.")


def _work(organisation: Organisation) -> AbstractContextManager[UnitOfWork]:
    return organisation.database.transaction(now=organisation.clock())


def _summary(quote: Quote) -> list[object]:
    row = {**quote.row, "party": quote.account or quote.lead}
    return [row[name] for name in LISTED]


def _money(quote: Quote, amount: Decimal) -> Decimal:
    return round_half_up(amount, exponent(quote.row["currency"]))


def _tell(quote: Quote) -> None:
    row = quote.row
    typer.echo(
        f"{quote.name} for {quote.party}: {_money(quote, row['contract_value']):,f} "
        f"{row['currency']} over {row['term_months']} months, until {row['valid_until']}"
    )
