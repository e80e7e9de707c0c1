"""``counterfoil bills``: bill what is due, preview it, finalize drafts, explain a line."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, cast

import typer

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.commands import (
    BillRunSummary,
    discard_drafts,
    run_bills,
)
from counterfoil.business.billing.drafts import refresh_drafts
from counterfoil.business.billing.explanation import Explanation, explain_line
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.loading import billed_accounts
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.billing.spark_sql import export_rating
from counterfoil.business.receivables.commands import apply_credits, apply_to_bill_run
from counterfoil.business.usage.compaction import compact
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.billed_accounts import accounts_bar, billed_ids
from counterfoil.interfaces.cli.files import writing_to
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation
from counterfoil.interfaces.cli.output import print_json, print_table, trimmed
from counterfoil.interfaces.cli.rerate import rerate_command
from counterfoil.platform.metadata import Record

app = typer.Typer(no_args_is_help=True, help="Bill what is due, preview, finalize, explain.")

BillingDate = Annotated[
    datetime,
    typer.Argument(
        formats=["%Y-%m-%d"], help="Everything due by the beginning of this local day is billed."
    ),
]


@app.command("run")
def run_command(
    billing_date: BillingDate,
    account: Annotated[
        list[str] | None, typer.Option(help="Only this account (external id); repeatable.")
    ] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Leave the invoices as drafts.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Batches at the same time.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Bill every account; running it again for the same date adds nothing.

    Example: counterfoil bills run 2026-11-01
    """
    with opened_organisation() as organisation:
        _warn_without_seller(organisation)
        compact(organisation.database, organisation.usage_store, now=organisation.clock())
        accounts = None if account is None else billed_ids(organisation, account)
        with accounts_bar(shown=not as_json) as bar:
            task = bar.add_task("accounts", total=None)
            summary = run_bills(
                organisation.database,
                organisation.usage_store,
                billing_date.date(),
                now=organisation.clock(),
                finalize=not draft,
                accounts=accounts,
                workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                runner=organisation.runner,
            )
        with organisation.database.transaction(now=organisation.clock()) as uow:
            apply_to_bill_run(uow, summary.bill_run_id)
        _print_summary(organisation, summary, as_json=as_json)


@app.command("preview")
def preview_command(
    account: Annotated[str, typer.Argument(help="External id of the account.")],
    billing_date: BillingDate,
    as_json: AsJson = False,
) -> None:
    """Show the invoice that a bill run of that date would make for an account; store nothing."""
    with opened_organisation() as organisation:
        preview = preview_invoice(
            organisation.database,
            organisation.usage_store,
            account,
            billing_date.date(),
            now=organisation.clock(),
        )
    if as_json:
        print_json(asdict(preview))
        return
    for problem in preview.problems:
        typer.echo(f"problem: {problem.message}", err=True)
    if preview.invoice is None:
        typer.echo("Nothing is due.")
        return
    for one in (preview, *preview.others):
        invoice = cast("Record", one.invoice)
        print_table("Lines", LINE_COLUMNS, [_line_row(line) for line in one.lines], as_json=False)
        typer.echo(f"Total {invoice['total']:,f} {invoice['currency']}, due {invoice['due_date']}")


@app.command("finalize")
def finalize_command(as_json: AsJson = False) -> None:
    """Give all drafts their numbers and make them final; those that need approval stay drafts."""
    with opened_organisation() as organisation:
        done = finalize_invoices(organisation.database, now=organisation.clock())
        with organisation.database.transaction(now=organisation.clock()) as uow:
            apply_credits(uow)
    columns = ("invoices", "kept_back", "waiting_for_approval")
    print_table("Finalized", columns, [(done.final, done.held, done.waiting)], as_json=as_json)


@app.command("discard-drafts")
def discard_command(as_json: AsJson = False) -> None:
    """Delete all drafts; what they billed is due again."""
    with opened_organisation() as organisation:
        count = discard_drafts(organisation.database, now=organisation.clock())
    print_table("Discarded", ("invoices",), [(count,)], as_json=as_json)


