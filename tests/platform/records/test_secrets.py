"""Secret fields can be written and by no way be read."""

from collections.abc import Iterator

import pytest
from sqlalchemy.exc import ProgrammingError
from tests.platform.records.conftest import NOW

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Entity, Field, build_catalogue
from counterfoil.platform.records.database import Database, build_engine
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.records.schema import build_tables

DOOR = Entity(
    name="door",
    plural="doors",
    fields=(
        Field(name="external_id", required=True, unique=True),
        Field(name="code", required=True, secret=True, max_length=20),
    ),
)


@pytest.fixture
def doors(server: Settings) -> Iterator[Database]:
    """A database whose only entity is a door with its code."""
    catalogue = build_catalogue([DOOR])
    with scratch_organisation(server) as organisation:
        engine = build_engine(organisation.database.url)
        with engine.begin() as connection:
            tables = build_tables(catalogue)
            tables.create_all(connection, tables=[tables.tables["door"]])
        engine.dispose()
        database = Database(organisation.database.url, catalogue)
        yield database
        database.close()


def test_no_record_shows_a_secret_but_sql_finds_it(doors: Database):
    with doors.transaction(now=NOW) as uow:
        made = uow.create("door", {"external_id": "FRONT", "code": "4711"})
        assert made.keys() == {field.name for field in DOOR.readable}
        assert "code" not in made
        assert uow.get("door", made["id"]) == made
        assert uow.find("door", external_id="FRONT") == made
        assert uow.list("door").records == [made]
        changed = uow.update("door", made["id"], {"code": "4712"})
        assert changed.keys() == made.keys()
        assert changed["row_version"] == 2
        assert uow.update("door", made["id"], {"code": "4712"})["row_version"] == 2
        assert uow.query("SELECT code FROM door") == [{"code": "4712"}]


def test_the_history_tells_that_a_secret_has_changed_and_not_to_what(doors: Database):
    with doors.transaction(now=NOW) as uow:
        made = uow.create("door", {"external_id": "FRONT", "code": "4711"})
        uow.update("door", made["id"], {"code": "4712"})
        rows = uow.query("SELECT changes FROM record_change ORDER BY id")
    assert [row["changes"] for row in rows] == [
        {"external_id": [None, "FRONT"], "code": ["secret", "secret"]},
        {"code": ["secret", "secret"]},
    ]


@pytest.mark.parametrize("op", ["eq", "ne", "contains", "is_null", "gt"])
def test_nobody_can_guess_a_secret_by_filters_or_order(doors: Database, op: str):
    with doors.transaction(now=NOW) as uow:
        uow.create("door", {"external_id": "FRONT", "code": "4711"})
        for ask in (
            lambda: uow.list("door", filters=[Filter("code", op, "4711")]),
            lambda: uow.list("door", sort=["code"]),
            lambda: uow.ids_by("door", "code", ["4711"]),
            lambda: uow.find("door", code="4711"),
        ):
            with pytest.raises(Refused) as refused:
                ask()
            (problem,) = refused.value.problems
            assert problem.code == "unknown_field"
            assert "code" not in problem.allowed
            assert "4711" not in str(problem)


def test_errors_of_the_database_do_not_repeat_what_was_written(doors: Database):
    with (
        pytest.raises(ProgrammingError) as failed,
        doors.transaction(now=NOW) as uow,
    ):
        uow.execute("UPDATE no_such_table SET code = :code", code="4711")
    assert "4711" not in str(failed.value)
