"""From an invoice to a paid one, on the command line."""

import json

from tests.interfaces.cli.test_simulate import Run, run

__all__ = ["run"]


def test_an_invoice_is_credited_paid_and_told(run: Run) -> None:
    made = run("invoices", "one-off", "ACME", "Installation", "33.335", "--quantity", "3")
    assert made.exit_code == 0, made.output
    number = made.stdout.split(":")[0]
    assert made.stdout == f"{number}: 100.01 USD\n"
    credit = run(
        "invoices", "credit", number, "--reason", "late", "--line", "1", "--amount", "0.01"
    )
    assert credit.stdout.endswith(": -0.01 USD\n"), credit.output
    paid = run("payments", "record", "ACME", "60", "--invoice", f"{number}:60", "--key", "b1")
    assert paid.exit_code == 0, paid.output
    found = json.loads(run("payments", "balance", "ACME", "--json").stdout)
    mine = next(row for row in found if row["number"] == number)
    assert (mine["state"], mine["open"]) == ("partly_paid", "40.00")
    assert run("payments", "write-off", number, "--reason", "x").exit_code == 0
    aged = json.loads(run("ageing", "--json").stdout)
    assert aged[-1]["account"] == "total"
    told = run("statement", "ACME", "--from", "2000-01-01", "--to", "2100-01-01", "--json")
    kinds = [row["entry"] for row in json.loads(told.stdout)]
    assert {"opening", "credit_note", "payment", "write_off", "closing"} <= set(kinds)


def test_what_is_wrong_is_refused(run: Run) -> None:
    for arguments, said in (
        (("payments", "record", "NOBODY", "1"), "there is no account"),
        (("payments", "record", "ACME", "x"), "is not a number"),
        (("payments", "record", "ACME", "NaN"), "is not a number"),
        (("payments", "refund", "99"), "there is no payment 99"),
        (("invoices", "credit", "INV-9", "--reason", "x", "--quantity", "1"), "one of a --line"),
        (("invoices", "void", "INV-9", "--reason", "x"), "there is no invoice"),
        (("statement", "ACME", "--from", "2024-02-01", "--to", "2024-01-01"), "must come after"),
    ):
        answer = run(*arguments)
        assert answer.exit_code == 2, answer.output
        assert said in answer.output


def test_a_document_is_not_corrected_without_a_reason(run: Run) -> None:
    made = run("invoices", "one-off", "ACME", "Installation", "50")
    number = made.stdout.split(":")[0]
    before = run("payments", "balance", "ACME", "--json").stdout
    for command in (
        ("invoices", "credit", number, "--amount", "1"),
        ("invoices", "debit", number, "--amount", "1"),
        ("invoices", "void", number),
        ("invoices", "reissue", number),
        ("invoices", "reissue", number, "--rated-again"),
        ("payments", "write-off", number),
    ):
        for reason in ("", "  "):
            answer = run(*command, "--reason", reason)
            assert (answer.exit_code, "reason: is required" in answer.output) == (2, True)
    assert run("payments", "balance", "ACME", "--json").stdout == before