@app.command("refresh-drafts")
def refresh_command(
    today: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Grace is over by this day; today by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute drafts anew, with usage that came late; finalize those whose grace is over."""
    with opened_organisation() as organisation:
        done = refresh_drafts(
            organisation.database,
            organisation.usage_store,
            now=organisation.clock(),
            today=today.date() if today else None,
            runner=organisation.runner,
        )
        with organisation.database.transaction(now=organisation.clock()) as uow:
            apply_credits(uow)
    columns = ("drafts", "finalized", "waiting_for_approval")
    rows = [(done.drafts, done.finalized, done.waiting)]
    print_table("Refreshed", columns, rows, as_json=as_json)


@app.command("spark-sql")
def spark_sql_command(
    billing_date: BillingDate,
    out: Annotated[Path, typer.Option(help="Folder for the files; it is made.")] = Path("spark"),
    as_json: AsJson = False,
) -> None:
    """Write what is due and the rating of it as Spark SQL, for usage in Spark tables.

    Example: counterfoil bills spark-sql 2026-11-01 --out spark/ && spark-sql -f spark/rating.sql
    """
    with (
        opened_organisation() as organisation,
        organisation.database.transaction(now=organisation.clock()) as uow,
    ):
        accounts = billed_accounts(uow)
        with writing_to(out):
            out.mkdir(parents=True, exist_ok=True)
        files = export_rating(
            uow, organisation.usage_store, out, accounts, billing_date.date(), usage_seen=0
        )
    rows = [(str(file), file.stat().st_size) for file in files]
    print_table("Written", ("file", "bytes"), rows, as_json=as_json)


@app.command("problems")
def problems_command(as_json: AsJson = False) -> None:
    """Accounts that the last bill run could not bill, and why."""
    with opened_organisation() as organisation:
        _print_problems(organisation, as_json=as_json)


@app.command("explain")
def explain_command(
    number: Annotated[str, typer.Argument(help="Invoice number.")],
    position: Annotated[int, typer.Argument(help="Position of the line.", min=1)],
    events: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="List so many usage events.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """The counterfoil of an invoice line: price layer, tiers, usage events, rounding.

    Example: counterfoil bills explain INV-000001 1
    """
    with (
        opened_organisation() as organisation,
        organisation.database.transaction(now=organisation.clock()) as uow,
    ):
        lines = uow.query(
            "SELECT l.id FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id "
            "WHERE i.number = :number AND l.position = :position",
            number=number,
            position=position,
        )
        if not lines:
            message = f"there is no line {position} on an invoice {number!r}"
            raise Refused(Problem("unknown_line", message), status=404)
        explanation = explain_line(uow, organisation.usage_store, lines[0]["id"], events=events)
    if as_json:
        print_json(asdict(explanation))
    else:
        print_explanation(explanation)


LINE_COLUMNS = (
    "account",
    "site",
    "description",
    "service_from",
    "service_to",
    "quantity",
    "unit",
    "amount",
)


def _line_row(line: Record) -> tuple[object, ...]:
    return (
        line["account_name"],
        line["site_name"],
        line["description"],
        line["service_start"],
        line["service_end"],
        trimmed(line["quantity"]),
        line["unit"],
        line["amount"],
    )


def print_explanation(explanation: Explanation) -> None:
    """The counterfoil as sentences and tables, for people."""
    line = explanation.line
    typer.echo(f"{line['description']}: {trimmed(line['quantity']):f} {line['unit']}s")
    for sentence in explanation.sentences:
        typer.echo(f"  {sentence}")
    print_table(
        "Prices that could apply, most specific first",
        ("price", "layer", "of", "model", "valid_from", "valid_to", "applies"),
        [
            (
                layer["price_id"],
                layer["layer"],
                layer["owner"],
                layer["model"],
                layer["valid_from"],
                layer["valid_to"],
                layer["wins"],
            )
            for layer in explanation.layers
        ],
        as_json=False,
    )
    if explanation.events:
        print_table(
            "Usage events",
            ("time", "event", "file", "record", "metered", "billed", "amount"),
            [
                (
                    event["time"],
                    event["event_id"],
                    event["file_name"],
                    event["line"],
                    trimmed(event["quantity"]),
                    trimmed(event["billed_quantity"]),
                    trimmed(event["exact_amount"]),
                )
                for event in explanation.events
            ],
            as_json=False,
        )


def _warn_without_seller(organisation: Organisation) -> None:
    with organisation.database.transaction(now=organisation.clock()) as uow:
        if uow.find("seller") is None:
            typer.echo(
                "warning: there is no seller, so invoices name no issuer; see "
                "`counterfoil records create seller --help` (and bill with --draft until then)",
                err=True,
            )


def _print_summary(organisation: Organisation, summary: BillRunSummary, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(summary))
        return
    rows: list[tuple[object, object]] = [
        ("billed accounts gone over", summary.accounts),
        ("documents made", summary.invoices),
        ("lines", summary.lines),
        ("accounts with a problem", len(summary.problems)),
    ]
    rows += [(f"total {currency}", t) for currency, t in sorted(summary.totals.items())]
    print_table(f"Bill run {summary.bill_run_id}", ("what", "how_much"), rows, as_json=False)
    if not summary.invoices:
        typer.echo("Nothing was due: nothing is billed twice.")
    with organisation.database.transaction(now=organisation.clock()) as uow:
        drafts = uow.query("SELECT count(*) AS n FROM invoice WHERE state = 'draft'")[0]["n"]
    if drafts:
        typer.echo(f"Drafts: {drafts}. `counterfoil bills finalize` gives them their numbers.")
    if summary.problems:
        _print_problems(organisation, as_json=False)


def _print_problems(organisation: Organisation, *, as_json: bool) -> None:
    with organisation.database.transaction(now=organisation.clock()) as uow:
        rows = uow.query(
            "SELECT a.external_id, a.name, p.code, p.message FROM billing_problem p "
            "JOIN account a ON a.id = p.account_id "
            "WHERE p.bill_run_id = (SELECT max(id) FROM bill_run) ORDER BY a.external_id"
        )
    print_table(
        "Not billed",
        ("account", "name", "code", "reason"),
        [tuple(row.values()) for row in rows],
        as_json=as_json,
    )


app.command("rerate")(rerate_command)
