"""The demo end to end in a scratch organisation: what was planted is found, nothing comes twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.interfaces.demo.parameters import DemoParameters, settle_parameters
from counterfoil.interfaces.demo.run import DemoRun, Outcome, Progress

OCTOBER = date(2026, 10, 1)
NOVEMBER = date(2026, 11, 1)


@contextmanager
def unwatched(_title: str) -> Iterator[Progress]:
    yield lambda _done, _whole: None


def run(house: Organisation, month: date = OCTOBER) -> Outcome:
    settle_parameters(house.home / "demo", 40, 3, month)
    parameters = DemoParameters(accounts=40, seed=3, first_month=OCTOBER, month=month)
    return DemoRun(house, parameters, unwatched).run()


@pytest.fixture(scope="module")
def house(server: Settings) -> Iterator[Organisation]:
    with scratch_organisation(server) as scratch:
        yield scratch


@pytest.fixture(scope="module")
def outcome(house: Organisation) -> Outcome:
    return run(house)


def facts(outcome: Outcome, title: str) -> dict[str, object]:
    return next(dict(stage.facts) for stage in outcome.stages if stage.title == title)


def test_every_planted_defect_is_found_and_nothing_else(outcome: Outcome) -> None:
    assert [(d.collector, d.kind, d.planted) for d in outcome.defects] == [
        (d.collector, d.kind, d.found) for d in outcome.defects
    ]
    assert all(defect.planted > 0 for defect in outcome.defects)
    usage = facts(outcome, "Import usage")
    assert usage["records"] == facts(outcome, "Write usage files")["records"]
    rejected = sum(d.planted for d in outcome.defects if d.kind != "duplicate")
    duplicate = sum(d.planted for d in outcome.defects if d.kind == "duplicate")
    assert (usage["rejected"], usage["duplicate"]) == (rejected, duplicate)
    assert usage["accepted"] == int(str(usage["records"])) - rejected - duplicate


def test_every_billed_account_gets_an_invoice(house: Organisation, outcome: Outcome) -> None:
    bill = facts(outcome, "Bill the month")
    assert bill["problems"] == 0
    assert bill["invoices"] == bill["accounts"]
    assert sum(count for _, count, _ in outcome.totals) == bill["invoices"]
    assert all(total > 0 for _, _, total in outcome.totals)
    assert len(outcome.printed) == min(50, int(str(bill["invoices"])))
    assert all(path.read_bytes().startswith(b"%PDF") for path in outcome.printed)


def test_late_usage_is_billed_on_lines_of_its_own_month(
    house: Organisation, outcome: Outcome
) -> None:
    assert outcome.late_arrivals == 5
    with house.database.transaction(now=house.clock()) as uow:
        rows = uow.query(
            "SELECT r.events, l.service_start FROM rated_charge r "
            "JOIN invoice_line l ON l.rated_charge_id = r.id "
            "WHERE r.kind = 'usage' AND r.service_end <= :first AND r.events > 0",
            first=OCTOBER,
        )
    assert sum(int(str(row["events"])) for row in rows) == 5
    assert {row["service_start"] for row in rows} == {date(2026, 9, 1)}
    assert outcome.late_lines == len(rows)


def test_one_line_is_explained(outcome: Outcome) -> None:
    explained = outcome.explanation
    assert explained.rated_charge["kind"] == "usage"
    assert len(explained.events) == min(1000, int(str(explained.rated_charge["events"])))
    assert sum(bool(layer["wins"]) for layer in explained.layers) == 1
    assert len(explained.sentences) >= 3


def test_a_new_customer_goes_from_lead_to_invoice(house: Organisation, outcome: Outcome) -> None:
    sale = facts(outcome, "Sell to a new customer")
    assert {name: sale[name] for name in ("sites", "quote lines", "tasks", "subscriptions")} == {
        "sites": 12,
        "quote lines": 40,
        "tasks": 28,
        "subscriptions": 40,
    }
    assert outcome.quote.read_bytes().startswith(b"%PDF")
    with house.database.transaction(now=house.clock()) as uow:
        (quote,) = uow.query("SELECT status, invoices FROM quote")
        lead = uow.find("lead", external_id="globex") or {}
    assert (quote["status"], lead["status"]) == ("converted", "converted")
    # What was quoted for the first day is what was invoiced on it.
    assert Decimal(quote["invoices"][0]["total"]) == sale["USD invoiced"]


def test_running_again_adds_nothing(house: Organisation, outcome: Outcome) -> None:
    before = contents(house)
    again = run(house)
    assert again.nothing_new
    assert not outcome.nothing_new
    assert again.totals == outcome.totals
    assert again.defects == outcome.defects
    assert again.printed == outcome.printed
    assert contents(house) == before


def contents(house: Organisation) -> dict[str, object]:
    tables = (
        "account", "site", "contact", "billing_profile", "price", "subscription",
        "subscription_charge", "usage_batch", "rejected_usage", "invoice", "invoice_line",
        "rated_charge", "quote", "quote_line", "order", "order_line", "provisioning_task",
        "discount",
    )  # fmt: skip
    with house.database.transaction(now=house.clock()) as uow:
        return {
            table: uow.query(f'SELECT count(*) AS n, sum(row_version) AS v FROM "{table}"')
            for table in tables
        }


def test_another_seed_or_an_earlier_month_is_refused(tmp_path: Path) -> None:
    settled = settle_parameters(tmp_path, 40, 3, OCTOBER)
    assert settle_parameters(tmp_path, 40, 3, NOVEMBER) == replace(settled, month=NOVEMBER)
    for other in ((41, 3, OCTOBER), (40, 4, OCTOBER), (40, 3, date(2026, 9, 1))):
        with pytest.raises(Refused) as refused:
            settle_parameters(tmp_path, *other)
        assert [problem.code for problem in refused.value.problems] == ["other_demo"]
    assert settle_parameters(tmp_path, 40, 3, OCTOBER) == settled


def test_the_next_month_is_billed_in_the_same_organisation(
    house: Organisation, outcome: Outcome
) -> None:
    november = run(house, NOVEMBER)
    assert facts(november, "Bill the month")["problems"] == 0
    assert [(d.kind, d.planted) for d in november.defects] == [
        (d.kind, d.found) for d in november.defects
    ]
    assert november.totals != outcome.totals
    assert run(house).nothing_new
