"""Records into files that spreadsheets show as they are and an import reads again."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata.access import (
    EVERY_ROW,
    Access,
    Condition,
    EntityAccess,
)
from counterfoil.platform.model.applying import apply_change_set
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.transfer.exporting import Export, as_text, export_records, harmless
from counterfoil.platform.transfer.importing import Import, import_records
from counterfoil.platform.transfer.tables import open_table

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
NAMES = (
    "=1+1",
    "+49 30 1234",
    "-5",
    "@SUM(A1)",
    "\tTab",
    "'=quoted",
    "'plain",
    'say "hi", ok',
    "a\nb",
)


@pytest.fixture
def company(database: Database) -> Database:
    with database.transaction(now=NOW) as uow:
        head = uow.create("account", {"external_id": "HEAD", "name": "Head"})["id"]
        rows = [
            {"external_id": f"A-{n}", "name": name, "parent_id": head, "pool_node": n % 2 == 0}
            for n, name in enumerate(NAMES)
        ]
        uow.create_many("account", rows)
        commitments = {"kind": "minimum", "currency": "EUR", "scope": "account", "name": "M"}
        amounts = {"M-1": "0.10", "M-2": "-0", "M-3": "9999999999999999.9999"}
        uow.create_many(
            "commitment",
            [
                {
                    **commitments,
                    "external_id": name,
                    "amount": amount,
                    "account_id": head,
                    "start_date": "2026-01-01",
                }
                for name, amount in amounts.items()
            ],
        )
    return database


def export(database: Database, entity: str, path: Path, *, access=None, **more: object) -> int:
    wanted = Export(entity=entity, **more)  # type: ignore[arg-type]
    with database.rehearsal(now=NOW, **({"access": access} if access else {})) as uow:
        return export_records(uow, wanted, path, path.suffix[1:])


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_no_cell_of_a_csv_file_is_a_formula(company: Database, tmp_path: Path):
    path = tmp_path / "accounts.csv"
    assert export(company, "account", path) == 10
    header, _, *rows = lines(path)
    assert header == [
        "external_id",
        "name",
        "parent.external_id",
        "pricing_template.external_id",
        "price_region.external_id",
        "status",
        "pool_node",
    ]
    assert [row[1] for row in rows] == [
        "'=1+1",
        "'+49 30 1234",
        "'-5",
        "'@SUM(A1)",
        "'\tTab",
        "''=quoted",
        "'plain",
        'say "hi", ok',
        "a\nb",
    ]
    assert rows[0][2:] == ["HEAD", "", "", "active", "true"]


def test_no_cell_of_a_workbook_is_a_formula(company: Database, tmp_path: Path):
    path = tmp_path / "accounts.xlsx"
    export(company, "account", path)
    sheet = openpyxl.load_workbook(path).active
    cells = [row[1] for row in sheet.iter_rows(min_row=3)]
    assert [cell.value for cell in cells] == list(NAMES)
    assert {cell.data_type for cell in cells} == {"s"}
    assert cells[0].quotePrefix
    assert sheet.cell(3, 7).value is True


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_what_was_exported_is_imported_elsewhere_and_the_same(
    company: Database, server: Settings, tmp_path: Path, kind: str
):
    files = {one: tmp_path / f"{one}.{kind}" for one in ("account", "commitment")}
    for entity, path in files.items():
        export(company, entity, path)
        again = import_records(company, path, Import(entity=entity), now=NOW)
        assert (again.created, again.updated, again.refused) == (0, 0, 0), again.problems
    with scratch_organisation(server) as other:
        for entity, path in files.items():
            done = import_records(other.database, path, Import(entity=entity), now=NOW)
            assert done.refused == 0, done.problems
            copy = tmp_path / f"copy-{entity}.csv"
            first = tmp_path / f"first-{entity}.csv"
            export(other.database, entity, copy)
            export(company, entity, first)
            assert lines(copy) == lines(first)
    if kind == "csv":
        amounts = [row[3] for row in lines(files["commitment"])[1:]]
        assert amounts == ["0.1", "0", "9999999999999999.9999"]


def test_only_what_may_be_read_is_exported(company: Database, tmp_path: Path):
    path = tmp_path / "accounts.csv"
    only_head = ((Condition("external_id", "eq", "HEAD"),),)
    access = Access(
        entities={
            "account": EntityAccess(rows={"read": only_head}, unreadable=frozenset({"name"})),
            "commitment": EntityAccess(rows={"read": EVERY_ROW}),
        }
    )
    assert export(company, "account", path, access=access) == 1
    assert "name" not in lines(path)[0]
    with pytest.raises(Refused):
        export(company, "account", path, access=access, fields=("name",))
    with pytest.raises(Refused):
        export(company, "account", path, access=access, where=Filter("name", "eq", "Head"))
    with pytest.raises(Refused):
        export(company, "site", path, access=access)


def test_fields_filters_and_order_are_chosen(company: Database, tmp_path: Path):
    path = tmp_path / "some.csv"
    written = export(
        company,
        "account",
        path,
        fields=("external_id", "parent.name"),
        where=Filter("parent.name", "eq", "Head"),
        sort=("-external_id",),
    )
    assert written == 9
    assert lines(path)[:2] == [["external_id", "parent.name"], ["A-8", "Head"]]
    with pytest.raises(Refused) as refused, company.rehearsal(now=NOW) as uow:
        export_records(uow, Export(entity="account"), path, "pdf")
    assert refused.value.problems[0].allowed == ("csv", "xlsx")


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_and_begins_no_formula(tmp_path: Path, text: str):
    path = tmp_path / "text.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["a", "b"], [harmless(as_text(text)), "x"]])
    assert harmless(text)[:1] not in {"=", "+", "-", "@", "\t", "\r"}
    with open_table(path) as table:
        (row,) = table.rows
    assert row.cells[0] == text


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path) -> Iterator[None]:
    yield
    for path in tmp_path.iterdir():
        path.unlink()


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_documents_and_huge_texts_come_back_as_they_went(
    database: Database, tmp_path: Path, kind: str
):
    longest = 1_000_000 if kind == "csv" else 32_000
    change = "change_set: Notes\nfields: {account: {x_note: {kind: text, max_length: 1000000}}}\n"
    apply_change_set(database, change, now=NOW, source="cli")
    note = ('= ;"\r\n' * longest)[:longest]
    with database.transaction(now=NOW) as uow:
        uow.create("account", {"external_id": "LONG", "name": "L", "x_note": note})
        for name, commands in (("two", ["run_bills", "rerate"]), ("none", []), ("all", ["*"])):
            uow.create("access_role", {"external_id": name, "commands": commands})
    for entity, count in (("account", 1), ("access_role", 3)):
        path = tmp_path / f"{entity}.{kind}"
        assert export(database, entity, path) == count
        again = Import(entity=entity, clear_empty=True)
        done = import_records(database, path, again, now=NOW)
        assert (done.unchanged, done.refused, done.problems) == (count, 0, [])
