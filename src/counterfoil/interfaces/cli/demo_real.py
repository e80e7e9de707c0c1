"""``counterfoil demo-real``: real cloud usage, rated to what was really billed."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from counterfoil.bootstrap import (
    Organisation,
    Settings,
    open_organisation,
    scratch_organisation,
)
from counterfoil.business.accounts.commands import create_account
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.itemising import itemise_usage
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.commands import Activation, activate_subscriptions
from counterfoil.business.usage.commands import import_file
from counterfoil.business.usage.focus import PLAN, FocusFile, read_focus
from counterfoil.business.usage.intake import BatchSummary
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.organisation import AsJson
from counterfoil.interfaces.cli.output import print_json, print_table
from counterfoil.interfaces.cli.usage import reading_bar
from counterfoil.platform.records.unit_of_work import UnitOfWork

TOLERANCE = Decimal("0.000000001")
"""How far a rated amount may be from the billed cost, in the currency's unit."""

ATTRIBUTION = (
    "The data that come with Counterfoil are an excerpt of FOCUS Sample Data by the FinOps "
    "Foundation, CC BY 4.0."
)
_EXCERPT = Path(__file__).parents[4] / "tests" / "data" / "focus_excerpt.csv"
_MONTHS = 12


@dataclass(slots=True)
class Comparison:
    """Rated usage rows against the costs in the file, by provider and pricing category."""

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    equal_to_billed: Counter[tuple[str, str]] = field(default_factory=Counter)
    equal_to_list: Counter[tuple[str, str]] = field(default_factory=Counter)
    billed_nothing: Counter[tuple[str, str]] = field(default_factory=Counter)


def demo_real(
    file: Annotated[
        Path | None, typer.Argument(help="A FOCUS 1.0 file in CSV; the excerpt by default.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep it in the organisation of COUNTERFOIL_HOME.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bill a file of real cloud usage by its own unit prices, and compare with its billed cost.

    The way is the ordinary one: collector, usage store, rating, invoice.
    """
    path = file or _EXCERPT
    if not path.is_file():
        raise Refused(Problem("unreadable_file", "there is no such file", "file", file=str(path)))
    focus = read_focus(path)
    with _organisation(keep) as organisation:
        now = datetime.combine(_month_after(focus.last_day), datetime.min.time(), UTC)
        _load(organisation, focus, now)
        with reading_bar(path, as_json=as_json) as progress:
            imported = import_file(
                organisation.database,
                organisation.usage_store,
                "focus",
                path,
                now=now,
                progress=progress,
            )
        billed = run_bills(organisation.database, organisation.usage_store, now.date(), now=now)
        comparison = compare(organisation, path, imported.batch_id, now)
        with organisation.database.transaction(now=now) as uow:
            totals = uow.query(
                "SELECT currency, count(*) AS invoices, sum(total) AS total FROM invoice "
                "GROUP BY currency ORDER BY currency"
            )
    rows: list[list[object]] = [
        [row["currency"], row["invoices"], round_half_up(row["total"], exponent(row["currency"]))]
        for row in totals
    ]
    added = billed.invoices
    _print(imported, rows, comparison, added=added, excerpt=file is None, as_json=as_json)


@contextmanager
def _organisation(keep: bool) -> Iterator[Organisation]:
    settings = Settings.from_environment(os.environ)
    opened = open_organisation(settings) if keep else scratch_organisation(settings)
    with opened as organisation:
        yield organisation


def _load(organisation: Organisation, focus: FocusFile, now: datetime) -> None:
    """Save the price book, and an account with a subscription per customer that is new."""
    book, problems = parse_price_book(focus.price_book, "price book of the file")
    if problems:
        raise Refused(problems)
    with organisation.database.transaction(now=now) as uow:
        save_price_book(uow, book)
        known = uow.ids_by("account", "external_id", focus.customers)
        new = [name for name in focus.customers if name not in known]
        for name in new:
            profile = {"currency": focus.customers[name], "time_zone": "UTC"}
            create_account(uow, {"external_id": name, "name": name}, billing_profile=profile)
        activate_subscriptions(
            uow,
            [
                Activation(
                    external_id=name,
                    account=name,
                    rate_plan=PLAN,
                    start_date=focus.first_day.replace(day=1),
                    identifiers=(name,),
                )
                for name in new
            ],
        )


def compare(organisation: Organisation, path: Path, batch_id: int, now: datetime) -> Comparison:
    """Each rated usage row of the batch against BilledCost and ListCost of its row in the file."""
    with organisation.database.transaction(now=now) as uow:
        amounts = dict(_amounts(uow, organisation, batch_id))
    comparison = Comparison()
    with path.open(encoding="utf-8-sig", newline="") as text:
        for line, row in enumerate(csv.DictReader(text), start=2):
            if line not in amounts:
                continue
            exact, listed = amounts[line]
            kind = (row.get("ProviderName", ""), row["PricingCategory"])
            comparison.rows[kind] += 1
            comparison.equal_to_billed[kind] += _near(exact, row["BilledCost"])
            comparison.equal_to_list[kind] += _near(listed, row["ListCost"])
            comparison.billed_nothing[kind] += not exact
    return comparison


def _amounts(
    uow: UnitOfWork, organisation: Organisation, batch_id: int
) -> Iterator[tuple[int, tuple[Decimal, Decimal]]]:
    """Line in the file to what its event costs, and would cost without its entitlement."""
    rated = uow.query("SELECT id FROM rated_charge WHERE kind = 'usage' AND part = 0 ORDER BY id")
    events = itemise_usage(uow, organisation.usage_store, [row["id"] for row in rated])
    for event in events.to_pylist():
        if event["batch_id"] == batch_id:
            yield event["line"], (event["exact_amount"], event["list_amount"])


def _near(amount: Decimal, text: str) -> bool:
    return abs(amount - Decimal(text)) <= TOLERANCE


def _month_after(day: date) -> date:
    return date(day.year + day.month // _MONTHS, day.month % _MONTHS + 1, 1)


def _print(
    imported: BatchSummary,
    totals: list[list[object]],
    comparison: Comparison,
    *,
    added: int,
    excerpt: bool,
    as_json: bool,
) -> None:
    kinds = sorted(comparison.rows)
    columns = (
        "provider",
        "pricing_category",
        "rated_rows",
        "equal_to_billed_cost",
        "equal_to_list_cost",
        "billed_nothing",
    )
    compared = [
        [
            provider,
            category,
            comparison.rows[provider, category],
            comparison.equal_to_billed[provider, category],
            comparison.equal_to_list[provider, category],
            comparison.billed_nothing[provider, category],
        ]
        for provider, category in kinds
    ]
    records = {
        "read": imported.records_read,
        "accepted": imported.accepted,
        "duplicate": imported.duplicate,
        **{f"rejected: {r}": n for r, n in imported.rejected_by_reason.items()},
    }
    if as_json:
        print_json(
            {
                "records": records,
                "already_imported": imported.already_imported,
                "invoices_added": added,
                "totals": [
                    dict(zip(("currency", "invoices", "total"), row, strict=True)) for row in totals
                ],
                "compared": [dict(zip(columns, row, strict=True)) for row in compared],
            }
        )
        return
    print_table("Usage", ("records", "count"), list(records.items()), as_json=False)
    print_table("Invoices", ("currency", "invoices", "total"), totals, as_json=False)
    print_table("Rated rows within 1e-9 of the file", columns, compared, as_json=False)
    console = Console()
    if imported.already_imported:
        console.print(f"The file had been imported before; {added} invoices were added.")
    if excerpt:
        console.print(ATTRIBUTION)
