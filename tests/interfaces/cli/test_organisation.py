"""``counterfoil init`` makes an organisation and ``counterfoil status`` describes it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from counterfoil import __version__
from counterfoil.bootstrap import Settings
from counterfoil.interfaces.cli.main import app

run = CliRunner().invoke


@pytest.fixture
def home(server: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of the tests' own server, as the environment names it."""
    monkeypatch.setenv("COUNTERFOIL_HOME", str(server.home))
    return server.home


def test_a_new_organisation_is_empty_and_can_be_made_again(home: Path) -> None:
    for _ in range(2):
        made = run(app, ["init", "--json"])
        assert made.exit_code == 0
        found = json.loads(made.stdout)
        assert found["home"] == str(home)
        assert found["server"].startswith("PostgreSQL ")
        counted = ("accounts", "subscriptions", "usage_batches", "invoices")
        assert {name: found[name] for name in counted} == dict.fromkeys(counted, 0)
    assert json.loads(run(app, ["status", "--json"]).stdout) == found


def test_status_names_what_it_counts(home: Path) -> None:
    assert run(app, ["init"]).exit_code == 0
    shown = run(app, ["status"])
    assert shown.exit_code == 0
    assert str(home) in shown.stdout
    assert "usage batches" in shown.stdout


def test_the_status_of_nothing_is_refused_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COUNTERFOIL_DATABASE_URL", raising=False)
    answer = run(app, ["status"])
    assert answer.exit_code == 2
    assert "`counterfoil init` makes one" in answer.stderr
    assert not (tmp_path / "home").exists()


def test_a_bad_database_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", "mysql://localhost/x")
    answer = run(app, ["status"])
    assert answer.exit_code == 2
    assert answer.stderr == (
        "refused: COUNTERFOIL_DATABASE_URL: "
        "must be like postgresql://user:password@host:5432/database\n"
    )


def test_version() -> None:
    assert run(app, ["--version"]).stdout == f"counterfoil {__version__}\n"


def test_help_without_arguments_teaches_by_examples() -> None:
    shown = run(app, [])
    assert "Examples" in shown.output
    assert "counterfoil demo" in shown.output
