"""Creating and changing records: all or nothing, with history."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import make_url

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.database_url import render_url
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def history(database: Database) -> list[dict[str, object]]:
    with database.transaction(now=NOW) as uow:
        return uow.query("SELECT * FROM record_change ORDER BY id")


def count(database: Database) -> int:
    with database.transaction(now=NOW) as uow:
        return len(uow.query("SELECT 1 FROM customer"))


def test_a_created_record_has_its_header_and_typed_values(customers: Database):
    with customers.transaction(now=NOW) as uow:
        created = uow.create(
            "customer",
            {
                "external_id": "ACME",
                "credit": "12.5",
                "since": "2026-01-01",
                "seen_at": "2026-01-01T00:00:00+01:00",
                "notes": {"limit": Decimal("0.10"), "tags": ["a"]},
            },
        )
    with customers.transaction(now=LATER) as uow:
        read = uow.get("customer", created["id"])

    assert read == created
    assert read["id"] == 1
    assert (read["created_at"], read["updated_at"], read["row_version"]) == (NOW, NOW, 1)
    assert str(read["credit"]) == "12.500000000000000"
    assert read["seen_at"] == datetime(2025, 12, 31, 23, 0, tzinfo=UTC)
    assert str(read["notes"]["limit"]) == "0.10"


def test_every_change_is_in_the_history_with_old_and_new_values(customers: Database):
    with customers.transaction(now=NOW, source="import", actor="jan") as uow:
        acme = uow.create("customer", {"external_id": "ACME", "credit": 1})
    with customers.transaction(now=LATER) as uow:
        changed = uow.update("customer", acme["id"], {"credit": "2.5", "tier": "gold"})

    created, updated = history(customers)
    assert (created["actor"], created["source"], created["at"]) == ("jan", "import", NOW)
    assert (created["action"], created["row_version"]) == ("create", 1)
    assert created["changes"] == {
        "external_id": [None, "ACME"],
        "credit": [None, Decimal("1.000000000000000")],
    }
    assert (updated["entity"], updated["record_id"]) == ("customer", acme["id"])
    assert (updated["action"], updated["row_version"], updated["at"]) == ("update", 2, LATER)
    assert updated["changes"] == {
        "credit": [Decimal("1.000000000000000"), Decimal("2.500000000000000")],
        "tier": [None, "gold"],
    }
    assert (changed["row_version"], changed["updated_at"]) == (2, LATER)


def test_an_update_without_a_difference_writes_nothing(customers: Database):
    with customers.transaction(now=NOW) as uow:
        acme = uow.create("customer", {"external_id": "ACME", "credit": 1})
    with customers.transaction(now=LATER) as uow:
        same = uow.update("customer", acme["id"], {"credit": "1.0"})

    assert same == acme
    assert len(history(customers)) == 1


def test_many_are_created_in_order_or_not_at_all(customers: Database):
    with customers.transaction(now=NOW) as uow:
        ids = uow.create_many("customer", [{"external_id": name} for name in "CAB"])
        names = [uow.get("customer", record_id)["external_id"] for record_id in ids]
    assert names == ["C", "A", "B"]
    assert [change["record_id"] for change in history(customers)] == ids

    with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
        uow.create_many(
            "customer", [{"external_id": "D"}, {"name": "x"}, {"external_id": "E", "credit": "x"}]
        )
    problems = [(problem.line, problem.field, problem.code) for problem in refused.value.problems]
    assert problems == [(2, "external_id", "required"), (3, "credit", "wrong_type")]
    assert count(customers) == 3
    assert len(history(customers)) == 3


def test_an_external_id_is_given_once(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "ACME"})

    for write in (
        lambda uow: uow.create("customer", {"external_id": "ACME"}),
        lambda uow: uow.create_many("customer", [{"external_id": "ACME"}]),
    ):
        with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
            write(uow)
        assert refused.value.status == 409
        assert refused.value.problems == (
            Problem("not_unique", "another customer has external_id ACME already", "external_id"),
        )
    assert count(customers) == 1
    assert len(history(customers)) == 1


def test_a_reference_must_point_to_a_record(customers: Database):
    with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "ACME", "parent_id": 99})
    assert refused.value.status == 422
    assert refused.value.problems == (
        Problem("unknown_reference", "there is no record with id 99", "parent_id"),
    )

    with customers.transaction(now=NOW) as uow:
        top = uow.create("customer", {"external_id": "TOP"})
        uow.create("customer", {"external_id": "SUB", "parent_id": top["id"]})
    with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
        uow.execute("DELETE FROM customer WHERE id = :id", id=top["id"])
    assert (refused.value.status, refused.value.problems[0].code) == (409, "still_referenced")


def test_the_database_itself_refuses_what_a_statement_gets_wrong(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "ACME"})
    cases = {
        "UPDATE customer SET cycle_day = 32": ("out_of_range", "cycle_day"),
        "UPDATE customer SET tier = 'silver'": ("unknown_choice", "tier"),
        "UPDATE customer SET external_id = NULL": ("required", "external_id"),
        "UPDATE customer SET credit = 1e30": ("wrong_value", ""),
    }
    for statement, expected in cases.items():
        with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
            uow.execute(statement)
        (problem,) = refused.value.problems
        assert (problem.code, problem.field) == expected


def test_of_two_concurrent_updates_of_a_version_the_second_is_refused(customers: Database):
    with customers.transaction(now=NOW) as uow:
        acme = uow.create("customer", {"external_id": "ACME", "credit": 1})

    def change_too() -> Refused:
        with pytest.raises(Refused) as refused, customers.transaction(now=NOW) as uow:
            uow.update("customer", acme["id"], {"credit": 3}, expected_version=1)
        return refused.value

    with ThreadPoolExecutor(1) as threads:
        with customers.transaction(now=NOW) as uow:
            uow.update("customer", acme["id"], {"credit": 2}, expected_version=1)
            second = threads.submit(change_too)
        refused = second.result(timeout=20)

    assert (refused.status, refused.problems[0].code) == (409, "version_conflict")
    with customers.transaction(now=NOW) as uow:
        assert uow.get("customer", acme["id"])["credit"] == 2


def test_many_updates_change_only_what_each_one_says(customers: Database):
    with customers.transaction(now=NOW) as uow:
        first, second, third = uow.create_many(
            "customer",
            [{"external_id": name, "credit": 1, "notes": {"n": name}} for name in "ABC"],
        )
    with customers.transaction(now=LATER) as uow:
        uow.update_many(
            "customer",
            [(third, {"credit": "0.000000000000001"}), (first, {"notes": None, "tier": "gold"})],
        )
        rows = {record["id"]: record for record in uow.list("customer").records}

    assert rows[third]["credit"] == Decimal("0.000000000000001")
    assert rows[third]["notes"] == {"n": "C"}
    assert (rows[first]["notes"], rows[first]["tier"], rows[first]["credit"]) == (None, "gold", 1)
    assert [rows[key]["row_version"] for key in (first, second, third)] == [2, 1, 2]
    assert len(history(customers)) == 5


def test_an_unknown_record_is_refused_as_not_found(customers: Database):
    with customers.transaction(now=NOW) as uow:
        for unknown in (7, -1, 2**70):
            with pytest.raises(Refused) as refused:
                uow.get("customer", unknown)
            assert refused.value.status == 404
        with pytest.raises(Refused) as refused:
            uow.update_many("customer", [(7, {"credit": 1})])
        assert refused.value.status == 404
        with pytest.raises(Refused) as refused:
            uow.get("client", 1)
        assert refused.value.status == 404


def test_a_rooms_rule_fills_computed_fields_and_refuses_the_whole_write(customers: Database):
    seen = []

    def depth_rule(uow, records, old_rows):
        for record in records:
            record["depth"] = 1 if record["parent_id"] is None else 2
        seen.extend(None if old is None else old["external_id"] for old in old_rows)
        return [Problem("bad_name", "is taken", "name") for r in records if r["name"] == "taken"]

    database = Database(customers.url, customers.catalogue, {"customer": depth_rule})
    with database.transaction(now=NOW) as uow:
        top, other = uow.create_many("customer", [{"external_id": "TOP"}, {"external_id": "O"}])
        uow.update("customer", other, {"parent_id": top})
        assert [uow.get("customer", key)["depth"] for key in (top, other)] == [1, 2]
        assert seen == [None, None, "O"]
        assert uow.find("customer", depth=2, tier=None)["external_id"] == "O"
    with pytest.raises(Refused), database.transaction(now=NOW) as uow:
        uow.update("customer", top, {"name": "taken"})
    with database.transaction(now=NOW) as uow:
        assert uow.get("customer", top)["name"] is None
    database.close()


def test_computed_fields_are_for_commands(customers: Database):
    with customers.transaction(now=NOW) as uow:
        with pytest.raises(Refused):
            uow.create("customer", {"external_id": "A", "depth": 1})
        made = uow.create("customer", {"external_id": "A", "depth": 1}, by_command=True)
        assert uow.update("customer", made["id"], {"depth": 5}, by_command=True)["depth"] == 5


def test_an_exception_takes_everything_back(customers: Database, undone):
    with undone(customers) as uow:
        uow.create("customer", {"external_id": "ACME"})
    assert count(customers) == 0
    assert history(customers) == []


def test_an_ignored_error_of_the_database_cannot_pass_for_a_commit(customers: Database):
    def create_twice(uow: UnitOfWork) -> None:
        uow.create("customer", {"external_id": "ACME"})
        with pytest.raises(Refused):
            uow.create("customer", {"external_id": "ACME"})

    with pytest.raises(RuntimeError), customers.transaction(now=NOW) as uow:
        create_twice(uow)
    assert count(customers) == 0


def test_a_naive_clock_is_refused(customers: Database):
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="aware"), customers.transaction(now=naive):
        pass


def test_ids_are_found_by_any_field_in_one_query(customers: Database):
    with customers.transaction(now=NOW) as uow:
        ids = uow.create_many("customer", [{"external_id": name} for name in "ABC"])
        assert uow.ids_by("customer", "external_id", iter(["C", "X", "A", "A"])) == {
            "A": ids[0],
            "C": ids[2],
        }
        assert uow.ids_by("customer", "external_id", []) == {}
        with pytest.raises(Refused):
            uow.ids_by("customer", "colour", ["red"])


def test_parameters_of_queries_keep_their_types(customers: Database):
    berlin = timezone(timedelta(hours=1))
    with customers.transaction(now=NOW) as uow:
        (row,) = uow.query(
            "SELECT :amount AS amount, :on AS on, :big AS big, :at AS at, 5 = ANY(:ids) AS hit,"
            " '10:30' AS clock, 'x'::text AS cast_text, '100%' AS percent",
            amount=Decimal("0.10"),
            on=NOW.date(),
            big=2**40,
            at=datetime(2026, 1, 1, 1, 0, tzinfo=berlin),
            ids=[3, 5],
        )
    assert str(row["amount"]) == "0.10"
    assert (row["on"], row["big"], row["hit"]) == (NOW.date(), 2**40, True)
    assert row["at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert (row["clock"], row["cast_text"], row["percent"]) == ("10:30", "x", "100%")


def test_a_server_may_tell_times_in_its_own_way_and_the_url_has_options_of_its_own(
    customers: Database,
):
    url = make_url(customers.url).update_query_dict({"options": "-c work_mem=5MB"})
    with customers.transaction(now=NOW) as uow:
        (own,) = uow.query("SELECT quote_ident(current_database()) AS name")
        uow.execute(f"ALTER DATABASE {own['name']} SET datestyle = 'SQL, DMY'")
    try:
        other = Database(render_url(url), customers.catalogue)
        with other.transaction(now=NOW) as uow:
            made = uow.create("customer", {"external_id": "A", "since": "2026-02-03"})
            assert (made["since"], made["created_at"]) == (date(2026, 2, 3), NOW)
            assert uow.query("SHOW work_mem") == [{"work_mem": "5MB"}]
        other.close()
    finally:
        with customers.transaction(now=NOW) as uow:
            uow.execute(f"ALTER DATABASE {own['name']} RESET datestyle")
