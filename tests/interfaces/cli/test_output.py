"""Amounts are printed to the last digit, for people and for programs."""

import io
import json
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import typer

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.main import command_line
from counterfoil.interfaces.cli.output import (
    fail_on_refused,
    print_properties,
    print_table,
    shown,
)

ROWS = [
    ("INV-1", Decimal("1234.50"), date(2026, 2, 28)),
    ("INV-10", Decimal("0.000000000000100"), None),
]
COLUMNS = ("number", "total_amount", "due_date")


def test_amounts_stand_right_with_all_their_digits(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Invoices", COLUMNS, ROWS, as_json=False)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines == [
        "Invoices",
        "  number        total amount   due date",
        " ─────────────────────────────────────────",
        "  INV-1              1234.50   2026-02-28",
        "  INV-10   0.000000000000100",
    ]


def test_json_has_decimals_as_strings_and_times_in_iso(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Invoices", COLUMNS, ROWS, as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"number": "INV-1", "total_amount": "1234.50", "due_date": "2026-02-28"},
        {"number": "INV-10", "total_amount": "0.000000000000100", "due_date": None},
    ]


def test_no_rows_are_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Invoices", COLUMNS, [], as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_one_thing_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_properties("Run", {"invoices": 3, "total": Decimal("9.90")}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"invoices": 3, "total": "9.90"}


def test_a_long_cell_is_not_folded_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Files", ("path",), [("x" * 500,)], as_json=False)
    assert "x" * 500 in capsys.readouterr().out


def test_markup_in_data_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Accounts", ("name",), [("[bold]Acme[/]",)], as_json=False)
    assert "[bold]Acme[/]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.10"), "-0.10"),
        (None, ""),
        (True, "yes"),
        (datetime(2026, 1, 31, 23, 0, tzinfo=UTC), "2026-01-31 23:00:00+00:00"),
        ({"rate": Decimal("0.5")}, '{"rate": "0.5"}'),
        ("\x1b[2Jcleared", "\\x1b[2Jcleared"),
        ("Zürich", "Zürich"),
    ],
)
def test_values_as_they_stand_in_a_table(value: object, text: str) -> None:
    assert shown(value) == text


def test_each_problem_of_a_refusal_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = [
        Problem(
            "unknown_currency", "unknown currency XYZ", "currency", ("EUR", "USD"), "a.yaml", 3
        ),
        Problem("required", "is required", "name", file="a.yaml", line=4),
    ]
    with pytest.raises(typer.Exit) as ended, fail_on_refused():
        raise Refused(problems)
    assert ended.value.exit_code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "refused: a.yaml:3: currency: unknown currency XYZ (allowed: EUR, USD)",
        "refused: a.yaml:4: name: is required",
    ]


def test_an_interruption_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, fail_on_refused():
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err.startswith("Interrupted.")


def test_what_a_terminal_cannot_show_comes_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "argv", ["counterfoil", "--version"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit):
        command_line()
    print_table("Accounts", ("name",), [("Größe",)], as_json=False)
    terminal.flush()
    assert b"Gr\\xf6\\xdfe" in written.getvalue()
