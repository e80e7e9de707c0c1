"""Arrow in and out of PostgreSQL: every value comes back as it went in."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
INSTANTS = pa.timestamp("us", "UTC")
EXACT = pa.decimal128(38, 15)

# Everything PostgreSQL keeps in a text, with the characters of CSV more often than chance.
TEXTS = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
    | st.sampled_from(["\n", "\r", ",", '"', "\\", ".", "\t", " ", "N", "\ufeff"]),
    max_size=20,
)
ROW = st.fixed_dictionaries(
    {
        "name": st.none() | TEXTS,
        "credit": st.none() | st.decimals(-(10**22), 10**22, places=15),
        "cycle_day": st.none() | st.integers(1, 31),
        "since": st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31)),
        "seen_at": st.none() | st.datetimes(datetime(1, 1, 2), timezones=st.just(UTC)),  # noqa: DTZ001
        "active": st.none() | st.booleans(),
    }
)
FEW, MANY = [1], list(range(1, 200))
"""What few ids are asked for is read as rows, and what many are asked for is copied."""
SCHEMA = {
    "name": pa.string(),
    "credit": EXACT,
    "cycle_day": pa.int64(),
    "since": pa.date32(),
    "seen_at": INSTANTS,
    "active": pa.bool_(),
}


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(ROW, max_size=6))
@example(rows=[])
def test_rows_come_back_from_copy_as_they_went_in(customers: Database, undone, rows):
    table = pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in SCHEMA.items()}
    ).append_column("external_id", pa.array([str(i) for i in range(len(rows))], pa.string()))
    with undone(customers) as uow:
        assert uow.copy_in("customer", table) == len(rows)
        columns = ", ".join(table.column_names)
        out = uow.read_arrow(f"SELECT {columns} FROM customer ORDER BY id")
        assert out.schema == table.schema
        assert out.to_pylist() == table.to_pylist()
        some = f"SELECT {columns} FROM customer WHERE row_version = ANY(:versions) ORDER BY id"
        for versions in (FEW, MANY):
            assert uow.read_arrow(some, versions=versions).equals(out)
        single = uow.read_arrow("SELECT name FROM customer ORDER BY id")
        assert single.to_pylist() == table.select(["name"]).to_pylist()
        assert [row["name"] for row in uow.query("SELECT name FROM customer ORDER BY id")] == [
            row["name"] for row in rows
        ]


def test_null_and_the_empty_text_stay_distinct(customers: Database):
    with customers.transaction(now=NOW) as uow:
        out = uow.read_arrow("SELECT * FROM (VALUES ('', 'a'), (NULL, ''), ('', NULL)) AS t(a, b)")
    assert out.to_pylist() == [{"a": "", "b": "a"}, {"a": None, "b": ""}, {"a": "", "b": None}]


def test_a_text_keeps_the_mark_of_byte_order_that_it_begins_with(customers: Database):
    with customers.transaction(now=NOW) as uow:
        out = uow.read_arrow("SELECT CAST(:name AS text) AS name", name="\ufeffAcme")
    assert out["name"].to_pylist() == ["\ufeffAcme"]


def test_a_text_longer_than_any_block_fits(customers: Database):
    long = 'x,"\n' * 500_000
    table = pa.table({"external_id": ["A", "B", "C"], "name": ["short", long, ""]})
    with customers.transaction(now=NOW) as uow:
        uow.copy_in("customer", table)
        out = uow.read_arrow("SELECT name FROM customer ORDER BY id")
    assert out.column("name").to_pylist() == ["short", long, ""]


def test_more_rows_than_one_block_keep_their_order(customers: Database):
    rows = 45_000
    table = pa.table({"external_id": [f"C-{index}" for index in range(rows)]})
    with customers.transaction(now=NOW) as uow:
        assert uow.copy_in("customer", table) == rows
        out = uow.read_arrow("SELECT external_id FROM customer ORDER BY id")
    assert out.column("external_id").to_pylist() == table.column("external_id").to_pylist()


def test_what_was_copied_in_is_committed_with_its_transaction(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.copy_in("customer", pa.table({"external_id": ["A"]}))
    with customers.transaction(now=NOW) as uow:
        assert uow.read_arrow("SELECT external_id FROM customer").to_pylist() == [
            {"external_id": "A"}
        ]


def test_header_columns_are_filled_in_when_absent(customers: Database):
    with customers.transaction(now=NOW) as uow:
        ids = uow.allocate_ids("customer", 2)
        uow.copy_in("customer", pa.table({"id": ids[1:], "external_id": ["B"]}))
        uow.copy_in("customer", pa.table({"external_id": ["C"]}))
        b, c = uow.list("customer").records
    assert (b["id"], c["id"]) == (ids[1], ids[1] + 1)
    assert (c["created_at"], c["updated_at"], c["row_version"]) == (NOW, NOW, 1)


def test_columns_arrive_with_their_declared_types(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "A", "notes": {"a": Decimal("0.10")}})
        out = uow.read_arrow(
            "SELECT id, external_id, credit, since, seen_at, active, notes,"
            " sum(credit)::numeric(20,4) AS total, count(*) AS records, 1::int AS small"
            " FROM customer GROUP BY id"
        )
    assert out.schema.types == [
        pa.int64(),
        pa.string(),
        EXACT,
        pa.date32(),
        INSTANTS,
        pa.bool_(),
        pa.string(),
        pa.decimal128(20, 4),
        pa.int64(),
        pa.int64(),
    ]
    assert out.column("notes").to_pylist() == ['{"a": 0.10}']


@pytest.mark.parametrize("versions", [FEW, MANY])
def test_documents_and_lists_travel_as_text(customers: Database, versions: list[int]):
    select = (
        "SELECT notes, ARRAY['a b', external_id] AS words, '{\"b\": [1.0]}'::json AS written,"
        " '00000000-0000-0000-0000-00000000000a'::uuid AS made, 'x'::\"char\" AS letter"
        " FROM customer WHERE row_version = ANY(:versions)"
    )
    with customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "A", "notes": {"a": Decimal("0.10")}})
        for _ in range(7):
            out = uow.read_arrow(select, versions=versions)
    assert out.to_pylist() == [
        {
            "notes": '{"a": 0.10}',
            "words": '{"a b",A}',
            "written": '{"b": [1.0]}',
            "made": "00000000-0000-0000-0000-00000000000a",
            "letter": "x",
        }
    ]


@pytest.mark.parametrize(
    "select", ["SELECT 1.5 AS a", "SELECT 1::float8 AS a", "SELECT now()::timestamp AS a"]
)
def test_a_column_without_a_declared_type_is_refused(customers: Database, select: str):
    with customers.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        uow.read_arrow(select)
    assert [(problem.code, problem.field) for problem in refused.value.problems] == [
        ("untyped_column", "a")
    ]


def test_parameters_are_quoted_into_the_statement(customers: Database):
    with customers.transaction(now=NOW) as uow:
        out = uow.read_arrow(
            "SELECT :text AS text, (:amount)::numeric(8,2) AS amount, :at AS at, :on AS on"
            " WHERE 7 = ANY(:ids) AND '%' <> :text",
            text="it's \\ 100% :text",
            amount=Decimal("0.10"),
            at=datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=1))),
            on=date(2026, 1, 1),
            ids=[7],
        )
    assert out.to_pylist() == [
        {
            "text": "it's \\ 100% :text",
            "amount": Decimal("0.10"),
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "on": date(2026, 1, 1),
        }
    ]


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("colour", pa.array(["red"]), "unknown_field"),
        ("credit", pa.array([0.1]), "wrong_type"),
        ("credit", pa.array([Decimal("0.1234567890123456")]), "wrong_type"),
        ("seen_at", pa.array([NOW.replace(tzinfo=None)]), "wrong_type"),
        ("cycle_day", pa.array(["one"]), "wrong_type"),
        ("cycle_day", pa.array([32]), "out_of_range"),
    ],
)
def test_columns_that_would_lose_something_are_refused(customers: Database, name, values, code):
    table = pa.table({"external_id": ["A"], name: values})
    with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
        uow.copy_in("customer", table)
    assert [(problem.field, problem.code) for problem in refused.value.problems] == [(name, code)]


def test_a_text_that_postgresql_cannot_keep_is_refused(customers: Database):
    table = pa.table({"external_id": ["a\x00b"]})
    with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
        uow.copy_in("customer", table)
    assert refused.value.problems[0].code == "wrong_value"


def test_other_types_are_brought_to_the_declared_one(customers: Database):
    table = pa.table(
        {
            "external_id": pa.array(["A"]).dictionary_encode(),
            "credit": pa.array([5], pa.int32()),
            "cycle_day": pa.array([31], pa.int8()),
            "tier": pa.array([None]),
            "name": pa.array(["x"], pa.large_string()),
        }
    )
    with customers.transaction(now=NOW) as uow:
        uow.copy_in("customer", table)
        (record,) = uow.list("customer").records
    assert (record["external_id"], record["credit"], record["cycle_day"]) == ("A", 5, 31)
    assert (record["tier"], record["name"]) == (None, "x")
