"""``counterfoil bills rerate``: the difference as table, JSON and CSV, and made real."""

import csv
import json
from pathlib import Path

from tests.interfaces.cli.test_simulate import BOOK, Run, run

__all__ = ["run"]

OWN_PRICE = "prices: [{account: ACME, charge: calls, currency: USD, model: per_unit, amount: 0.04}]"


def test_the_difference_is_shown_then_made_then_gone(run: Run) -> None:
    quarter = ("--from", "2026-07", "--to", "2026-09")
    assert "Nothing differs from what was billed" in run("bills", "rerate", *quarter).stdout
    Path("own.yaml").write_text(OWN_PRICE, encoding="utf-8")
    assert run("prices", "load", "own.yaml").exit_code == 0
    shown = run("bills", "rerate", *quarter, "--csv", "differences.csv")
    assert shown.exit_code == 0, shown.output
    assert "Nothing was stored" in shown.stdout
    rows = list(csv.DictReader(Path("differences.csv").read_text("utf-8").splitlines()))
    assert [(row["subscription"], row["cycle_start"], row["difference"]) for row in rows] == [
        ("S-1", "2026-07-01", "-1.0000"),
        ("S-1", "2026-08-01", "-0.6000"),
    ]
    made = json.loads(run("bills", "rerate", *quarter, "--apply", "--json").stdout)
    assert made["totals"] == {
        "USD": {"billed": "8.00", "now": "6.40", "difference": "-1.60", "discounts": "0.00"}
    }
    assert (made["differences"], made["invoices"], made["problems"]) == (2, 1, [])
    again = json.loads(run("bills", "rerate", *quarter, "--apply", "--json").stdout)
    assert (again["differences"], again["invoices"]) == (0, 0)
    explained = run("bills", "explain", "CN-000001", "2")
    assert "a difference of -1.00 USD" in explained.stdout


def test_one_account_and_drafts(run: Run) -> None:
    Path("own.yaml").write_text(OWN_PRICE, encoding="utf-8")
    assert run("prices", "load", "own.yaml").exit_code == 0
    month = ("--from", "2026-07", "--to", "2026-07", "--account", "ACME")
    answer = run("bills", "rerate", *month, "--apply", "--draft", "--date", "2026-09-15")
    assert answer.exit_code == 0, answer.output
    assert "Invoices and credit notes made: 1" in answer.stdout
    assert run("bills", "discard-drafts", "--json").stdout.split() == [
        "[",
        "{",
        '"invoices":',
        "1",
        "}",
        "]",
    ]
    assert run("bills", "rerate", *month, "--account", "NOBODY").exit_code == 2
    assert BOOK
