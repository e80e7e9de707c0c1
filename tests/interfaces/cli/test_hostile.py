"""What a hurried clerk types: every refusal is one line that says what is wrong, never a trace."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from tests.interfaces.cli.desk import Run, at_the_desk_of

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.one_off import OneOffLine, bill_one_off
from counterfoil.interfaces.cli.main import app

BIG = str(2**70)


@pytest.fixture(scope="module")
def run(server: Settings) -> Iterator[Run]:
    """The desk of an organisation with one account and one invoice of 120 USD."""
    with scratch_organisation(server) as organisation:
        with organisation.database.transaction(now=organisation.clock()) as uow:
            account = uow.create("account", {"external_id": "ACME", "name": "Acme"})
            uow.create("billing_profile", {"account_id": account["id"], "currency": "USD"})
            line = OneOffLine(description="Training", unit_amount=Decimal(120))
            bill_one_off(uow, "ACME", [line], Request(on=date(2026, 1, 31)))
        with at_the_desk_of(organisation) as at:
            Path("short.csv").write_text("source,event_id,quantity\ns,1\n", encoding="utf-8")
            Path("long.csv").write_text("source,event_id,quantity\ns,1,2,x,y\n", encoding="utf-8")
            Path("a file").write_text("", encoding="utf-8")
            yield at


CANNOT_BE_WRITTEN = [
    ("invoices", "csv", "INV-000001", "--out", "a file/x.csv"),
    ("invoices", "json", "INV-000001", "--out", "."),
    ("invoices", "pdf", "INV-000001", "--out", "a file/x"),
    ("bills", "spark-sql", "2026-02-01", "--out", "a file/x"),
    ("bills", "rerate", "--from", "2026-01", "--to", "2026-01", "--csv", "a file/x.csv"),
    ("model", "export", "a file/x.yaml"),
    ("export", "accounts", "--to", "a file/x.csv"),
]
REFUSED = [
    (("invoices", "list", "--account", "GHOST"), "there is no account 'GHOST'"),
    (("invoices", "list", "--limit", BIG), "--limit"),
    (("prices", "list", "--charge", "ghost"), "there is no charge 'ghost'"),
    (("leads", "list", "--status", "ghost"), "'ghost' is not known (allowed: new,"),
    (("quotes", "list", "--status", "ghost"), "'ghost' is not known (allowed: draft,"),
    (("orders", "show", "O-1", "--by", "street"), "(allowed: site, region, country)"),
    (("history", "list", "account", BIG), "9223372036854775807"),
    (("bills", "explain", "INV-000001", "1", "--events", BIG), "--events"),
    (
        ("invoices", "debit", "INV-000001", "--reason", "x", "--amount", "5", "--quantity", "2"),
        "a quantity is one of a --line",
    ),
    (("subscriptions", "renew"), "name subscriptions, or give --due alone"),
    (("subscriptions", "renew", "S-1", "--due", "2026-01-01"), "give --due alone"),
    (
        ("subscriptions", "renew", "--due", "2026-01-01", "--uplift-percent", "3"),
        "give --due alone",
    ),
    (("subscriptions", "suspend", "S-1", "--of-account", "ACME"), "not both"),
    (("usage", "correct-file", "short.csv"), "short.csv:2: has to have as many values"),
    (("usage", "correct-file", "long.csv"), "long.csv:2: has to have as many values"),
    (("usage", "correct-file", "."), "cannot be read"),
    (("records", "update", "account", "ACME", "name=@."), "cannot be read"),
    (("history", "verify", "--head", "f00"), "has to be the 64 digits"),
    (("payments", "record", "ACME", "1_000"), "'1_000' is not a number"),
]


@pytest.mark.parametrize("arguments", CANNOT_BE_WRITTEN, ids=" ".join)
def test_a_file_that_cannot_be_written_is_named(run: Run, arguments: tuple[str, ...]) -> None:
    answer = run(*arguments)
    assert (answer.exit_code, type(answer.exception)) == (2, SystemExit), answer.exception
    assert f"refused: {arguments[-1]}: cannot be written: " in answer.output


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=str)
def test_what_cannot_be_meant_is_refused(run: Run, arguments: tuple[str, ...], said: str) -> None:
    before = run("history", "list", "--json").stdout
    answer = run(*arguments)
    assert (answer.exit_code, type(answer.exception)) == (2, SystemExit), answer.exception
    assert said in answer.output
    assert run("history", "list", "--json").stdout == before


def test_an_account_without_a_currency_owes_nothing(run: Run) -> None:
    assert run("accounts", "create", "BELOW", "--name", "Below", "--parent", "ACME").exit_code == 0
    told = run("payments", "balance", "BELOW").stdout
    assert "BELOW owes nothing" in told
    assert "USD" not in told
    days = ("--from", "2026-01-01", "--to", "2027-01-01")
    assert "USD" not in run("statement", "BELOW", *days).stdout


def test_every_command_and_option_says_what_it_is() -> None:
    silent: list[str] = []
    pending = [("counterfoil", typer.main.get_command(app))]
    while pending:
        name, command = pending.pop()
        below = getattr(command, "commands", {})
        pending += [(f"{name} {word}", one) for word, one in below.items()]
        silent += [name] if not command.help else []
        silent += [f"{name} {one.name}" for one in command.params if not getattr(one, "help", "x")]
    assert silent == []
