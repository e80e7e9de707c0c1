"""``counterfoil usage`` and ``counterfoil demo-real``: import, mend, compact, bill real usage."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from counterfoil.bootstrap import Organisation, Settings, open_courier
from counterfoil.business.usage.commands import import_file
from counterfoil.business.usage.gathering import accept_cloud_events
from counterfoil.business.usage.watching import UsageWatcher
from counterfoil.interfaces.cli import usage
from counterfoil.interfaces.cli.main import app
from counterfoil.interfaces.cli.serve import background_tasks
from counterfoil.interfaces.worker.background import in_background
from counterfoil.platform.records.database import Database

Run = Callable[..., Result]

BOOK = """\
products: [{id: conf, name: Conferencing}]
meters: [{id: calls, name: Calls, unit: second, aggregation: sum}]
rate_plans:
  - id: plan
    product: conf
    name: Calls
    charges:
      - {id: calls, name: Calls, kind: usage, meter: calls, unit: second,
         prices: [{currency: USD, model: per_unit, amount: 1}]}
"""

COLLECTOR = """\
id: bridge
name: Bridge
format: csv
fields: {event_id: id, time: at, identifier: who, meter: {constant: calls}, quantity: seconds}
"""


CALL = (
    b'{"specversion": "1.0", "id": "1", "source": "/bridge", "type": "calls", "subject": "4711", '
    b'"time": "2026-07-01T09:00:00Z"}'
)


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on an organisation with one subscriber, 4711, and one collector."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", database.url)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    Path("book.yaml").write_text(BOOK, encoding="utf-8")
    Path("bridge.yaml").write_text(COLLECTOR, encoding="utf-8")
    Path("calls.csv").write_text(
        "id,at,who,seconds\n1,2026-07-01 09:00:00,4711,60\n2,2026-07-01 09:00:00,4711,x\n"
        "3,2026-07-01 09:00:00,4712,60\n",
        encoding="utf-8",
    )
    for arguments in (
        ("prices", "load", "book.yaml"),
        ("accounts", "create", "ACME", "--name", "Acme", "--currency", "USD"),
        (
            *("subscriptions", "activate", "S-1", "--account", "ACME", "--rate-plan", "plan"),
            *("--start", "2026-07-01", "--identifier", "4711"),
        ),
        ("usage", "collectors", "load", "bridge.yaml"),
    ):
        answer = call(*arguments)
        assert answer.exit_code == 0, answer.output
    return call


def printed(answer: Result) -> object:
    """What a command printed as JSON."""
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def test_import_twice_mend_and_dismiss(run):
    load = ("usage", "import", "calls.csv", "--collector", "bridge", "--json")
    first = printed(run(*load))
    assert (first["accepted"], first["rejected"]) == (1, 2)
    assert first["rejected_by_reason"] == {"unknown_subscriber": 1, "unparsable_quantity": 1}
    assert printed(run(*load))["already_imported"] is True
    listed = {
        row["reason"]: row["id"] for row in printed(run("usage", "rejected", "list", "--json"))
    }
    wrong = str(listed["unparsable_quantity"])
    mended = printed(run("usage", "rejected", "mend", wrong, "seconds=45", "--json"))
    assert mended["accepted"] == 1
    again = run("usage", "rejected", "mend", wrong, "seconds=45")
    assert again.exit_code == 2
    assert "no open rejected record" in again.stderr
    assert printed(run("usage", "rejected", "rerun", "--json"))["rejected"] == 1
    dismissed = run("usage", "rejected", "dismiss", str(listed["unknown_subscriber"]), "--json")
    assert printed(dismissed) == {"dismissed": 1}
    assert printed(run("usage", "rejected", "list", "--json")) == []
    batches = printed(run("usage", "batches", "--json"))
    assert [batch["accepted"] for batch in batches] == [0, 1, 1]
    assert printed(run("usage", "compact", "--json"))["events"] == 2


def test_collectors_are_listed_shown_and_refused_with_their_line(run):
    listed = printed(run("usage", "collectors", "list", "--json"))
    assert [row["id"] for row in listed] == ["bridge", "cloudevents", "focus"]
    shown = run("usage", "collectors", "show", "bridge")
    Path("again.yaml").write_text(shown.stdout, encoding="utf-8")
    assert run("usage", "collectors", "load", "again.yaml").exit_code == 0
    Path("bad.yaml").write_text(COLLECTOR + "time_zone: Mars\n", encoding="utf-8")
    refused = run("usage", "collectors", "load", "bad.yaml")
    assert refused.exit_code == 2
    assert "bad.yaml:5: time_zone: unknown time zone 'Mars'" in refused.stderr


def test_wrong_names_are_refused(run):
    assert run("usage", "import", "calls.csv", "--collector", "nix").exit_code == 2
    assert run("usage", "import", "none.csv", "--collector", "bridge").exit_code == 2
    assert run("usage", "rejected", "mend", "1", "seconds").exit_code == 2
    assert run("usage", "rejected", "dismiss").exit_code == 2
    assert run("usage", "rejected", "list", "--status", "lost").exit_code == 2


@pytest.mark.slow
def test_real_usage_is_rated_to_what_was_billed(run):
    answer = printed(run("demo-real", "--json"))
    compared = {(row["provider"], row["pricing_category"]): row for row in answer["compared"]}
    standard = compared["AWS", "Standard"]
    assert (standard["rated_rows"], standard["equal_to_billed_cost"]) == (79, 79)
    committed = compared["AWS", "Committed"]
    assert (committed["equal_to_list_cost"], committed["billed_nothing"]) == (2, 2)
    assert answer["records"]["rejected: not_usage"] == 2
    assert answer["invoices_added"] == answer["totals"][0]["invoices"] > 0


@pytest.mark.slow
def test_real_usage_kept_and_billed_again_adds_nothing(run):
    assert printed(run("demo-real", "--keep", "--json"))["invoices_added"] > 0
    again = printed(run("demo-real", "--keep", "--json"))
    assert (again["already_imported"], again["invoices_added"]) == (True, 0)


def test_watchers_look_at_the_end_of_an_import_and_of_a_rerun(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    look = UsageWatcher("thresholds", lambda _d, _s, ids, _now: seen.append(list(ids)))
    monkeypatch.setattr(usage, "USAGE_WATCHERS", (look,))
    run("usage", "import", "calls.csv", "--collector", "bridge")
    assert len(seen) == 1
    (rejected, _) = json.loads(run("usage", "rejected", "list", "--json").stdout)
    mended = run("usage", "rejected", "mend", str(rejected["id"]), "seconds=60")
    assert mended.exit_code == 0, mended.output
    assert seen == [seen[0]] * 2
    assert run("usage", "import", "calls.csv", "--collector", "bridge").exit_code == 0
    assert len(seen) == 2


def test_a_server_lets_watchers_look_every_second(
    run: Run, organisation: Organisation, server: Settings
) -> None:
    seen = threading.Event()
    watcher = UsageWatcher("thresholds", lambda *_: seen.set())
    with open_courier(organisation, server) as courier:
        tasks = background_tasks(organisation, courier, [watcher])
        (watching,) = [task for task in tasks if task.name == "usage watcher thresholds"]
        assert watching.interval == 1.0
        with in_background(tasks):
            database, store = organisation.database, organisation.usage_store
            import_file(database, store, "bridge", Path("calls.csv"), now=organisation.clock())
            assert seen.wait(30)


def test_a_server_looks_whether_events_over_http_repeat_earlier_ones(
    run: Run, organisation: Organisation, server: Settings
) -> None:
    database, store = organisation.database, organisation.usage_store
    accept_cloud_events(database, store, CALL, now=organisation.clock())
    with open_courier(organisation, server) as courier:
        tasks = {task.name: task for task in background_tasks(organisation, courier)}
    assert tasks["repeats in usage"].step() is False
    with database.transaction(now=organisation.clock()) as uow:
        (segment,) = uow.query("SELECT events, first_only FROM usage_segment")
    assert segment == {"events": 1, "first_only": True}


def test_current_charges_are_shown_with_the_tier_reached(run):
    Path("tiers.yaml").write_text(
        "prices: [{account: ACME, charge: calls, currency: USD, model: graduated, included: 100,"
        " tiers: [{up_to: 100, amount: 0.5}, {amount: 0.2}]}]",
        encoding="utf-8",
    )
    today = datetime.now(UTC).isoformat()
    Path("today.csv").write_text(f"id,at,who,seconds\n9,{today},4711,150\n", encoding="utf-8")
    assert run("prices", "load", "tiers.yaml").exit_code == 0
    assert run("usage", "import", "today.csv", "--collector", "bridge").exit_code == 0
    found = printed(run("usage", "current", "ACME", "--json"))
    charges = [charge for charge in found["charges"] if charge["state"] == "running"]
    assert [(c["charge"], c["amount"], c["events"]) for c in charges] == [("calls", "25.00", 1)]
    shown = run("usage", "current", "ACME").output
    assert "██████████ 100 of 100" in shown
    assert "█████░░░░░ 0 to 100" in shown
    assert "running 25.00" in shown
    refused = run("usage", "current", "NOBODY")
    assert (refused.exit_code, "there is no account" in refused.output) == (2, True)


def test_what_is_included_is_shown_for_an_account(run):
    assert printed(run("usage", "included", "ACME", "--json")) == []
    refused = run("usage", "included", "NOBODY")
    assert refused.exit_code == 2
    assert "there is no account 'NOBODY'" in refused.stderr


def test_what_was_spent_is_shown_for_an_account(run):
    assert printed(run("usage", "spending", "ACME", "--json")) == []
    refused = run("usage", "spending", "NOBODY")
    assert refused.exit_code == 2
    assert "there is no account 'NOBODY'" in refused.stderr
