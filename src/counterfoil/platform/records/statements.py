"""Statements in one transaction: queries, changes, Arrow in and out, numbers, locks and answers."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import psycopg
import pyarrow as pa
from sqlalchemy import Connection, MetaData, Table, insert, text

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue, CustomerModel, Record
from counterfoil.platform.records.arrow_copy import read_few, read_table, schema_of
from counterfoil.platform.records.guarding import Guard
from counterfoil.platform.records.living_catalogue import read_customer_model
from counterfoil.platform.records.refusals import refusing, refusing_to_wait

# The class that follows from this one has a method named list, so signatures use these names.
Ids = list[int]
Records = list[Record]


# A statement with the sorts of its parameters: written as the driver takes it once, not each time.
Asked = tuple[str, tuple[tuple[str, tuple[type, bool]], ...]]
_MOST_KEPT = 1000
_written: dict[Asked, str] = {}
_schemas: dict[tuple[Catalogue, Asked], pa.Schema] = {}

# Of so few ids (accounts, charges) few rows are expected.
_FEW = 100
# A plan kept for it fails once a change set has added a column.
_EVERY_COLUMN = re.compile(r"(?:SELECT|ALL|DISTINCT|,|\.)\s*\*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer given before to a request with the same idempotency key."""

    status: int
    body: str
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Statements:
    """What a unit of work does with SQL of its rooms, and what the database keeps for it.

    ``now`` is the instant of everything written, ``catalogue`` what the actor sees.
    """

    def __init__(
        self, connection: Connection, guard: Guard, tables: MetaData, *, now: datetime
    ) -> None:
        self.now = now.astimezone(UTC)
        self.access = guard.access
        self.catalogue = guard.seen
        self._guard = guard
        self._whole = guard.whole
        self._connection = connection
        self._tables = tables

    def query(self, sql: str, **parameters: object) -> Records:
        """The rows of a SELECT with ``:name`` parameters, column name to value.

        This and the other ways of SQL know no access: they take ``unrestricted()``.
        """
        self._refuse_sql()
        return self._query(sql, **parameters)

    def execute(self, sql: str, **parameters: object) -> int:
        """Run a statement with ``:name`` parameters; the number of rows it changed.

        Neither checks nor history apply: for drafts and the bookkeeping of commands.
        """
        self._refuse_sql()
        return self._execute(sql, **parameters)

    def _refuse_sql(self) -> None:
        if not self.access.unrestricted:
            raise RuntimeError("SQL of a room's own knows no access; ask unrestricted()")

    def _query(self, sql: str, **parameters: object) -> Records:
        with refusing(self._whole), self._unprepared(wanted="*" in sql):
            rows = self._connection.execute(text(sql), parameters).mappings()
            return [dict(row) for row in rows]

    @contextmanager
    def _unprepared(self, *, wanted: bool) -> Iterator[None]:
        """Have PostgreSQL plan a statement anew each time.

        A plan kept for ``SELECT *`` fails once a change set has added a column.
        """
        driver = self._driver
        threshold = driver.prepare_threshold
        driver.prepare_threshold = None if wanted else threshold
        try:
            yield
        finally:
            driver.prepare_threshold = threshold

    def _execute(self, sql: str, **parameters: object) -> int:
        with refusing(self._whole, self.catalogue):
            return self._connection.execute(text(sql), parameters).rowcount

    def read_arrow(self, sql: str, **parameters: object) -> pa.Table:
        """The rows of a SELECT with ``:name`` parameters as an Arrow table.

        numeric(p,s) arrives as decimal128(p,s), timestamptz as timestamp('us', 'UTC'), jsonb as
        text. Refuses columns without a declared type, such as a sum: cast them in the SELECT.
        """
        self._refuse_sql()
        asked = sql, tuple((name, _sort_of(value)) for name, value in parameters.items())
        with refusing(self._whole):
            written = self._for_driver(asked, parameters)
            schema = self._schema(asked, written, parameters)
            if _few(parameters):
                with self._unprepared(wanted=_EVERY_COLUMN.search(sql) is not None):
                    return read_few(self._driver, written, parameters, schema)
            statement = self._with_literals(written, parameters)
            return read_table(self._driver, statement, schema)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is written within is undone by an exception, and what was before it stays."""
        with self._connection.begin_nested():
            yield

    @contextmanager
    def rehearsed(self) -> Iterator[None]:
        """What is written within is undone at its end, whatever happens."""
        point = self._connection.begin_nested()
        try:
            yield
        finally:
            point.rollback()

    def allocate_ids(self, entity: str, count: int) -> Ids:
        """Fresh ids from the entity's sequence, in one query; unused ones are lost."""
        table = self._table(entity)
        rows = self._connection.execute(
            text(
                "SELECT nextval(CAST(:sequence AS regclass))"
                " FROM generate_series(1, CAST(:count AS bigint))"
            ),
            {"sequence": f'"{table.name}_id_seq"', "count": count},
        )
        return [row[0] for row in rows.all()]

    # -- the data model ----------------------------------------------------------------------

    def define(self, sql: str) -> None:
        """Run a statement that defines tables, as it is written: colons and % too.

        Refused (503, code ``busy``) when a lock was not got in the time set for it.
        """
        self._refuse_sql()
        with refusing_to_wait(), refusing(self._whole):
            self._connection.exec_driver_sql(sql.replace("%", "%%"))

    def customer_model(self) -> tuple[int, CustomerModel]:
        """What the customer has added by now, and its version: perhaps newer than the catalogue."""
        self._refuse_sql()
        return read_customer_model(self._connection)

    # -- numbers, locks and remembered answers -----------------------------------------------

    def next_numbers(self, series: str, count: int) -> int:
        """The first of ``count`` consecutive numbers of a series, which begins with 1.

        The series stays locked until the transaction ends, and a rollback gives the numbers
        back: so they have no gap.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        rows = self._query(
            "INSERT INTO number_series (name, next_number) VALUES (:series, 1 + :count)"
            " ON CONFLICT (name) DO UPDATE"
            " SET next_number = number_series.next_number + :count"
            " RETURNING next_number - :count AS first",
            series=series,
            count=count,
        )
        return cast("int", rows[0]["first"])

    def lock(self, name: str) -> bool:
        """Take a named lock until the transaction ends; False when another one holds it."""
        rows = self._query(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0)) AS taken", name=name
        )
        return bool(rows[0]["taken"])

    def remembered_answer(self, key: str, fingerprint: str) -> Answer | None:
        """The answer stored for an idempotency key, or None when the request is new.

        A second request with the key waits here until the first has ended. Refused (422) when
        the key was used for a request with another fingerprint.
        """
        self._query(
            "SELECT pg_advisory_xact_lock(hashtextextended(:name, 1))", name=f"answer {key}"
        )
        rows = self._query(
            "SELECT fingerprint, status, body, media_type, headers FROM idempotent_answer"
            " WHERE key = :key",
            key=key,
        )
        if not rows:
            return None
        if rows[0]["fingerprint"] != fingerprint:
            message = "was used for another request"
            raise Refused(Problem("idempotency_key_reused", message, "Idempotency-Key"))
        return Answer(*(rows[0][name] for name in ("status", "body", "media_type", "headers")))

    def remember_answer(self, key: str, fingerprint: str, answer: Answer) -> None:
        """Store the answer of a request, in the transaction of what it changed."""
        self._connection.execute(
            insert(self._tables.tables["idempotent_answer"]).values(
                key=key,
                fingerprint=fingerprint,
                status=answer.status,
                body=answer.body,
                media_type=answer.media_type,
                headers=dict(answer.headers),
                created_at=self.now,
            )
        )

    @property
    def driver(self) -> psycopg.Connection[object]:
        """The driver's connection, for COPY within this room."""
        self._refuse_sql()
        return self._driver

    @property
    def _driver(self) -> psycopg.Connection[object]:
        return cast("psycopg.Connection[object]", self._connection.connection.driver_connection)

    def _table(self, entity: str) -> Table:
        self.catalogue.entity(entity)
        return self._tables.tables[entity]

    def _for_driver(self, asked: Asked, parameters: Mapping[str, object]) -> str:
        """The statement as the driver takes it."""
        written = _written.get(asked)
        if written is None:
            clause = text(asked[0]).bindparams(**parameters)
            written = str(clause.compile(self._connection))
            if len(_written) >= _MOST_KEPT:
                _written.clear()
            _written[asked] = written
        return written

    def _schema(self, asked: Asked, written: str, parameters: Mapping[str, object]) -> pa.Schema:
        """Whatever is asked in the same words has the same columns: PostgreSQL is asked once."""
        schema = _schemas.get((self._whole, asked))
        if schema is None:
            schema = schema_of(self._driver, self._with_literals(written, parameters))
            if len(_schemas) >= _MOST_KEPT:
                _schemas.clear()
            _schemas[self._whole, asked] = schema
        return schema

    def _with_literals(self, written: str, parameters: Mapping[str, object]) -> str:
        """COPY takes no parameters, so the driver writes them into the statement, quoted."""
        return psycopg.ClientCursor(self._driver).mogrify(written, parameters)


def _few(parameters: Mapping[str, object]) -> bool:
    """Whether few ids are asked for; what asks for none may mean all there are."""
    asked = [len(value) for value in parameters.values() if isinstance(value, list)]
    return bool(asked) and sum(asked) <= _FEW


def _sort_of(value: object) -> tuple[type, bool]:
    """What the type of a parameter follows from."""
    return type(value), isinstance(value, int) and value.bit_length() >= 32
