"""``counterfoil model``: the commands of the guide, and what they print."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from counterfoil.interfaces.cli.main import app
from counterfoil.platform.records.database import Database

GUIDE = Path(__file__).parents[3] / "docs" / "custom-fields.md"
Run = Callable[..., Result]


def block(language: str) -> str:
    """The first block of the guide in a language."""
    text = GUIDE.read_text(encoding="utf-8")
    return text.partition(f"```{language}\n")[2].partition("```")[0]


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on the scratch organisation, beside the change set of the guide."""
    (tmp_path / "surveys.yaml").write_text(block("yaml"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", database.url)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_the_commands_of_the_guide(run: Run) -> None:
    printed: dict[str, str] = {}
    for line in block("sh").splitlines():
        words = shlex.split(line.partition("#")[0])[1:]
        done = run(*words)
        assert done.exit_code == 0, f"{line}\n{done.output}"
        printed[" ".join(words[:2])] = done.output
    assert (
        "2. add account.x_region: choice of emea, apac, amer, told on invoices"
        in (printed["model plan"])
    )
    assert 'ALTER TABLE "account" ADD COLUMN "x_region" TEXT;' in printed["model plan"]
    assert "Acme Conferencing" in printed["records list"]
    assert printed["model retire"] == ("retire account.x_region: hide it, keep its values\n")
    assert "x_score" in Path("ours.yaml").read_text(encoding="utf-8")
    shown = json.loads(run("records", "show", "account", "ACME", "--json").stdout)
    assert "x_region" not in shown
    assert (shown["x_deposit"], shown["x_deposit_currency"]) == ("1500.0000", "EUR")


def test_a_second_time_there_is_nothing_to_do(run: Run) -> None:
    assert run("model", "apply", "surveys.yaml").exit_code == 0
    assert "nothing to do" in run("model", "apply", "surveys.yaml").output
    assert "nothing to do" in run("model", "plan", "surveys.yaml").output


def test_what_was_not_added_cannot_be_retired(run: Run) -> None:
    answer = run("model", "retire", "account", "name")
    assert (answer.exit_code, "account.name was not added" in answer.stderr) == (2, True)


def test_a_fault_is_told_with_its_line(run: Run) -> None:
    Path("bad.yaml").write_text(
        "change_set: Bad\nfields:\n  account:\n    region: {kind: text}\n    x_a: {kind: txt}\n",
        encoding="utf-8",
    )
    answer = run("model", "apply", "bad.yaml")
    assert answer.exit_code == 2
    assert "bad.yaml:5: fields.account.x_a.kind: unknown value 'txt'" in answer.stderr
