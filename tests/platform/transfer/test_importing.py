"""Files into records: whatever spreadsheet they come from, as often as one likes."""

from datetime import UTC, date, datetime
from pathlib import Path

import openpyxl
import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.metadata.access import EVERY_ROW, OPERATIONS, Access, EntityAccess
from counterfoil.platform.records.database import Database
from counterfoil.platform.transfer.importing import Import, Imported, _chunks, import_records
from counterfoil.platform.transfer.tables import open_table

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

ACCOUNTS = "external_id,name,parent.external_id\nEAST,East,HEAD\nHEAD,Head,\nWEST,West,HEAD\n"


def take(database: Database, path: Path, entity: str = "account", **options: object) -> Imported:
    wanted = Import(entity=entity, **options)  # type: ignore[arg-type]
    return import_records(database, path, wanted, now=NOW)


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def records(database: Database, entity: str = "account") -> dict[str, Record]:
    with database.transaction(now=NOW) as uow:
        found = uow.list(entity, limit=1000).records
    return {str(one.get("external_id") or one["id"]): one for one in found}


def changes(database: Database) -> int:
    with database.transaction(now=NOW) as uow:
        return int(uow.query("SELECT count(*) AS n FROM record_change")[0]["n"])


def told(done: Imported) -> list[tuple[int | None, str, str]]:
    return [(one.line, one.field, one.code) for one in done.problems]


def counts(done: Imported) -> tuple[int, int, int, int, int]:
    return (done.read, done.created, done.updated, done.unchanged, done.refused)


