"""Tables follow from the declarations, and migrations make the same tables."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from counterfoil.bootstrap import CATALOGUE, Organisation, Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Entity, Field, FieldType, build_catalogue
from counterfoil.platform.records.database import build_engine
from counterfoil.platform.records.organisation_schema import (
    MIGRATIONS,
    create_database,
    family,
    migrate,
    newest_migration,
    scratch_database,
    sibling_url,
)
from counterfoil.platform.records.schema import build_tables

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT table_name, column_name, concat_ws(' ', data_type, numeric_precision, numeric_scale,
           is_nullable, is_identity, column_default, ordinal_position)
    FROM information_schema.columns WHERE table_schema = 'public'
"""
MEND = "the declarations have changed: run python tools/rewrite_baseline.py"


def schema_of(engine: Engine) -> set[tuple[object, ...]]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(CONSTRAINTS).all()
    engine.dispose()
    return {tuple(row) for row in rows if row[0] != "alembic_version"}


def test_the_migrations_make_what_is_declared(organisation: Organisation):
    with build_engine(organisation.database.url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, build_tables(CATALOGUE)) == [], MEND


def test_the_migrations_make_the_same_constraints_as_the_declarations(
    organisation: Organisation, server: Settings
):
    name = "counterfoil_declared"
    url = sibling_url(organisation.database.url, name)
    create_database(organisation.database.url, name)
    try:
        engine = build_engine(url)
        build_tables(CATALOGUE).create_all(engine)
        declared = schema_of(engine)
    finally:
        with build_engine(organisation.database.url).connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
                f"DROP DATABASE {name} WITH (FORCE)"
            )
    assert schema_of(build_engine(organisation.database.url)) == declared, MEND


def test_migrating_again_changes_nothing(organisation: Organisation):
    before = schema_of(build_engine(organisation.database.url))
    migrate(organisation.database.url)
    assert schema_of(build_engine(organisation.database.url)) == before


def test_the_newest_migration_is_the_one_that_alembic_would_go_to(organisation: Organisation):
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert [newest_migration()] == scripts.get_heads()
    with build_engine(organisation.database.url).connect() as connection:
        assert MigrationContext.configure(connection).get_current_heads() == (newest_migration(),)


def test_a_database_of_a_newer_program_is_refused(organisation: Organisation):
    with organisation.database.transaction(now=NOW) as uow:
        uow.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Refused) as refused:
        migrate(organisation.database.url)
    assert (refused.value.status, refused.value.problems[0].code) == (409, "newer_schema")


def test_a_server_that_does_not_answer_is_told_without_its_password(tmp_path: Path):
    url = f"postgresql+psycopg://jan:secret@/billing?host={tmp_path}"
    for use in (migrate, lambda url: create_database(url, "other")):
        with pytest.raises(Refused) as refused:
            use(url)
        assert (refused.value.status, refused.value.problems[0].code) == (
            503,
            "database_unreachable",
        )
        assert "secret" not in str(refused.value)


def test_a_scratch_database_is_dropped_and_leftovers_of_the_killed_too(
    organisation: Organisation, server: Settings
):
    server_url = server.database_url or sibling_url(organisation.database.url, "counterfoil")
    leftover = family(server_url, "scratch") + "leftover"
    create_database(server_url, leftover)
    with scratch_database(server_url) as url:
        with build_engine(url).connect() as connection:
            names = connection.exec_driver_sql("SELECT datname FROM pg_database").scalars().all()
        assert url.rpartition("/")[2].partition("?")[0] in names
        assert leftover not in names
    with build_engine(server_url).connect() as connection:
        names = connection.exec_driver_sql("SELECT datname FROM pg_database").scalars().all()
    assert url.rpartition("/")[2].partition("?")[0] not in names


def test_a_scratch_organisation_may_be_a_copy_of_another(server: Settings):
    with scratch_organisation(server) as model:
        with model.database.transaction(now=NOW) as uow:
            account = uow.create("account", {"external_id": "ACME", "name": "Acme"})["id"]
        (model.home / "note.txt").write_text("kept")
        model.database.close()
        with scratch_organisation(server, like=model) as copy:
            with copy.database.transaction(now=NOW) as uow:
                uow.update("account", account, {"name": "Changed"})
                uow.create("account", {"external_id": "OTHER", "name": "Other"})
            (copy.home / "note.txt").write_text("changed")
        with model.database.transaction(now=NOW) as uow:
            assert [row["name"] for row in uow.list("account").records] == ["Acme"]
        assert (model.home / "note.txt").read_text() == "kept"


def test_names_follow_from_the_declaration_and_fit_into_63_bytes():
    entity = Entity(
        name="commitment_drawdown",
        plural="commitment_drawdowns",
        fields=(
            Field(name="subscription_charge_period_start", type=FieldType.DATE),
            Field(name="subscription_charge_period_end", type=FieldType.DATE, indexed=True),
            Field(name="currency", unique=True),
        ),
        unique=(("subscription_charge_period_start", "subscription_charge_period_end"),),
    )
    table = build_tables(build_catalogue([entity])).tables["commitment_drawdown"]
    names = {str(item.name) for item in (*table.constraints, *table.indexes)}
    assert names == {
        "pk_commitment_drawdown",
        "uq_commitment_drawdown_currency",
        "uq_commitment_drawdown_scps_scpe",
        "ix_commitment_drawdown_subscription_charge_period_end",
    }
