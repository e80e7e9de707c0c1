"""``counterfoil invoices``: what is listed, printed and exported, and what is refused."""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from counterfoil.bootstrap import Settings
from counterfoil.interfaces.cli.main import app


@pytest.fixture
def run(server: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command line on the organisation of the test server."""
    monkeypatch.setenv("COUNTERFOIL_HOME", str(server.home))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", server.database_url or "")
    return lambda *arguments: CliRunner().invoke(app, ["invoices", *arguments])


def test_without_invoices_the_list_is_empty(run):
    answer = run("list", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, [])


def test_an_unknown_number_is_refused_and_nothing_is_written(run, tmp_path: Path):
    out = tmp_path / "pages"
    answer = run("pdf", "INV-404", "--out", str(out))
    assert answer.exit_code == 2
    assert "there is no invoice 'INV-404'" in answer.stderr
    assert not out.exists()


def test_numbers_or_a_date_but_not_neither(run):
    answer = run("csv")
    assert answer.exit_code == 2
    assert "--date" in answer.stderr


def test_a_date_without_invoices_exports_the_header_only(run):
    answer = run("csv", "--date", "2031-01-01")
    assert answer.exit_code == 0
    (header,) = csv.reader(io.StringIO(answer.stdout, newline=""))
    assert header[0] == "invoice_number"
    assert json.loads(run("json", "--date", "2031-01-01").stdout) == []


def test_a_state_that_is_none_is_refused(run):
    assert run("list", "--state", "paid").exit_code == 2
