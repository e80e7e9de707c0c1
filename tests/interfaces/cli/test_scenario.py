"""``counterfoil scenario``: what is printed, what differs, what is refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from counterfoil.bootstrap import Settings
from counterfoil.interfaces.cli.main import app

ROOT = Path(__file__).parents[3]
SCENARIOS = ROOT / "tests" / "scenarios"

ROOM = """\
scenario: A room for a month
price_book:
  products: [{id: video, name: Video}]
  rate_plans:
    - id: rooms
      product: video
      name: Rooms
      charges:
        - id: room
          name: Managed room
          kind: recurring
          timing: in_advance
          prices: [{currency: USD, model: per_unit, amount: 29.95}]
accounts:
  - {id: ACME, currency: USD}
timeline:
  - {on: 2024-01-01, do: subscribe, id: S1, account: ACME, plan: rooms, quantities: {room: 7}}
  - on: 2024-01-01
    do: bill
    expect:
      invoices:
        - account: ACME
          total: 209.65
          lines:
            - {charge: room, quantity: 7, amount: 209.65}
"""


@pytest.fixture
def run(server: Settings, monkeypatch: pytest.MonkeyPatch):
    """Runs the command line on the test server."""
    monkeypatch.setenv("COUNTERFOIL_HOME", str(server.home))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", server.database_url or "")
    return lambda *arguments: CliRunner().invoke(app, ["scenario", *map(str, arguments)])


@pytest.fixture
def room(tmp_path: Path):
    """Writes the room's scenario with something replaced; its path."""

    def write(old: str = "", new: str = "", name: str = "room.yaml") -> Path:
        path = tmp_path / name
        path.write_text(ROOM.replace(old, new) if old else ROOM, encoding="utf-8")
        return path

    return write


def test_the_invoices_are_printed(run, room):
    answer = run("run", room())
    assert answer.exit_code == 0
    assert "2024-01-01 bill run: invoice INV-000001 of ACME, 209.65 USD" in answer.stdout
    [row] = [line.split() for line in answer.stdout.splitlines() if "recurring" in line]
    shown = "room S1 recurring 2024-01-01 2024-02-01 7 unit 29.95 209.65"
    assert " ".join(row) == shown


def test_a_wrong_expectation_is_told_with_line_expected_and_got(run, room):
    path = room("quantity: 7, amount: 209.65", "quantity: 7, amount: 209.66")
    answer = run("run", path)
    assert answer.exit_code == 1
    assert answer.stderr == (
        f"different: {path}:25: invoice of ACME: line charge room subscription S1 kind recurring "
        "from 2024-01-01 to 2024-02-01 quantity 7 amount 209.65: amount: expected 209.66, "
        "got 209.65\n"
    )


def test_an_invoice_nobody_expects_is_told(run, room):
    text = ROOM[: ROOM.index("      invoices:")]
    path = room()
    path.write_text(text + "      invoices: []\n", encoding="utf-8")
    answer = run("run", path)
    assert answer.exit_code == 1
    assert "invoice not expected: expected nothing, got ACME invoice 209.65 USD" in answer.stderr


def test_json_tells_the_same_twice(run, room):
    path = room("total: 209.65", "total: 1.00")
    first, second = run("run", path, "--json"), run("run", path, "--json")
    assert first.stdout == second.stdout
    assert first.exit_code == 1
    [told] = json.loads(first.stdout)
    assert told["status"] == "different"
    assert told["steps"][0]["invoices"][0]["total"] == "209.65"
    assert told["differences"] == [f"{path}:22: invoice of ACME: total: expected 1.00, got 209.65"]


def test_a_fault_of_the_price_book_is_told_with_its_line_in_the_scenario(run, room):
    path = room("per_unit", "per_seat")
    answer = run("run", path)
    assert answer.exit_code == 2
    assert answer.stderr == (
        f"refused: {path}:13: rate_plans[0].charges[0].prices[0].model: unknown value 'per_seat' "
        "(allowed: flat, per_unit, graduated, volume, package, stairstep, percentage, "
        "graduated_percentage, dynamic, formula)\n"
    )


def test_a_step_that_is_refused_is_told_with_its_line(run, room):
    path = room("plan: rooms", "plan: suites")
    answer = run("run", path)
    assert answer.exit_code == 2
    assert f"refused: {path}:17: " in answer.stderr
    assert "suites" in answer.stderr


def test_bad_files_are_refused_before_anything_is_played(run, room, tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    bad = room("do: subscribe", "do: abscribe", name="bad.yaml")
    answer = run("run", room(), bad, binary, tmp_path / "missing.yaml")
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert f"refused: {bad}:17: timeline[0].do: unknown action 'abscribe'" in answer.stderr
    assert f"refused: {binary}: is not UTF-8 text" in answer.stderr
    assert "missing.yaml: cannot be read: No such file or directory" in answer.stderr


def test_usage_that_is_not_accepted_is_refused(run, tmp_path):
    text = (SCENARIOS / "kb-055.yaml").read_text(encoding="utf-8")
    path = tmp_path / "stranger.yaml"
    path.write_text(text.replace("identifier: meter-4711", "identifier: meter-1"), "utf-8")
    answer = run("run", path)
    assert answer.exit_code == 2
    assert "refused: " in answer.stderr
    assert ": not all usage was accepted: 1 unknown" in answer.stderr


def test_several_files_end_with_a_summary(run, room):
    off = room("total: 209.65", "total: 1.00", name="off.yaml")
    refused = room("plan: rooms", "plan: suites", name="refused.yaml")
    answer = run("run", room(), off, refused)
    assert answer.exit_code == 2
    assert answer.stdout.splitlines()[-1] == ("3 scenarios: 1 as expected, 1 different, 1 refused")


def test_the_printed_example_plays_and_is_the_one_of_the_documentation(run, tmp_path):
    example = run("new").stdout
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")
    assert run("run", path).exit_code == 0
    documented = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    assert documented.split("```yaml\n")[1].split("```")[0].strip() == example.strip()


def test_a_price_book_file_stands_beside_the_scenario(run, room, tmp_path):
    start, end = ROOM.index("price_book:"), ROOM.index("accounts:")
    book = "\n".join(line[2:] for line in ROOM[start:end].splitlines()[1:])
    (tmp_path / "prices.yaml").write_text(book, encoding="utf-8")
    path = room()
    path.write_text(ROOM[:start] + "price_book_file: prices.yaml\n" + ROOM[end:], encoding="utf-8")
    assert run("run", path).exit_code == 0
    path.write_text(ROOM[:start] + "price_book_file: none.yaml\n" + ROOM[end:], encoding="utf-8")
    answer = run("run", path)
    assert answer.exit_code == 2
    assert f"{path}:2: price_book_file: 'none.yaml' cannot be read" in answer.stderr
