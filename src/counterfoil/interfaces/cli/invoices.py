"""``counterfoil invoices``: list, show and print invoices, or export them."""

from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress

from counterfoil.business.accounts.queries import find_account
from counterfoil.business.documents.commands import render_invoices
from counterfoil.business.documents.export import exact_text, invoice_csv, invoice_json
from counterfoil.business.documents.queries import (
    Document,
    document_name,
    find_invoices,
    list_invoices,
    read_document,
    read_documents,
)
from counterfoil.business.receivables.queries import read_settlements
from counterfoil.core.money.currencies import exponent
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.credit_notes import (
    credit_command,
    debit_command,
    one_off_command,
    reissue_command,
    void_command,
)
from counterfoil.interfaces.cli.drafts import (
    approve_command,
    merge_command,
    refuse_command,
    split_command,
    waiting_command,
)
from counterfoil.interfaces.cli.files import write_file, writing_to
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation, opened_records
from counterfoil.interfaces.cli.output import print_table
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

app = typer.Typer(no_args_is_help=True, help="List, show, print and export invoices.")

Numbers = Annotated[
    list[str] | None, typer.Argument(help="Invoice numbers; a draft is named by its id.")
]
OnDate = Annotated[
    datetime | None,
    typer.Option("--date", formats=["%Y-%m-%d"], help="All invoices of this invoice date."),
]
OutFile = Annotated[
    Path | None, typer.Option("--out", help="File to write; default is the standard output.")
]

State = Literal["draft", "final", "suppressed", "carried"]

MOST = 1_000_000
"""How many invoices one date is taken to have at most."""


@app.command("list")
def list_command(
    account: Annotated[str | None, typer.Option(help="External id of the account.")] = None,
    state: Annotated[State | None, typer.Option(help="Only invoices in this state.")] = None,
    on_date: OnDate = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="Show at most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Invoices in the order of their making."""
    day = on_date.date() if on_date else None
    with opened_records() as uow:
        if account is not None:
            find_account(uow, account)
        rows = list_invoices(uow, account=account, state=state, on_date=day, limit=limit)
    columns = (
        "number", "kind", "state", "account", "account_name", "invoice_date", "due_date",
        "currency", "total",
    )  # fmt: skip
    shown = [
        [document_name(row) if column == "number" else _shown(row, column) for column in columns]
        for row in rows
    ]
    print_table("Invoices", columns, shown, as_json=as_json)


@app.command("show")
def show_command(
    number: Annotated[str, typer.Argument(help="Invoice number; a draft is named by its id.")],
    as_json: AsJson = False,
) -> None:
    """One invoice and its lines."""
    with opened_records() as uow:
        invoice, lines = read_document(uow, number)
    if as_json:
        typer.echo(invoice_json(invoice, lines))
        return
    columns = (
        "position", "account_name", "site_name", "description", "service_start", "service_end",
        "quantity", "unit", "unit_amount", "amount",
    )  # fmt: skip
    rows = [
        [_shown({**line, "currency": invoice["currency"]}, column) for column in columns]
        for line in lines
    ]
    total = f"{invoice['currency']} {_shown(invoice, 'total')}"
    title = f"{document_name(invoice)} · {invoice['state']} · {total} due {invoice['due_date']}"
    print_table(title, columns, rows, as_json=False)


@app.command("pdf")
def pdf_command(
    numbers: Numbers = None,
    on_date: OnDate = None,
    out: Annotated[Path, typer.Option("--out", help="Folder to print into.")] = Path(),
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to print with.")] = 1,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Print what was paid by then, and the balance due."
        ),
    ] = None,
) -> None:
    """Print invoices to FOLDER as NUMBER.pdf."""
    with opened_organisation() as organisation, Progress(transient=True) as bar:
        now = organisation.clock()
        with organisation.database.transaction(now=now) as uow:
            ids = _chosen(uow, numbers, on_date)
        with writing_to(out):
            out.mkdir(parents=True, exist_ok=True)
        task = bar.add_task("Printing", total=len(ids))
        paths = render_invoices(
            organisation.database,
            ids,
            out,
            now=now,
            progress=lambda done, _: bar.update(task, completed=done),
            workers=workers,
            complete=partial(_with_settlements, as_of.date()) if as_of else None,
        )
    for path in paths:
        typer.echo(path)


@app.command("csv")
def csv_command(numbers: Numbers = None, on_date: OnDate = None, out: OutFile = None) -> None:
    """Export invoices as CSV, one row per line."""
    with opened_records() as uow:
        text = invoice_csv(read_documents(uow, _chosen(uow, numbers, on_date)))
    _put(text, out)


@app.command("json")
def json_command(numbers: Numbers = None, on_date: OnDate = None, out: OutFile = None) -> None:
    """Export invoices as a JSON array."""
    with opened_records() as uow:
        documents = read_documents(uow, _chosen(uow, numbers, on_date))
    items = ",\n".join(invoice_json(invoice, lines) for invoice, lines in documents)
    _put(f"[{items}]\n", out)


def _with_settlements(as_of: date, uow: UnitOfWork, documents: list[Document]) -> list[Document]:
    found = read_settlements(uow, [int(str(invoice["id"])) for invoice, _ in documents], as_of)
    return [
        ({**invoice, "settlement": found.get(int(str(invoice["id"])))}, lines)
        for invoice, lines in documents
    ]


def _chosen(uow: UnitOfWork, numbers: list[str] | None, on_date: datetime | None) -> list[int]:
    """The ids of the invoices named, or of one date; refuses neither and both."""
    if bool(numbers) == bool(on_date):
        message = "give invoice numbers, or --date for all invoices of a date"
        raise Refused(Problem("bad_choice", message, "NUMBERS"))
    if numbers:
        return find_invoices(uow, numbers)
    day = on_date.date() if on_date else None
    return [int(str(row["id"])) for row in list_invoices(uow, on_date=day, limit=MOST)]


def _shown(record: Record, column: str) -> object:
    """A value for a table: money with its currency's decimals, quantities without idle zeros."""
    value = record.get(column)
    if isinstance(value, Decimal):
        money = column in ("amount", "total")
        places = exponent(str(record["currency"])) if money else 0
        return Decimal(exact_text(value, places))
    return value


def _put(text: str, out: Path | None) -> None:
    """Write to a file, whole or not at all, or to the standard output as it is."""
    if out is None:
        typer.echo(text.encode(), nl=False)
        return
    write_file(out, text.encode())


app.command("credit")(credit_command)
app.command("void")(void_command)
app.command("debit")(debit_command)
app.command("reissue")(reissue_command)
app.command("one-off")(one_off_command)
app.command("waiting")(waiting_command)
app.command("approve")(approve_command)
app.command("refuse")(refuse_command)
app.command("merge")(merge_command)
app.command("split")(split_command)
