"""``counterfoil simulate``: table, JSON, CSV and chart of what a draft would have changed."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.furnishing import Furnishings
from tests.interfaces.cli.desk import Run, at_the_desk_of, run_all

from counterfoil.bootstrap import Organisation

BOOK = """\
products: [{id: conf, name: Conferencing}]
meters: [{id: calls, name: Calls, unit: second, aggregation: sum}]
rate_plans:
  - id: plan
    product: conf
    name: Calls
    charges:
      - {id: calls, name: Calls, kind: usage, meter: calls, unit: second,
         prices: [{currency: USD, model: per_unit, amount: 0.05}]}
"""
USAGE = """\
{"specversion":"1.0","id":"1","source":"s","type":"calls","subject":"4711","time":"2026-07-01T09:00:00Z","data":{"quantity":100}}
{"specversion":"1.0","id":"2","source":"s","type":"calls","subject":"4711","time":"2026-08-01T09:00:00Z","data":{"quantity":60}}
"""


def furnish(organisation: Organisation) -> None:
    """100 calls in July and 60 in August, billed."""
    with at_the_desk_of(organisation) as run:
        Path("book.yaml").write_text(BOOK, encoding="utf-8")
        Path("draft.yaml").write_text(BOOK.replace("0.05", "0.07"), encoding="utf-8")
        Path("calls.jsonl").write_text(USAGE, encoding="utf-8")
        run_all(
            run,
            ("prices", "load", "book.yaml"),
            ("accounts", "create", "ACME", "--name", "Acme", "--currency", "USD"),
            (
                *("subscriptions", "activate", "S-1", "--account", "ACME", "--rate-plan", "plan"),
                *("--start", "2026-07-01", "--identifier", "4711"),
            ),
            ("usage", "import", "calls.jsonl", "--collector", "cloudevents"),
            ("bills", "run", "2026-09-01"),
        )


@pytest.fixture
def run(furnishings: Furnishings) -> Iterator[Run]:
    with furnishings.copy(furnish) as organisation, at_the_desk_of(organisation) as run:
        yield run


def test_the_report_as_json(run: Run) -> None:
    answer = run("simulate", "draft.yaml", "--from", "2026-07", "--to", "2026-08", "--json")
    report = json.loads(answer.stdout)
    amounts = {
        "currency": "USD",
        "billed": "8.00",
        "present": "8.00",
        "draft": "11.20",
        "change": "3.20",
        "change_percent": "40.0",
        "present_discount": "0.00",
        "draft_discount": "0.00",
        "present_commitment": "0.00",
        "draft_commitment": "0.00",
        "present_prepaid": "0.00",
        "draft_prepaid": "0.00",
    }
    assert report == {
        "from": "2026-07-01",
        "to_before": "2026-09-01",
        "accounts_rated": 1,
        "totals": [amounts],
        "products": [{"product": "conf", "charge": "calls", **amounts}],
        "accounts": [{"account": "ACME", "name": "Acme", **amounts}],
        "problems": [],
    }
    assert run("prices", "list").stdout.count("0.05") == 1


def test_the_report_for_people_has_bars(run: Run) -> None:
    answer = run("simulate", "draft.yaml", "--from", "2026-07-01", "--to", "2026-07-31")
    assert answer.exit_code == 0, answer.output
    assert "+2.00 (+40.0 %)" in answer.stdout
    assert "█" * 24 in answer.stdout
    nothing = run("simulate", "draft.yaml", "--from", "2020-01", "--to", "2020-01")
    assert "No cycles that begin from 2020-01-01 to before 2020-02-01 were rated" in nothing.stdout


def test_every_line_as_csv(run: Run) -> None:
    answer = run(
        *("simulate", "draft.yaml", "--from", "2026-07", "--to", "2026-08"),
        *("--account", "ACME", "--csv", "lines.csv"),
    )
    assert answer.exit_code == 0, answer.output
    rows = list(csv.DictReader(Path("lines.csv").read_text("utf-8").splitlines()))
    assert [(row["subscription"], row["cycle_start"], row["change"]) for row in rows] == [
        ("S-1", "2026-07-01", "2.0000"),
        ("S-1", "2026-08-01", "1.2000"),
    ]


@pytest.mark.parametrize(
    ("name", "start"), [("c.svg", b"<svg"), ("c.png", b"\x89PNG"), ("c.html", b"<!DOCTYPE html>")]
)
def test_the_chart(run: Run, name: str, start: bytes) -> None:
    answer = run("simulate", "draft.yaml", "--from", "2026-07", "--to", "2026-08", "--chart", name)
    assert answer.exit_code == 0, answer.output
    assert Path(name).read_bytes().lstrip().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "July", "--to", "2026-08"), "neither a month such as 2026-01 nor a day"),
        (("--from", "2026-09", "--to", "2026-08"), "before the first one"),
        (("--from", "2026-07", "--to", "2026-08", "--account", "NOBODY"), "there is no account"),
        (("--from", "2026-07", "--to", "2026-08", "--template", "gold"), "no pricing template"),
        (("--from", "2026-07", "--to", "2026-08", "--chart", "c.gif"), "allowed: .svg"),
    ],
)
def test_what_cannot_be_simulated(run: Run, arguments: tuple[str, ...], said: str) -> None:
    answer = run("simulate", "draft.yaml", *arguments)
    assert answer.exit_code == 2, answer.output
    assert said in answer.output
