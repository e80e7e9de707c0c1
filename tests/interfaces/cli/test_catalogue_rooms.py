"""``counterfoil accounts``, ``prices`` and ``subscriptions``: from nothing to a cancelled one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from counterfoil.interfaces.cli.main import app
from counterfoil.platform.records.database import Database

Run = Callable[..., Result]

BOOK = """\
products: [{id: rooms, name: Rooms}]
rate_plans:
  - id: standard
    product: rooms
    name: Standard
    charges:
      - id: room
        name: Managed room
        kind: recurring
        prices:
          - {currency: USD, model: per_unit, amount: 450}
"""


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on the scratch organisation, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", database.url)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def printed(answer: Result) -> list[dict[str, object]]:
    """The rows a command printed as JSON."""
    assert answer.exit_code == 0, answer.output
    rows: list[dict[str, object]] = json.loads(answer.stdout)
    return rows


@pytest.fixture
def sold(run: Run) -> Run:
    """The account ACME and the book of one charge."""
    Path("book.yaml").write_text(BOOK, encoding="utf-8")
    assert run("accounts", "create", "ACME", "--name", "Acme", "--currency", "USD").exit_code == 0
    assert run("prices", "load", "book.yaml").exit_code == 0
    return run


def test_a_tree_of_accounts_is_made_and_shown(run: Run) -> None:
    run("accounts", "create", "ACME", "--name", "Acme", "--currency", "USD")
    run("accounts", "create", "EAST", "--name", "East", "--parent", "ACME")
    tree = printed(run("accounts", "show", "ACME", "--json"))
    assert [(row["depth"], row["account"]) for row in tree] == [(0, "ACME"), (1, "EAST")]
    listed = printed(run("accounts", "list", "--json"))
    assert [(row["external_id"], row["parent"], row["currency"]) for row in listed] == [
        ("ACME", None, "USD"),
        ("EAST", "ACME", None),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--currency", "XXX"), "currency: 'XXX' is not an active ISO 4217 currency"),
        (("--cycle-day", "3"), "--currency: is needed for a billing profile"),
        (("--parent", "NONE"), "account: there is no account 'NONE'"),
    ],
)
def test_a_wrong_account_is_refused(run: Run, arguments: tuple[str, ...], said: str) -> None:
    answer = run("accounts", "create", "X", "--name", "X", *arguments)
    assert answer.exit_code == 2
    assert said in answer.stderr
    assert printed(run("accounts", "list", "--json")) == []


def test_a_price_book_loads_once(sold: Run) -> None:
    again = printed(sold("prices", "load", "book.yaml", "--json"))
    assert {row["records"]: (row["created"], row["unchanged"]) for row in again}["prices"] == (0, 1)
    (price,) = printed(sold("prices", "list", "--charge", "room", "--json"))
    assert (price["layer"], price["model"], price["unit_amount"]) == (
        "list",
        "per_unit",
        "450",
    )


def test_checking_a_price_book_saves_nothing(run: Run) -> None:
    Path("book.yaml").write_text(BOOK, encoding="utf-8")
    assert run("prices", "check", "book.yaml").exit_code == 0
    assert printed(run("prices", "list", "--json")) == []


@pytest.mark.parametrize("command", ["load", "check"])
def test_a_wrong_price_book_is_refused_with_file_line_and_field(run: Run, command: str) -> None:
    wrong = BOOK.replace("USD", "USX") + "pries: []\n"
    Path("book.yaml").write_text(wrong, encoding="utf-8")
    answer = run("prices", command, "book.yaml")
    first, second = answer.stderr.splitlines()
    assert answer.exit_code == 2
    assert first.startswith("refused: book.yaml:11: rate_plans[0].charges[0].prices[0].currency: ")
    assert "(allowed: AED, " in first
    assert second.startswith("refused: book.yaml:12: pries: unknown field (allowed: products, ")
    assert printed(run("prices", "list", "--json")) == []


ENTITLED = """\
entitlements:
  - {id: free, name: Free, quantity: 10, account: ACME, charges: [room]}
"""


@pytest.mark.parametrize("command", ["load", "check"])
def test_incentives_that_fit_nothing_are_refused_by_load_and_check(sold: Run, command: str) -> None:
    Path("free.yaml").write_text(ENTITLED, encoding="utf-8")
    answer = sold("incentives", command, "free.yaml")
    assert answer.exit_code == 2
    assert answer.stderr.startswith(
        "refused: free.yaml:2: entitlements[0].charge: 'room' is no charge of usage that is summed"
    )
    assert printed(sold("incentives", "list", "--json")) == []


def test_a_file_that_is_no_text_or_not_there_is_refused(run: Run) -> None:
    Path("book.yaml").write_bytes(b"products: []\n# \xff\n")
    assert "book.yaml:2: is not UTF-8 text" in run("prices", "load", "book.yaml").stderr
    assert "none.yaml: cannot be read: " in run("prices", "load", "none.yaml").stderr


def test_a_subscription_begins_changes_and_ends(sold: Run) -> None:
    start = ("--account", "ACME", "--rate-plan", "standard", "--start", "2026-01-10")
    sold("subscriptions", "activate", "S-1", *start, "--quantity", "room=2.5")
    change = ("--charge", "room", "--quantity", "4", "--from", "2026-02-01", "--json")
    parts = printed(sold("subscriptions", "change-quantity", "S-1", *change))
    assert [(part["quantity"], part["start_date"], part["end_date"]) for part in parts] == [
        ("2.500000", "2026-01-10", "2026-02-01"),
        ("4.000000", "2026-02-01", None),
    ]
    (ended,) = printed(sold("subscriptions", "cancel", "S-1", "--on", "2026-03-01", "--json"))
    assert ended["end_date"] == "2026-03-01"
    assert printed(sold("subscriptions", "list", "--account", "ACME", "--json")) == [ended]


@pytest.mark.parametrize("quantity", ["room", "=2", "room=two", "room=NaN"])
def test_a_wrong_quantity_is_refused(sold: Run, quantity: str) -> None:
    start = ("--account", "ACME", "--rate-plan", "standard", "--start", "2026-01-10")
    answer = sold("subscriptions", "activate", "S-1", *start, "--quantity", quantity)
    assert answer.exit_code == 2
    assert "--quantity: " in answer.stderr
    assert printed(sold("subscriptions", "list", "--json")) == []


def test_the_price_that_holds_is_explained(sold: Run) -> None:
    told = json.loads(sold("prices", "explain", "ACME", "room", "--json").stdout)
    assert [(row["layer"], row["owner"], row["verdict"]) for row in told["layers"]] == [
        ("account", "ACME", "none"),
        ("list", None, "wins"),
    ]
    assert told["tiers"][0]["unit_amount"] == "450.0000000000"
    shown = sold("price", "explain", "ACME", "room", "--date", "2026-03-01")
    assert "The list has a price without bounds, the most specific on this day." in shown.stdout
    unknown = sold("prices", "explain", "ACME", "chair")
    assert (unknown.exit_code, "there is no charge 'chair'" in unknown.stderr) == (2, True)