def test_a_file_becomes_records_and_the_same_again_changes_nothing(
    database: Database, tmp_path: Path
):
    file = written(tmp_path / "accounts.csv", ACCOUNTS)
    assert counts(take(database, file)) == (3, 3, 0, 0, 0)
    made = records(database)
    assert made["EAST"]["parent_id"] == made["WEST"]["parent_id"] == made["HEAD"]["id"]
    before = changes(database)
    assert counts(take(database, file)) == (3, 0, 0, 3, 0)
    assert changes(database) == before
    with database.transaction(now=NOW) as uow:
        sources = uow.query("SELECT DISTINCT source FROM record_change")
    assert sources == [{"source": "import"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encoding_and_delimiter_are_found_out(
    database: Database, tmp_path: Path, encoding: str, delimiter: str
):
    text = f'external_id{delimiter}"name"\r\nMÜ{delimiter}"Müller{delimiter} ""Söhne"""\r\n'
    done = take(database, written(tmp_path / "a.txt", text, encoding))
    assert counts(done) == (1, 1, 0, 0, 0), done.problems
    assert records(database)["MÜ"]["name"] == f'Müller{delimiter} "Söhne"'


def test_columns_are_mapped_by_name_label_or_mapping(database: Database, tmp_path: Path):
    take(database, written(tmp_path / "accounts.csv", ACCOUNTS))
    text = (
        "Site No;Customer;Name;COUNTRY;Remark;created_at\n"
        "S-1;EAST;Berlin;DE;old;2020-01-01T00:00:00Z\nS-2;NOBODY;Paris;FR;;\n"
    )
    file = written(tmp_path / "sites.csv", text)
    mapping = {"Site No": "external_id", "Customer": "account.external_id", "Remark": None}
    done = take(database, file, "site", mapping=mapping)
    assert done.ignored_columns == ("Remark", "created_at")
    assert told(done) == [(3, "account.external_id", "unknown_reference")]
    assert records(database, "site")["S-1"]["country"] == "DE"

    with pytest.raises(Refused) as refused:
        take(database, file, "site", mapping={"Nothing": "name"})
    assert [(one.code, one.field) for one in refused.value.problems] == [
        ("unknown_column", "Nothing"),
        ("unknown_column", "Site No"),
        ("unknown_column", "Customer"),
        ("unknown_column", "Remark"),
    ]
    assert "account.external_id" in refused.value.problems[1].allowed


def test_the_good_rows_are_saved_and_the_others_told_with_their_places(
    database: Database, tmp_path: Path
):
    text = (
        "external_id,name,status,pool_node\n"
        "A,Alpha,active,yes\n"
        "B,Beta,lost,maybe\n"
        ",Nameless,,\n"
        "\n"
        "C,Gamma\n"
        "A,Again,,\n"
        "D,,,\n"
        'E,"Two\nlines",closed,0\n'
        "F,Phi,shut,no\n"
    )
    done = take(database, written(tmp_path / "accounts.csv", text))
    assert told(done) == [
        (3, "pool_node", "wrong_type"),
        (6, "", "malformed_row"),
        (7, "external_id", "double_key"),
        (4, "external_id", "required"),
        (8, "name", "required"),
        (11, "status", "unknown_choice"),
    ]
    assert done.problems[-1].allowed == ("active", "closed")
    assert str(done.problems[-1]).startswith("accounts.csv:11: status: ")
    assert counts(done) == (8, 2, 0, 0, 6)
    made = records(database)
    assert (made["A"]["pool_node"], made["E"]["pool_node"]) == (True, False)
    assert made["E"]["name"] == "Two\nlines"


def test_all_or_nothing_and_a_dry_run_save_nothing(database: Database, tmp_path: Path):
    good = written(tmp_path / "good.csv", ACCOUNTS)
    bad = written(tmp_path / "bad.csv", ACCOUNTS + "BAD,,\n")
    assert counts(take(database, good, dry_run=True)) == (3, 3, 0, 0, 0)
    assert records(database) == {}
    done = take(database, bad, all_or_nothing=True)
    assert (counts(done), told(done)) == ((4, 0, 0, 0, 1), [(5, "name", "required")])
    assert (records(database), changes(database)) == ({}, 0)
    assert counts(take(database, good, all_or_nothing=True)) == (3, 3, 0, 0, 0)
    done = take(database, bad, dry_run=True)
    assert (done.unchanged, done.refused) == (3, 1)


def test_an_empty_cell_leaves_or_clears(database: Database, tmp_path: Path):
    take(database, written(tmp_path / "a.csv", ACCOUNTS))
    file = written(tmp_path / "b.csv", "external_id,parent.external_id,status\nEAST,,closed\n")
    take(database, file)
    assert records(database)["EAST"]["parent_id"] is not None
    take(database, file, clear_empty=True)
    assert records(database)["EAST"]["parent_id"] is None


def test_a_workbook_is_read_with_its_types(database: Database, tmp_path: Path):
    take(database, written(tmp_path / "a.csv", ACCOUNTS))
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(
        ["external_id", "name", "kind", "amount", "currency", "scope", "account", "start_date"]
    )
    sheet.append([1001, "M", "minimum", 0.1, "EUR", "account", "EAST", datetime(2026, 1, 1)])  # noqa: DTZ001
    sheet.append(["M-2", "M", "minimum", 1234567, "EUR", "account", "WEST", "2026-02-01"])
    sheet.append([None] * 8)
    sheet.append(["M-3", "M", "minimum", "x", "EUR", "account", "WEST", True])
    path = tmp_path / "commitments.xlsx"
    book.save(path)
    done = take(database, path, "commitment")
    assert told(done) == [(5, "amount", "wrong_type"), (5, "start_date", "wrong_type")]
    made = records(database, "commitment")
    assert str(made["1001"]["amount"]) == "0.1000"
    assert made["1001"]["start_date"] == date(2026, 1, 1)
    assert str(made["M-2"]["amount"]) == "1234567.0000"
    assert counts(take(database, path, "commitment")) == (3, 0, 0, 2, 1)


def test_another_unique_field_may_tell_records_apart(database: Database, tmp_path: Path):
    take(database, written(tmp_path / "a.csv", ACCOUNTS))
    text = "account,currency,cycle_day\nEAST,EUR,15\nWEST,USD,1\n"
    file = written(tmp_path / "profiles.csv", text)
    assert counts(take(database, file, "billing_profile")) == (2, 2, 0, 0, 0)
    assert counts(take(database, file, "billing_profile", by="account")) == (2, 0, 0, 2, 0)
    with pytest.raises(Refused) as refused:
        take(database, file, "billing_profile", by="currency")
    assert (refused.value.problems[0].code, refused.value.problems[0].allowed) == (
        "not_a_key",
        ("account_id",),
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "missing_header"),
        (b"\n\n", "missing_header"),
        (b"external_id,external_id\n", "double_column"),
        (b"external_id,external id\n", "double_column"),
        (b"name\nAcme\n", "missing_key"),
        (b'external_id,name\nA,"open\n', "malformed_file"),
        (b"external_id,name\nA,\0\n", "not_a_table"),
        (b"PK\x03\x04broken", "malformed_file"),
        (b"\x14\x8d\n", "malformed_file"),
        (b"\xff\xfea", "malformed_file"),
        (b"external_id,nothing\n", "unknown_column"),
    ],
)
def test_a_file_that_is_none_is_refused(
    database: Database, tmp_path: Path, content: bytes, code: str
):
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(Refused) as refused:
        take(database, path)
    assert refused.value.problems[0].code == code
    assert refused.value.problems[0].file == "broken.csv"
    assert records(database) == {}


