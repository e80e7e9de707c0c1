"""``counterfoil scenario``: play scenario files in scratch organisations and compare."""

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from counterfoil.bootstrap import Settings, database_server, scratch_organisation
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.output import print_json, print_table
from counterfoil.interfaces.scenarios.notation import read_scenario
from counterfoil.interfaces.scenarios.play import Outcome, SimulatedClock, play_scenario
from counterfoil.interfaces.scenarios.report import (
    COLUMNS,
    differences_of,
    invoice_tables,
    outcome_document,
    refusal_document,
    skipped_accounts,
)
from counterfoil.interfaces.scenarios.scenario import Scenario

DIFFERENT = 1
REFUSED = 2

app = typer.Typer(no_args_is_help=True, help="Play scenario files: try prices on a history.")


@app.command()
def run(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scenario files.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of tables.")] = False,
) -> None:
    """Play scenarios, each in an organisation of its own, and print the resulting invoices.

    Exit status 1 when something is not as expected, 2 when a file or one of its steps is refused.
    """
    scenarios = read_all(paths)
    settings = Settings.from_environment(os.environ)
    outcomes: list[Outcome | Refused] = []
    with database_server(settings):
        console = Console(stderr=True)
        watched = track(
            scenarios,
            "Playing",
            console=console,
            transient=True,
            disable=len(scenarios) == 1 or not console.is_terminal,
        )
        for scenario in watched:
            outcomes.append(play(scenario, settings))  # noqa: PERF401 - steps of a progress bar
    if as_json:
        print_json([document_of(*pair) for pair in zip(scenarios, outcomes, strict=True)])
    else:
        print_outcomes(scenarios, outcomes)
    fail_if_needed(outcomes)


@app.command()
def new() -> None:
    """Print a commented scenario to begin with."""
    typer.echo(
        files("counterfoil.interfaces.scenarios").joinpath("example.yaml").read_text("utf-8")
    )


def read_all(paths: Sequence[Path]) -> list[Scenario]:
    """All scenarios of these files; refuses with the problems of all files at once."""
    problems: list[Problem] = []
    scenarios = []
    for path in paths:
        scenario, found = read_scenario(path)
        problems += found
        if scenario is not None:
            scenarios.append(scenario)
    if problems:
        raise Refused(problems)
    return scenarios


def play(scenario: Scenario, settings: Settings) -> Outcome | Refused:
    """Play one scenario in a scratch organisation; a refusal is its outcome too."""
    clock = SimulatedClock()
    with scratch_organisation(settings, clock) as organisation:
        try:
            return play_scenario(scenario, organisation, clock)
        except Refused as refusal:
            return refusal


def document_of(scenario: Scenario, outcome: Outcome | Refused) -> dict[str, object]:
    """The outcome of a scenario as plain values."""
    if isinstance(outcome, Refused):
        return refusal_document(scenario.file, outcome.problems)
    return outcome_document(outcome)


def print_outcomes(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome | Refused]) -> None:
    """Invoices of each scenario, differences and refusals on stderr, a summary of several."""
    for scenario, outcome in zip(scenarios, outcomes, strict=True):
        typer.echo(f"{scenario.file}: {scenario.name}")
        if isinstance(outcome, Refused):
            for problem in outcome.problems:
                typer.echo(f"refused: {problem}", err=True)
            continue
        for table in invoice_tables(outcome):
            if table.rows:
                print_table(table.title, COLUMNS, table.rows, as_json=False)
            else:
                typer.echo(f"{table.title}\n")
        for skipped in skipped_accounts(outcome):
            typer.echo(f"not billed: {skipped}", err=True)
        for difference in differences_of(outcome):
            typer.echo(f"different: {difference}", err=True)
    if len(scenarios) > 1:
        typer.echo(summary_of(outcomes))


def summary_of(outcomes: Sequence[Outcome | Refused]) -> str:
    """How many scenarios went how."""
    refused = sum(1 for outcome in outcomes if isinstance(outcome, Refused))
    different = sum(1 for one in outcomes if isinstance(one, Outcome) and one.differences)
    fine = len(outcomes) - refused - different
    parts = [f"{len(outcomes)} scenarios: {fine} as expected"]
    parts += [f"{different} different"] if different else []
    parts += [f"{refused} refused"] if refused else []
    return ", ".join(parts)


def fail_if_needed(outcomes: Sequence[Outcome | Refused]) -> None:
    """Exit with 2 when a scenario was refused, with 1 when one came out differently."""
    if any(isinstance(outcome, Refused) for outcome in outcomes):
        raise typer.Exit(REFUSED)
    if any(isinstance(outcome, Outcome) and outcome.differences for outcome in outcomes):
        raise typer.Exit(DIFFERENT)
