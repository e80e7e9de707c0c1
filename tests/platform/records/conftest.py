"""A small catalogue with every type of field, in a scratch database."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Protocol

import pytest

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.platform.metadata import Entity, Field, FieldType, build_catalogue
from counterfoil.platform.records.database import Database, build_engine
from counterfoil.platform.records.schema import build_tables
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

CUSTOMER = Entity(
    name="customer",
    plural="customers",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(name="name", max_length=2_000_000),
        Field(name="parent_id", type=FieldType.REFERENCE, target="customer"),
        Field(name="credit", type=FieldType.DECIMAL, precision=38, scale=15),
        Field(name="cycle_day", type=FieldType.INTEGER, minimum=1, maximum=31),
        Field(name="since", type=FieldType.DATE),
        Field(name="seen_at", type=FieldType.INSTANT),
        Field(name="active", type=FieldType.BOOLEAN),
        Field(name="tier", type=FieldType.CHOICE, choices=("gold", "standard")),
        Field(name="notes", type=FieldType.DOCUMENT),
        Field(name="depth", type=FieldType.INTEGER, computed=True),
    ),
)


@pytest.fixture(scope="module")
def customer_database(server: Settings) -> Iterator[Database]:
    """A scratch database whose only entity is the customer, shared by the tests of a module."""
    catalogue = build_catalogue([CUSTOMER])
    with scratch_organisation(server) as organisation:
        engine = build_engine(organisation.database.url)
        tables = build_tables(catalogue)
        with engine.begin() as connection:
            tables.create_all(connection, tables=[tables.tables["customer"]])
        engine.dispose()
        database = Database(organisation.database.url, catalogue)
        yield database
        database.close()


@pytest.fixture
def customers(customer_database: Database) -> Database:
    """The database of customers without any record."""
    with customer_database.transaction(now=NOW) as uow:
        uow.execute("TRUNCATE customer, record_change RESTART IDENTITY")
    return customer_database


class UndoneError(Exception):
    """Ends a transaction that shall leave nothing."""


class Undone(Protocol):
    """A transaction of a database that is rolled back at its end."""

    def __call__(self, database: Database) -> AbstractContextManager[UnitOfWork]: ...


@pytest.fixture
def undone() -> Undone:
    """A transaction that is rolled back at its end: for the many examples of one test."""

    @contextmanager
    def transaction(database: Database) -> Iterator[UnitOfWork]:
        with suppress(UndoneError), database.transaction(now=NOW) as uow:
            yield uow
            raise UndoneError

    return transaction