def test_only_what_is_granted_is_imported(database: Database, tmp_path: Path):
    file = written(tmp_path / "a.csv", "external_id,name,status\nA,Alpha,closed\n")
    read_only = Access(entities={"account": EntityAccess(rows={"read": EVERY_ROW})})
    with pytest.raises(Refused) as refused:
        import_records(database, file, Import(entity="account"), now=NOW, access=read_only)
    assert (refused.value.status, refused.value.problems[0].code) == (403, "not_granted")
    kept_out = EntityAccess(
        rows=dict.fromkeys(OPERATIONS, EVERY_ROW), unwritable=frozenset({"status"})
    )
    done = import_records(
        database,
        file,
        Import(entity="account"),
        now=NOW,
        access=Access(entities={"account": kept_out}),
    )
    assert told(done) == [(2, "status", "not_granted")]
    hidden = Access(
        entities={
            "account": EntityAccess(
                rows=dict.fromkeys(OPERATIONS, EVERY_ROW), unreadable=frozenset({"status"})
            )
        }
    )
    with pytest.raises(Refused) as refused:
        import_records(database, file, Import(entity="account"), now=NOW, access=hidden)
    assert [(one.code, one.field) for one in refused.value.problems] == [
        ("unknown_column", "status")
    ]
    assert "status" not in refused.value.problems[0].allowed
    with pytest.raises(Refused) as refused:
        take(database, file, "invoice")
    assert refused.value.status == 405
    assert records(database) == {}


def test_what_was_saved_before_a_file_breaks_off_is_told(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("counterfoil.platform.transfer.importing.ROWS_PER_CHUNK", 2)
    path = tmp_path / "accounts.csv"
    rows = "".join(f"A-{n},Name\n" for n in range(5))
    path.write_text(f'external_id,name\n{rows}A-6,"open\n')
    done = import_records(database, path, Import(entity="account"), now=NOW)
    assert (done.read, done.created, done.refused) == (4, 4, 1)
    assert [(one.code, one.line, one.file) for one in done.problems] == [
        ("malformed_file", 7, "accounts.csv")
    ]


def test_a_chunk_of_long_cells_has_few_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("counterfoil.platform.transfer.importing.CHARACTERS_PER_CHUNK", 20)
    path = tmp_path / "accounts.csv"
    path.write_text("external_id,name\n" + "".join(f"A-{n},{'x' * 30}\n" for n in range(3)))
    with open_table(path) as table:
        assert [len(chunk) for chunk in _chunks(table.rows)] == [1, 1, 1]


def test_a_workbook_with_more_beside_its_sheets_than_memory_holds_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("counterfoil.platform.transfer.tables.MOST_BESIDE_SHEETS", 1_000)
    path = tmp_path / "accounts.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["external_id", "name"])
    book.save(path)
    with pytest.raises(Refused) as refused:
        import_records(database, path, Import(entity="account"), now=NOW)
    assert (refused.value.problems[0].code, refused.value.status) == ("file_too_large", 413)
