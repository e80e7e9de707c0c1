"""``counterfoil simulate``: what a draft of prices would have changed in past periods."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from counterfoil.business.billing.simulation import (
    OF_THESE,
    Amounts,
    LineSink,
    Row,
    Simulation,
    simulate,
)
from counterfoil.business.billing.window import window_between
from counterfoil.business.documents.charts import chart_format
from counterfoil.business.documents.simulation_chart import change_text, simulation_chart
from counterfoil.interfaces.cli.billed_accounts import accounts_bar, billed_ids
from counterfoil.interfaces.cli.files import write_file, writing_to
from counterfoil.interfaces.cli.organisation import opened_organisation
from counterfoil.interfaces.cli.output import print_json, print_table
from counterfoil.interfaces.cli.prices import read_book

ACCOUNTS_SHOWN = 20
BAR = 24
"""Letters of the longest bar."""

CSV_COLUMNS = (
    *("account", "account_name", "subscription", "product", "charge", "cycle_start", "cycle_end"),
    *("currency", "billed", "present", "draft", "change"),
    *OF_THESE,
)


def simulate_command(
    draft: Annotated[Path, typer.Argument(help="A price book, or the part of one that changes.")],
    first: Annotated[str, typer.Option("--from", help="First month (2026-01) or day.")],
    last: Annotated[str, typer.Option("--to", help="Last month (2026-06) or day, included.")],
    account: Annotated[
        list[str] | None, typer.Option(help="Only this account (external id); repeatable.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Only accounts that inherit this pricing template.")
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(help="Draw a chart into this file: .svg, .png, .html or .json.")
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", help="Write every subscription charge and cycle into this file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
) -> None:
    """Rate past cycles with the present prices and with a draft, and show the change.

    On its days, a price of the draft holds in place of the stored ones for the same charge, layer,
    owner and currency; all others stay. Usage and service are the real ones. Nothing is stored.

    Example: counterfoil simulate draft.yaml --from 2026-01 --to 2026-06 --chart change.svg
    """
    book, window = read_book(draft), window_between(first, last)
    draw = None if chart is None else chart_format(chart)
    with opened_organisation() as organisation, _line_file(csv_file) as lines:
        accounts = None if account is None else billed_ids(organisation, account)
        with accounts_bar(shown=not as_json) as bar:
            task = bar.add_task("accounts", total=None)
            report = simulate(
                organisation.database,
                organisation.usage_store,
                book,
                window,
                now=organisation.clock(),
                accounts=accounts,
                template=template,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                lines=lines,
            )
    if chart is not None and draw is not None:
        write_file(chart, draw(simulation_chart(report)))
    if as_json:
        print_json(report.document())
    else:
        print_report(report)


@contextmanager
def _line_file(path: Path | None) -> Iterator[LineSink | None]:
    """Writes lines into a CSV file, batch by batch."""
    if path is None:
        yield None
        return
    with writing_to(path):
        opened = path.open("w", encoding="utf-8", newline="")
    with opened as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)

        def write(lines: pa.Table) -> None:
            columns = [lines.column(name).to_pylist() for name in CSV_COLUMNS]
            writer.writerows(zip(*columns, strict=True))

        yield write


def print_report(report: Simulation) -> None:
    """A report as tables with bars, for people."""
    days = f"cycles that begin from {report.window.start} to before {report.window.end}"
    if not report.totals:
        typer.echo(f"No {days} were rated.")
    charges = [row for row in report.products if row.amounts.change]
    _print_rows("By product and charge", ("product", "charge"), charges)
    if len(charges) < len(report.products):
        typer.echo(f"Charges that do not change: {len(report.products) - len(charges)}.")
    changed = [row for row in report.accounts if row.amounts.change]
    _print_rows("By account", ("account", "name"), changed[:ACCOUNTS_SHOWN])
    if len(changed) > ACCOUNTS_SHOWN:
        typer.echo(
            f"{len(changed) - ACCOUNTS_SHOWN} more accounts change; --json and --csv list them."
        )
    if report.totals:
        _print_rows(f"In total, {days}", (), report.totals)
    for row in report.totals:
        amounts = row.amounts
        for line in _beside(amounts):
            typer.echo(f"{row.currency}: {line}")
        if amounts.billed != amounts.present:
            typer.echo(
                f"{row.currency}: these cycles were billed {amounts.billed:,f}, which is "
                f"{amounts.billed - amounts.present:+,f} beside the present prices: late usage, "
                "prices or service that changed since, or cycles not billed yet. "
                "`counterfoil bills rerate` shows where."
            )
    for problem in report.problems:
        typer.echo(
            f"not compared: {problem.account}: {problem.message} ({problem.side} prices)", err=True
        )


def _beside(amounts: Amounts) -> Iterator[str]:
    """What discounts, commitments and balances make of a total, where they make anything."""
    if amounts.present_discount or amounts.draft_discount:
        yield (
            f"discounts take off {amounts.present_discount:,f} at present and "
            f"{amounts.draft_discount:,f} with the draft; the amounts are net of them."
        )
    if amounts.present_commitment or amounts.draft_commitment:
        yield (
            f"commitments make {amounts.present_commitment:+,f} of the amounts at present and "
            f"{amounts.draft_commitment:+,f} with the draft."
        )
    if amounts.present_prepaid or amounts.draft_prepaid:
        yield (
            f"prepaid balances pay {amounts.present_prepaid:,f} at present and "
            f"{amounts.draft_prepaid:,f} with the draft; "
            f"{amounts.present - amounts.present_prepaid:,f} and "
            f"{amounts.draft - amounts.draft_prepaid:,f} are left to pay."
        )


def _print_rows(title: str, names: Sequence[str], rows: Sequence[Row]) -> None:
    if not rows:
        return
    most = {
        currency: max(abs(row.amounts.change) for row in rows if row.currency == currency)
        for currency in {row.currency for row in rows}
    }
    print_table(
        title,
        (*names, "currency", "present", "draft", "change", ""),
        [
            (
                *row.names,
                row.currency,
                row.amounts.present,
                row.amounts.draft,
                change_text(row),
                _bar(row.amounts.change, most[row.currency]),
            )
            for row in rows
        ],
        as_json=False,
    )


def _bar(change: Decimal, most: Decimal) -> str:
    """A bar as long as the change is great; one of less is hollow."""
    if not change:
        return ""
    length = max(1, int(abs(change) * BAR // most))
    return ("█" if change > 0 else "░") * length
