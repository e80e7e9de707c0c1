"""``counterfoil import`` and ``counterfoil export`` at the command line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from counterfoil.interfaces.cli.main import app
from counterfoil.platform.records.database import Database

Run = Callable[..., Result]


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on the scratch organisation, in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", database.url)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_records_go_in_by_a_mapping_and_out_again(run: Run, tmp_path: Path):
    (tmp_path / "in.csv").write_text("No;Name;Note\nA;Alpha;x\nB;Beta;y\n")
    (tmp_path / "map.yaml").write_text("No: external_id\nNote: null\n")
    arguments = ("import", "in.csv", "--into", "accounts", "--mapping", "map.yaml", "--json")
    dry = json.loads(run(*arguments, "--dry-run").stdout)
    assert (dry["dry_run"], dry["created"], dry["ignored_columns"]) == (True, 2, "Note")
    for created, unchanged in ((2, 0), (0, 2)):
        done = json.loads(run(*arguments).stdout)
        assert (done["created"], done["unchanged"]) == (created, unchanged)

    exported = run("export", "accounts", "--to", "out.csv", "--filter", "name=Beta")
    assert exported.exit_code == 0, exported.stderr
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("B,Beta,")
    named = ("export", "account", "--to", "out.xlsx", "--fields", "name", "--json")
    assert json.loads(run(*named).stdout) == {"file": "out.xlsx", "records": 2}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "in.csv",
        "map.yaml",
        "out.csv",
        "out.xlsx",
    ]


def test_wrong_rows_are_told_with_file_line_and_field(run: Run, tmp_path: Path):
    (tmp_path / "in.csv").write_text("external_id,name,status\nA,Alpha,lost\nB,Beta,active\n")
    answer = run("import", "in.csv", "--into", "accounts")
    assert answer.exit_code == 2
    assert "in.csv:2: status: 'lost' is not allowed (allowed: active, closed)" in answer.stderr
    assert "refused" in answer.stdout
    listed = run("records", "list", "account", "--json")
    assert [one["external_id"] for one in json.loads(listed.stdout)] == ["B"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "none.csv", "--into", "accounts"), "cannot be read"),
        (("import", "in.csv", "--into", "nothing"), "there is no entity 'nothing'"),
        (("import", "in.csv", "--into", "accounts", "--mapping", "in.csv"), "in.csv"),
        (("export", "accounts", "--to", "out.pdf"), "'pdf' is no format"),
        (("export", "accounts", "--to", "nowhere/out.csv"), "cannot be written"),
        (("export", "accounts", "--to", "out.csv", "--filter", "name"), "is not field=value"),
        (("export", "accounts", "--to", "out.csv", "--filter", "colour=red"), "colour"),
    ],
)
def test_what_cannot_be_is_refused(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
):
    (tmp_path / "in.csv").write_text("external_id,name\n[A,Alpha\n")
    answer = run(*arguments)
    assert answer.exit_code == 2, answer.output
    assert message in answer.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["in.csv"]


def test_the_commands_of_the_guide_work(run: Run, tmp_path: Path):
    guide = Path(__file__).parents[3] / "docs" / "import-export.md"
    block = guide.read_text(encoding="utf-8").split("```sh\n")[1].split("```")[0]
    book = openpyxl.Workbook()
    book.active.append(["external_id", "name"])
    book.active.append(["ACME", "Acme"])
    book.save(tmp_path / "accounts.xlsx")
    for line in block.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "counterfoil"
        answer = run(*arguments)
        assert answer.exit_code == 0, answer.stderr
    assert (tmp_path / "sites.csv").read_text().startswith("external_id,account.external_id,name")
