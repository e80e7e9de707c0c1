"""``counterfoil records``: every entity from the command line; and the README's first hour."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from counterfoil.interfaces.cli.main import app
from counterfoil.platform.records.database import Database

ROOT = Path(__file__).parents[3]
Run = Callable[..., Result]


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on the scratch organisation, in the project's folder."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", database.url)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_a_site_is_made_changed_and_listed(run: Run) -> None:
    assert run("accounts", "create", "ACME", "--name", "Acme").exit_code == 0
    made = run(
        "records", "create", "site", "external_id=HQ", "account=ACME", "name=HQ", "country=US"
    )
    assert made.exit_code == 0
    assert run("records", "update", "site", "HQ", "city=Denver").exit_code == 0
    listed = run("records", "list", "site", "--where", "account=ACME", "--json")
    assert [(site["external_id"], site["city"]) for site in json.loads(listed.stdout)] == [
        ("HQ", "Denver")
    ]


def test_a_record_is_deleted_and_put_back(run: Run) -> None:
    assert run("accounts", "create", "ACME", "--name", "Acme").exit_code == 0
    made = run(
        "records", "create", "site", "external_id=HQ", "account=ACME", "name=HQ", "country=US"
    )
    assert made.exit_code == 0
    refused = run("records", "delete", "account", "ACME")
    assert refused.exit_code == 2
    assert "account ACME is still referred to by 1 site (HQ) in account_id" in refused.stderr
    deleted = json.loads(run("records", "delete", "site", "HQ", "--json").stdout)
    assert run("records", "show", "site", "HQ").exit_code == 2
    back = json.loads(run("records", "undelete", "site", str(deleted["id"]), "--json").stdout)
    assert (back["external_id"], back["row_version"]) == ("HQ", 3)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("create", "site", "name"), "'name' is not field=value"),
        (("create", "site", "external_id=S", "account=NOBODY"), "there is no account 'NOBODY'"),
        (("create", "site", "colour=red"), "colour"),
        (("create", "invoice", "total=1"), "invoice records are made by commands only"),
        (("show", "site", "NOWHERE"), "there is no site 'NOWHERE'"),
        (("list", "sites"), "there is no entity 'sites'"),
    ],
)
def test_refused(run: Run, arguments: tuple[str, ...], refusal: str) -> None:
    answer = run("records", *arguments)
    assert answer.exit_code == 2
    assert refusal in answer.stderr
    assert json.loads(run("records", "list", "site", "--json").stdout) == []


def test_the_first_hour_of_the_readme(run: Run, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    hour = text.partition("## A first hour of your own")[2].partition("```sh")[2]
    commands = [
        shlex.split(line.partition("#")[0])[1:]
        for line in hour.partition("```")[0].replace("\\\n", " ").splitlines()
        if line.startswith("counterfoil ") and "serve" not in line
    ]
    assert len(commands) >= 10
    for command in commands:
        command = [str(tmp_path) if word == "invoices/" else word for word in command]
        answer = run(*command)
        assert answer.exit_code == 0, (command, answer.output)
    assert (tmp_path / "INV-000001.pdf").read_bytes().startswith(b"%PDF")
