"""Printing stored invoices into a folder, and finding them by number or id."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.business.documents.commands import render_invoices
from counterfoil.business.documents.queries import find_invoices, list_invoices, read_document
from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
OCTOBER = {"service_start": date(2026, 10, 1), "service_end": date(2026, 11, 1)}


def make(uow: UnitOfWork, entity: str, **values: object) -> int:
    return int(str(uow.create(entity, values, by_command=True)["id"]))


def subscribe(uow: UnitOfWork) -> tuple[int, int]:
    """An account with one subscribed charge: the ids of both."""
    account = make(uow, "account", external_id="HALVORSEN", name="Halvorsen")
    product = make(uow, "product", external_id="conferencing", name="Conferencing")
    plan = make(uow, "rate_plan", external_id="standard", product_id=product, name="Standard")
    charge = make(
        uow, "charge", external_id="room", rate_plan_id=plan, name="Room", kind="recurring",
        timing="in_advance", period_unit="month", period_count=1, unit="room",
    )  # fmt: skip
    subscription = make(
        uow, "subscription", external_id="S-1", account_id=account, rate_plan_id=plan,
        start_date=date(2026, 10, 1),
    )  # fmt: skip
    return account, make(
        uow, "subscription_charge", subscription_id=subscription, charge_id=charge,
        quantity=Decimal(2), start_date=date(2026, 10, 1),
    )  # fmt: skip


def bill(uow: UnitOfWork, snapshot: object, numbers: list[str | None]) -> list[int]:
    """One invoice of one line for each number; a draft where it is None."""
    account, subscribed = subscribe(uow)
    run = make(uow, "bill_run", billing_date=date(2026, 11, 1), state="finished")
    return [
        bill_one(uow, snapshot, account, subscribed, run, number, part)
        for part, number in enumerate(numbers)
    ]


def bill_one(
    uow: UnitOfWork, snapshot: object, account: int, subscribed: int, run: int,
    number: str | None, part: int,
) -> int:  # fmt: skip
    invoice = make(
        uow, "invoice", number=number, kind="invoice", account_id=account, bill_run_id=run,
        state="final" if number else "draft", currency="USD", invoice_date=date(2026, 11, 1),
        due_date=date(2026, 12, 1), total=Decimal(300), usage_segment_seen=0, snapshot=snapshot,
    )  # fmt: skip
    rated = make(
        uow, "rated_charge", invoice_id=invoice, subscription_charge_id=subscribed,
        kind="recurring", cycle_start=date(2026, 10, 1), cycle_end=date(2026, 11, 1), part=part,
        quantity=Decimal(2), quantity_before=Decimal(0), included_quantity=Decimal(0), events=0,
        days=15, cycle_days=31, list_amount=Decimal(300), exact_amount=Decimal(300),
        amount=Decimal(300), currency="USD", **OCTOBER,
        steps=[{"quantity": "2", "unit_amount": "310", "flat_amount": "0", "amount": "620"}],
    )  # fmt: skip
    make(
        uow, "invoice_line", invoice_id=invoice, position=1, rated_charge_id=rated,
        account_name="Halvorsen", product_name="Conferencing", description="Room",
        quantity=Decimal(2), unit="room", unit_amount=Decimal(310), amount=Decimal(300), **OCTOBER,
    )  # fmt: skip
    return invoice


@pytest.fixture
def snapshot(make_invoice) -> object:
    return make_invoice()[0]["snapshot"]


def test_invoices_are_printed_into_a_folder_in_the_order_asked(
    database: Database, snapshot: object, tmp_path: Path
):
    with database.transaction(now=NOW) as uow:
        first, second, draft = bill(uow, snapshot, ["INV-1", "INV/2", None])
    seen: list[tuple[int, int]] = []
    folder = tmp_path / "new" / "folder"
    paths = render_invoices(
        database, [draft, second, first], folder, now=NOW, progress=lambda *at: seen.append(at)
    )
    assert [path.name for path in paths] == [f"draft-{draft}.pdf", "INV_2.pdf", "INV-1.pdf"]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert seen[-1] == (3, 3)


def test_worker_processes_print_the_same_bytes(
    database: Database, snapshot: object, tmp_path: Path
):
    with database.transaction(now=NOW) as uow:
        ids = bill(uow, snapshot, [f"INV-{number}" for number in range(12)])
    alone = render_invoices(database, ids, tmp_path / "alone", now=NOW)
    shared = render_invoices(database, ids, tmp_path / "shared", now=NOW, workers=2)
    assert [path.read_bytes() for path in alone] == [path.read_bytes() for path in shared]


def test_a_document_knows_how_its_lines_were_priced(database: Database, snapshot: object):
    with database.transaction(now=NOW) as uow:
        bill(uow, snapshot, ["INV-1"])
        invoice, lines = read_document(uow, "INV-1")
    assert invoice["number"] == "INV-1"
    assert (lines[0]["days"], lines[0]["cycle_days"]) == (15, 31)
    assert lines[0]["steps"][0]["unit_amount"] == "310"


def test_an_invoice_is_found_by_number_or_id_and_a_missing_one_is_named(
    database: Database, snapshot: object
):
    with database.transaction(now=NOW) as uow:
        first, draft = bill(uow, snapshot, ["INV-1", None])
        assert find_invoices(uow, ["INV-1", str(draft), f"draft-{draft}", str(first)]) == [
            first, draft, draft, first,
        ]  # fmt: skip
        with pytest.raises(Refused, match=r"no invoice .INV-9.") as refused:
            find_invoices(uow, ["INV-1", "INV-9", "99999"])
    assert (refused.value.status, len(refused.value.problems)) == (404, 2)


def test_the_list_is_filtered_by_account_state_and_date(database: Database, snapshot: object):
    with database.transaction(now=NOW) as uow:
        bill(uow, snapshot, ["INV-1", None])
        assert [row["number"] for row in list_invoices(uow)] == ["INV-1", None]
        assert [row["number"] for row in list_invoices(uow, state="final")] == ["INV-1"]
        assert list_invoices(uow, account="NOBODY") == []
        assert len(list_invoices(uow, account="HALVORSEN", on_date=date(2026, 11, 1))) == 2
        assert len(list_invoices(uow, limit=1)) == 1
