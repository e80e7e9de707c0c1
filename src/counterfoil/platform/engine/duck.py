"""The only door to DuckDB: an in-memory engine over Arrow tables and Parquet files.

Nothing is downloaded: extensions that are not part of the DuckDB wheel are never installed or
loaded. Inside the engine instants are naive ``TIMESTAMP`` values in UTC.
"""

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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


# A relation is planned twice. For few rows it is cheaper to copy them, whatever is warned of.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result")

Settings = dict[str, str | bool | int | float | list[str]]

_OFFLINE: Settings = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}


_MOST_PARSED = 1000
_LONGEST_KEPT = 20_000
_LITERAL = re.compile(r"'[^']*'")
_WORD = re.compile(r"[a-z_][a-z_0-9]*")


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that was parsed, and the words in it outside of quotes."""

    statements: Sequence[duckdb.Statement]
    words: frozenset[str]


_parsed: dict[str, _Text] = {}


class Engine:
    """One private in-memory database; used by one thread at a time."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        give_back: Callable[[duckdb.DuckDBPyConnection], None] | None = None,
    ) -> None:
        self._connection = connection
        self._give_back = give_back
        self.small = give_back is not None
        """Whether it was opened for few rows."""
        self._in_schema = False
        self._registered: set[str] = set()
        self._tables: dict[str, pa.Table] = {}
        self._filled: dict[str, bool] = {}
        self._unmade: dict[str, str] = {}

    def register(self, name: str, data: pa.Table | pa.RecordBatchReader) -> None:
        """Make ``data`` readable as the relation ``name`` (a reader can be read once)."""
        self._tables.pop(name, None)
        if isinstance(data, pa.Table):
            nothing = None if data.num_rows else _nothing(data.schema)
            if nothing is not None:
                self.leave_empty(name, nothing)
                self._tables[name] = data
                return
            self._filled[name] = data.num_rows > 0
            self._tables[name] = data
        self._connection.register(name, data)
        self._registered.add(name)

    def unregister(self, name: str) -> None:
        """Forget a registered relation and let go of its memory."""
        self._tables.pop(name, None)
        self._filled.pop(name, None)
        self._unmade.pop(name, None)
        if name in self._registered:
            self._registered.remove(name)
            self._connection.unregister(name)

    def leave_empty(self, name: str, nothing: str) -> None:
        """Make ``nothing``, a SELECT of no row, readable as the relation ``name``. It costs nothing
        until a statement names it: most never do."""
        self.unregister(name)
        self._filled[name] = False
        self.define(name, nothing)

    def define(self, name: str, select: str) -> None:
        """Make a SELECT readable as the relation ``name``, once a statement names it."""
        if self._in_schema:
            self._connection.execute(f"CREATE OR REPLACE VIEW {name} AS {select}")
        else:
            self._unmade[name] = select

    def has_rows(self, name: str) -> bool:
        """Whether the relation has any; of what was registered or left empty nobody is asked."""
        known = self._filled.get(name)
        return bool(self.rows(f"SELECT 1 FROM {name} LIMIT 1")) if known is None else known

    def table(self, name: str) -> pa.Table:
        """A whole relation; of one that was registered nobody is asked."""
        known = self._tables.get(name)
        return self.arrow(f"SELECT * FROM {name}") if known is None else known

    def look_into(self, *schemas: str) -> None:
        """Find relations in these schemas first, and make them in the first of them."""
        self._in_schema = bool(schemas)
        self.run(f"SET search_path = {sql_literal(','.join((*schemas, 'main')))}")

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

    def records(self, sql: str) -> list[dict[str, Any]]:
        """All rows of a small result, column name to plain Python value."""
        found = self._execute(sql, None)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def arrow(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The whole result as an Arrow table; decimals keep their precision and scale."""
        if not self.small:
            return self._relation(sql, parameters).to_arrow_table()
        return self._execute(sql, parameters).to_arrow_table()

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
        give_back, self._give_back = self._give_back, None
        if give_back is None:
            self._connection.close()
        else:
            give_back(self._connection)

    def _execute(
        self, sql: str, parameters: Mapping[str, object] | None
    ) -> duckdb.DuckDBPyConnection:
        *before, last = self._ready(sql)
        for statement in before:
            self._connection.execute(statement)
        if parameters:
            return self._connection.execute(last, dict(parameters))
        return self._connection.execute(last)

    def _relation(
        self, sql: str, parameters: Mapping[str, object] | None
    ) -> duckdb.DuckDBPyRelation:
        (statement,) = self._ready(sql)
        if parameters:
            relation = self._connection.sql(statement, params=dict(parameters))
        else:
            relation = self._connection.sql(statement)
        if relation is None:
            raise EngineFault("the statement has no result")
        return relation

    def _ready(self, sql: str) -> Sequence[duckdb.Statement]:
        """The statements of the text; what is named in them and not made yet is made now."""
        text = self._parsed(sql)
        for name in sorted(self._unmade.keys() & text.words):
            select = self._unmade.pop(name, None)
            if select is not None:
                self._execute(f"CREATE OR REPLACE VIEW main.{name} AS {select}", None)
        return text.statements

    def _parsed(self, sql: str) -> _Text:
        """Parsing takes as long as planning, and most texts come again."""
        found = _parsed.get(sql)
        if found is None:
            statements = self._connection.extract_statements(sql)
            found = _Text(statements, frozenset(_WORD.findall(_LITERAL.sub("''", sql))))
            if len(sql) <= _LONGEST_KEPT:
                if len(_parsed) >= _MOST_PARSED:
                    _parsed.clear()
                _parsed[sql] = found
        return found

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
    settings: Settings = {
        **_OFFLINE,
        "temp_directory": "" if temp_directory is None else str(temp_directory),
    }
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    if threads is not None:
        settings["threads"] = str(threads)
    return Engine(_connect(settings))


# What makes plans of large inputs better, and takes longer than a few rows do.
_SKIPPED_FOR_FEW_ROWS = (
    *("join_order", "common_subexpressions", "common_subplan", "compressed_materialization"),
    *("partial_aggregate_pushdown", "join_elimination", "projection_placement"),
)
_MOST_IDLE = 8
_MOST_USES = 40


@dataclass(slots=True)
class _Instance:
    """A database for small engines, one after the other; how many there were."""

    connection: duckdb.DuckDBPyConnection
    process: int
    uses: int = 0


_idle: list[_Instance] = []
_idle_lock = threading.Lock()


def small_engine() -> Engine:
    """An empty engine on one thread for few rows, where planning takes longer than computing.

    To open a database takes longer than to answer a question about one account: so it is kept
    when the engine is closed, and the next engine gets a catalog of its own in it.
    """
    with _idle_lock:
        # A connection does not survive a fork.
        own = [kept for kept in _idle if kept.process == os.getpid()]
        _idle[:] = own[:-1]
    instance = own[-1] if own else _small_instance()
    instance.uses += 1
    connection = instance.connection.cursor()
    connection.execute("ATTACH ':memory:' AS work; USE work; SET TimeZone = 'UTC'")

    def give_back(used: duckdb.DuckDBPyConnection) -> None:
        try:
            used.execute("USE memory; DETACH work")
        except duckdb.Error:
            # Interrupted, or a result was left half read: such an instance is not used again.
            used.close()
            instance.connection.close()
            return
        used.close()
        if instance.uses < _MOST_USES:
            _keep(instance)
        else:
            # Where there can be no more threads, the next engine opens an instance for itself.
            with suppress(RuntimeError):
                threading.Thread(target=_renew, args=(instance,), name="renewing").start()

    return Engine(connection, give_back)


def _keep(instance: _Instance) -> None:
    with _idle_lock:
        if len(_idle) < _MOST_IDLE:
            _idle.append(instance)


def _renew(instance: _Instance) -> None:
    """Keep a new one in place of this. An instance plans ever more slowly, by a third within two
    hundred answers; to open one takes 20 ms, which nobody has to wait for."""
    instance.connection.close()
    _keep(_small_instance())


def _small_instance() -> _Instance:
    connection = _connect({**_OFFLINE, "temp_directory": "", "threads": "1"})
    skipped = ",".join(_SKIPPED_FOR_FEW_ROWS)
    connection.execute(f"SET GLOBAL disabled_optimizers = '{skipped}'")
    # Usage segments never change: their footers are read once, their pages by the machine's cache.
    connection.execute("SET GLOBAL parquet_metadata_cache = true")
    connection.execute("SET GLOBAL enable_external_file_cache = false")
    return _Instance(connection, os.getpid())


def _connect(
    settings: Settings,
) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    # It would be written to standard output, among what a command prints.
    connection.execute("SET enable_progress_bar = false")
    return connection


_PLAIN = {
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
}


def _nothing(schema: pa.Schema) -> str | None:
    """A SELECT of no row of these columns; None where one is of another type."""
    columns = []
    for column in schema:
        kind = _PLAIN.get(column.type)
        if pa.types.is_decimal128(column.type):
            kind = f"DECIMAL({column.type.precision},{column.type.scale})"
        if kind is None:
            return None
        columns.append(f"CAST(NULL AS {kind}) AS {sql_name(column.name)}")
    return f"SELECT {', '.join(columns)} WHERE false" if columns else None


def sql_literal(text: str) -> str:
    """``text`` as a quoted SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
