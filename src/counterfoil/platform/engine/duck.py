"""The only door to DuckDB: an in-memory engine over Arrow tables and Parquet files.

Nothing is downloaded: extensions that are not part of the DuckDB wheel are never installed or
loaded. Inside the engine instants are naive ``TIMESTAMP`` values in UTC.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

EngineFault = duckdb.Error
"""Any error of a statement run on the engine."""

NotComputable = (duckdb.OutOfRangeException, duckdb.ConversionException)
"""A value of the data left the range of its type: more than 38 digits, say."""

NotAvailable = duckdb.OperationalError
"""A file could not be read or memory was short: nothing that the data are to blame for."""


class Engine:
    """One private in-memory database; used by one thread at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def register(self, name: str, data: pa.Table | pa.RecordBatchReader) -> None:
        """Make ``data`` readable as the relation ``name`` (a reader can be read once)."""
        self._connection.register(name, data)

    def unregister(self, name: str) -> None:
        """Forget a registered relation and let go of its memory."""
        self._connection.unregister(name)

    def run(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """Execute one or more statements for their effect; parameters are written ``$name``."""
        self._execute(sql, parameters)

    def rows(
        self, sql: str, parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """All rows of a small result, as plain Python values."""
        return list(self._execute(sql, parameters).fetchall())

    def row(self, sql: str, parameters: Mapping[str, object] | None = None) -> tuple[Any, ...]:
        """The first row of a result that has at least one."""
        return self.rows(sql, parameters)[0]

    def arrow(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The whole result as an Arrow table; decimals keep their precision and scale."""
        return self._relation(sql, parameters).to_arrow_table()

    def arrow_batches(
        self, sql: str, *, rows: int = 100_000, parameters: Mapping[str, object] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The result in batches of about ``rows`` rows, computed while they are taken.

        Run nothing else on this engine before the last batch was taken.
        """
        yield from self._relation(sql, parameters).to_arrow_reader(rows)

    def interrupt(self) -> None:
        """Stop the running statement; may be called from another thread."""
        self._connection.interrupt()

    def close(self) -> None:
        """Drop the database; closing twice is harmless."""
        self._connection.close()

    def _execute(
        self, sql: str, parameters: Mapping[str, object] | None
    ) -> duckdb.DuckDBPyConnection:
        if parameters:
            return self._connection.execute(sql, dict(parameters))
        return self._connection.execute(sql)

    def _relation(
        self, sql: str, parameters: Mapping[str, object] | None
    ) -> duckdb.DuckDBPyRelation:
        if parameters:
            relation = self._connection.sql(sql, params=dict(parameters))
        else:
            relation = self._connection.sql(sql)
        if relation is None:
            raise EngineFault("the statement has no result")
        return relation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_engine(
    *,
    memory_limit: str | None = None,
    threads: int | None = None,
    temp_directory: Path | str | None = None,
) -> Engine:
    """Open an empty engine; use it as a context manager.

    ``memory_limit`` is a size such as ``1GB`` beyond which statements spill to
    ``temp_directory`` (none by default: they fail instead); ``threads`` defaults to the number
    of cores. Rows keep their order from relation to result.
    """
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "temp_directory": "" if temp_directory is None else str(temp_directory),
    }
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    if threads is not None:
        settings["threads"] = str(threads)
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    # It would be written to standard output, among what a command prints.
    connection.execute("SET enable_progress_bar = false")
    return Engine(connection)


def sql_literal(text: str) -> str:
    """``text`` as a quoted SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
