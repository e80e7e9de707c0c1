"""``counterfoil demo``: a month of a video-conferencing company, from usage files to invoices."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from counterfoil.bootstrap import Settings
from counterfoil.core.money.currencies import exponent
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation
from counterfoil.interfaces.cli.output import print_json, print_table, trimmed
from counterfoil.interfaces.demo import run
from counterfoil.interfaces.demo.parameters import (
    DEFAULT_SEED,
    month_after,
    parse_month,
    settle_parameters,
)

EVENTS_SHOWN = 5
"""Usage events listed in the counterfoil that closes the demo."""


class Bars:
    """A progress bar per stage, and how long each took in seconds."""

    def __init__(self, console: Console) -> None:
        self.seconds: dict[str, float] = {}
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, title: str) -> Iterator[run.Progress]:
        """Show a stage until its end; where there is no terminal, one line when it has ended."""
        bar = self._progress.add_task(title, total=None)
        began = time.monotonic()
        yield lambda done, whole: self._progress.update(bar, completed=done, total=whole)
        self.seconds[title] = time.monotonic() - began
        self._progress.update(bar, completed=1, total=1)
        if not self._console.is_terminal:
            self._console.print(f"{title:<24} {self.seconds[title]:6.1f} s", highlight=False)


def demo(
    accounts: Annotated[
        int, typer.Option(min=10, max=100_000, help="Customer accounts, of about three sites each.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same company.")] = DEFAULT_SEED,
    month: Annotated[
        str, typer.Option(help="Month to bill; in the same folder later months may follow.")
    ] = "2026-10",
    as_json: AsJson = False,
) -> None:
    """Make a demo company, import a month of its usage, bill it and print invoices.

    All of it goes through the ordinary commands, at a simulated date after the month. Running it
    again completes what was interrupted and bills nothing twice.
    """
    first_day = parse_month(month)
    folder = Settings.from_environment(os.environ).home / "demo"
    parameters = settle_parameters(folder, accounts, seed, first_day)
    console = Console(stderr=as_json, soft_wrap=True)
    with ExitStack() as stack:
        with Bars(console) as bars:
            with bars.stage("Start database"):
                house = stack.enter_context(opened_organisation())
            outcome = run.DemoRun(house, parameters, bars.stage).run()
        if as_json:
            print_json(_as_json(outcome, bars.seconds))
            return
        _print_stages(outcome, bars.seconds)
        _print_usage(console, outcome)
        _print_totals(console, outcome, f"{first_day:%B %Y}")
        _print_counterfoil(console, outcome)
        _print_closing(console, outcome, folder, f"{month_after(first_day):%Y-%m}")


def _as_json(outcome: run.Outcome, seconds: Mapping[str, float]) -> dict[str, object]:
    explained = outcome.explanation
    return {
        "stages": [
            {
                "stage": stage.title,
                "seconds": round(seconds[stage.title], 3),
                "new": stage.new,
                **stage.facts,
            }
            for stage in outcome.stages
        ],
        "seconds": round(sum(seconds.values()), 3),
        "defects": [
            {"collector": d.collector, "kind": d.kind, "planted": d.planted, "found": d.found}
            for d in outcome.defects
        ],
        "late_arrivals": outcome.late_arrivals,
        "late_lines": outcome.late_lines,
        "minutes": outcome.minutes,
        "totals": [
            {"currency": currency, "invoices": count, "total": total}
            for currency, count, total in outcome.totals
        ],
        "printed": [str(path) for path in outcome.printed],
        "quote": str(outcome.quote),
        "counterfoil": {
            "line": explained.line,
            "sentences": explained.sentences,
            "layers": explained.layers,
            "events": explained.events[:EVENTS_SHOWN],
        },
        "nothing_new": outcome.nothing_new,
    }


def _counted(facts: run.Facts) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in facts.items())


def _print_stages(outcome: run.Outcome, seconds: Mapping[str, float]) -> None:
    facts = {stage.title: _counted(stage.facts) for stage in outcome.stages}
    rows = [(title, f"{took:.1f}", facts.get(title, "")) for title, took in seconds.items()]
    rows.append(("All", f"{sum(seconds.values()):.1f}", ""))
    print_table("Stages", ("stage", "seconds", "counted"), rows, as_json=False)


def _print_usage(console: Console, outcome: run.Outcome) -> None:
    rows = [(d.collector, d.kind, d.planted, d.found) for d in outcome.defects]
    columns = ("collector", "defect", "planted", "found")
    print_table("Defects in the usage files", columns, rows, as_json=False)
    console.print(
        f"{outcome.late_arrivals} late arrivals of the month before were accepted; they are billed "
        f"on {outcome.late_lines} lines of their own.\n",
        highlight=False,
    )


def _money(amount: Decimal, currency: str) -> str:
    return f"{amount:,.{exponent(currency)}f}"


def _print_totals(console: Console, outcome: run.Outcome, month: str) -> None:
    rows = [(currency, count, _money(total, currency)) for currency, count, total in outcome.totals]
    print_table(f"Billed for {month}", ("currency", "invoices", "total"), rows, as_json=False)
    console.print(f"{outcome.minutes:,} participant minutes are billed.\n", highlight=False)


def _print_counterfoil(console: Console, outcome: run.Outcome) -> None:
    """Why one line has its amount: the words, the price layers, the first usage events."""
    explained = outcome.explanation
    line, currency = explained.line, str(explained.rated_charge["currency"])
    amount = _money(Decimal(str(line["amount"])), currency)
    console.print("[bold]A counterfoil: why one invoice line has its amount[/]")
    console.print(
        escape(
            f"{outcome.explained_invoice}, position {line['position']}: {line['account_name']}, "
        )
        + escape(f"{line['description']}, {amount} {currency}")
    )
    for sentence in explained.sentences:
        console.print(f"  • {escape(sentence)}")
    rows = [
        (layer["layer"], layer["owner"], layer["model"], "applies" if layer["wins"] else "")
        for layer in explained.layers
    ]
    print_table("Price layers, most specific first", ("layer", "of", "model", "wins"), rows,
                as_json=False)  # fmt: skip
    charge = explained.charge
    columns = ("time", "event_id", "file_name", "line", "quantity", "billed_quantity")
    heads = ("time_utc", "record", "file", "line", str(charge["meter_unit"]), str(charge["unit"]))
    events = [
        [trimmed(event[column]) for column in (*columns, "exact_amount")]
        for event in explained.events[:EVENTS_SHOWN]
    ]
    title = f"The first {len(events)} of {explained.rated_charge['events']} usage events"
    print_table(title, (*heads, currency), events, as_json=False)


def _print_closing(console: Console, outcome: run.Outcome, folder: Path, next_month: str) -> None:
    program = Path(sys.argv[0])
    if program.is_absolute() and program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    if outcome.nothing_new:
        console.print("[bold]Everything was there already; nothing was billed twice.[/]\n")
    console.print(f"{len(outcome.printed)} invoices are printed in {folder / 'invoices'}")
    console.print(f"A new customer's quote, accepted, ordered and invoiced: {outcome.quote}")
    console.print(f"Usage files and price book are in {folder}")
    console.print("Next:")
    for command, purpose in (
        (f"{program} invoices show {outcome.explained_invoice}", "an invoice and its lines"),
        (f"{program} quotes show Q-GLOBEX", "a quote, and why it comes to what"),
        (f"{program} demo --month {next_month}", "the next month"),
        (f"{program} demo", "again: nothing is billed twice"),
        ("make serve", "REST under /api/v1"),
    ):
        console.print(f"  {command:<52} {purpose}", highlight=False)
