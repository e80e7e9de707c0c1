"""``counterfoil bills rerate``: billed cycles rated again, and the difference shown or adjusted."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.rerating import DifferenceSink, ReratingSummary, rerate_bills
from counterfoil.business.billing.window import window_between
from counterfoil.interfaces.cli.billed_accounts import accounts_bar, billed_ids
from counterfoil.interfaces.cli.files import writing_to
from counterfoil.interfaces.cli.organisation import opened_organisation
from counterfoil.interfaces.cli.output import print_json, print_table

SHOWN = 50

CSV_COLUMNS = (
    *("account", "account_name", "subscription", "product", "charge", "cycle_start", "cycle_end"),
    *("currency", "billed", "now", "difference", "discounts"),
)


def rerate_command(
    first: Annotated[str, typer.Option("--from", help="First month (2026-01) or day.")],
    last: Annotated[str, typer.Option("--to", help="Last month (2026-03) or day, included.")],
    account: Annotated[
        list[str] | None, typer.Option(help="Only this account (external id); repeatable.")
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Make the invoices and credit notes of the difference.")
    ] = False,
    draft: Annotated[bool, typer.Option("--draft", help="Leave them as drafts.")] = False,
    invoice_date: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="Their date; today where not given."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write every difference into this file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of a table.")
    ] = False,
) -> None:
    """Rate billed cycles again with today's prices and usage, and show where they differ.

    All cycles of which a day lies in the given time. Without --apply nothing is stored; with it
    every account gets an invoice or credit note of its difference. Doing it again adds nothing.

    Example: counterfoil bills rerate --from 2026-01 --to 2026-03 --apply
    """
    window = window_between(first, last)
    with opened_organisation() as organisation, _difference_file(csv_file) as differences:
        accounts = None if account is None else billed_ids(organisation, account)
        with accounts_bar(shown=not as_json) as bar:
            task = bar.add_task("accounts", total=None)
            summary = rerate_bills(
                organisation.database,
                organisation.usage_store,
                window,
                now=organisation.clock(),
                apply=apply,
                finalize=not draft,
                invoice_date=None if invoice_date is None else invoice_date.date(),
                accounts=accounts,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                differences=differences,
            )
        if as_json:
            print_json(asdict(summary))
        else:
            _print_summary(organisation, summary)


@contextmanager
def _difference_file(path: Path | None) -> Iterator[DifferenceSink | None]:
    """Writes differences into a CSV file, batch by batch."""
    if path is None:
        yield None
        return
    with writing_to(path):
        opened = path.open("w", encoding="utf-8", newline="")
    with opened as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)

        def write(differences: pa.Table) -> None:
            columns = [differences.column(name).to_pylist() for name in CSV_COLUMNS]
            writer.writerows(zip(*columns, strict=True))

        yield write


def _print_summary(organisation: Organisation, summary: ReratingSummary) -> None:
    greatest = sorted(summary.listed, key=lambda row: -abs(row["difference"]))[:SHOWN]
    if greatest:
        columns = (
            *("account", "subscription", "charge", "cycle_start", "cycle_end", "currency"),
            *("billed", "now", "difference", "discounts"),
        )
        print_table(
            "Differences, the greatest first",
            columns,
            [tuple(row[name] for name in columns) for row in greatest],
            as_json=False,
        )
        print_table(
            "In total",
            ("currency", "billed", "now", "difference", "discounts"),
            [
                (currency, sums.billed, sums.now, sums.difference, sums.discounts)
                for currency, sums in sorted(summary.totals.items())
            ],
            as_json=False,
        )
    else:
        typer.echo("Nothing differs from what was billed.")
    if summary.differences > len(greatest):
        typer.echo(
            f"{summary.differences - len(greatest)} more differences; --csv writes all of them."
        )
    if summary.bill_run_id is not None:
        typer.echo(f"Invoices and credit notes made: {summary.invoices}.")
    elif summary.differences:
        typer.echo("Nothing was stored; --apply makes invoices and credit notes of this.")
    with organisation.database.transaction(now=organisation.clock()) as uow:
        names = {
            row["id"]: row["external_id"]
            for row in uow.query(
                "SELECT id, external_id FROM account WHERE id = ANY(:ids)",
                ids=sorted({account for account, _, _ in summary.problems}),
            )
        }
    for account, _, message in summary.problems:
        typer.echo(f"not rated again: {names.get(account, account)}: {message}", err=True)
