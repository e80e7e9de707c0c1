"""What a played scenario shows: tables of its invoices for people, one document for programs."""

from collections.abc import Iterator
from dataclasses import dataclass

from counterfoil.core.problems import Problem
from counterfoil.interfaces.scenarios.play import Outcome, StepOutcome
from counterfoil.interfaces.scenarios.scenario import Credit, Pay, Preview, Rerate, Spending

COLUMNS = (
    "charge",
    "subscription",
    "site",
    "kind",
    "from",
    "to",
    "quantity",
    "unit",
    "unit_amount",
    "amount",
)
"""Columns of an invoice's table, named as in the notation."""


@dataclass(frozen=True, slots=True)
class InvoiceTable:
    """One invoice as a table: title, and rows in the order of ``COLUMNS``."""

    title: str
    rows: tuple[tuple[object, ...], ...]


def invoice_tables(outcome: Outcome) -> Iterator[InvoiceTable]:
    """The invoices of all bill runs and previews, in the order of the timeline."""
    for step in outcome.steps:
        if not step.produced.invoices:
            yield InvoiceTable(f"{_heading(step)}: nothing", ())
        for invoice in step.produced.invoices:
            fields = invoice.fields
            name = "credit note" if fields["kind"] == "credit_note" else "invoice"
            number = f" {fields['number']}" if fields["number"] else ""
            title = (
                f"{_heading(step)}: {name}{number} of {fields['account']}, "
                f"{fields['total']} {fields['currency']}"
            )
            rows = tuple(tuple(line[column] for column in COLUMNS) for line in invoice.lines)
            yield InvoiceTable(title, rows)


def differences_of(outcome: Outcome) -> list[str]:
    """One text per difference, with file and line of the expectation."""
    file = outcome.scenario.file
    return [f"{file}:{difference.line}: {difference}" for difference in outcome.differences]


def skipped_accounts(outcome: Outcome) -> list[str]:
    """One text per account that a bill run or preview could not bill, with its reason."""
    return [
        f"{_heading(step)}: {problem.get('account', '')}: {problem['message']}"
        for step in outcome.steps
        for problem in step.produced.problems
    ]


def outcome_document(outcome: Outcome) -> dict[str, object]:
    """A played scenario as plain values; amounts with the places of their currency."""
    return {
        "file": outcome.scenario.file,
        "scenario": outcome.scenario.name,
        "status": "different" if outcome.differences else "as_expected",
        "steps": [_step_document(step) for step in outcome.steps],
        "differences": differences_of(outcome),
    }


def refusal_document(file: str, problems: tuple[Problem, ...]) -> dict[str, object]:
    """A scenario that could not be played."""
    return {"file": file, "status": "refused", "problems": [str(problem) for problem in problems]}


def _step_document(step: StepOutcome) -> dict[str, object]:
    return {
        "on": step.step.on,
        "do": _action(step).replace("bill run", "bill"),
        "invoices": [
            {
                **invoice.fields,
                "lines": [dict(line) for line in invoice.lines],
            }
            for invoice in step.produced.invoices
        ],
        "problems": [dict(problem) for problem in step.produced.problems],
    }


def _heading(step: StepOutcome) -> str:
    return f"{step.step.on} {_action(step)}"


def _action(step: StepOutcome) -> str:
    words = ((Preview, "preview"), (Credit, "credit"), (Pay, "pay"), (Spending, "spending"))
    for kind, word in words:
        if isinstance(step.step, kind):
            return word
    return "rerate" if isinstance(step.step, Rerate) else "bill run"
