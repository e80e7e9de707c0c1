"""The road to one organisation's PostgreSQL database."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import datetime
from typing import TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_loads
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import FULL_ACCESS, Access, Catalogue
from counterfoil.platform.records.exact_json import decode_json, encode_json
from counterfoil.platform.records.living_catalogue import LivingCatalogue
from counterfoil.platform.records.refusals import TRY_AGAIN
from counterfoil.platform.records.selecting import too_slow
from counterfoil.platform.records.unit_of_work import RecordCheck, RuleRunner, UnitOfWork

ATTEMPTS = 5
"""How often a unit of work is tried that others are in the way of."""

Answer = TypeVar("Answer")


class Database:
    """One organisation's database; hands out transactions, from any thread.

    ``url`` is a SQLAlchemy URL for psycopg, ``catalogue`` the program's own part of the catalogue,
    ``checks`` the rooms' own rules by entity, ``rules`` what carries out those of the customer.
    """

    def __init__(
        self,
        url: str,
        catalogue: Catalogue,
        checks: Mapping[str, RecordCheck] | None = None,
        rules: RuleRunner | None = None,
    ) -> None:
        self.url = url
        self._living = LivingCatalogue(catalogue)
        self._checks = checks or {}
        self._rules = rules
        self._engine = build_engine(url)
        self._source = "cli"
        self._actor = "admin"
        self._request_id: str | None = None
        self._depth = 0

    def acting(self, *, actor: str, source: str, request_id: str, depth: int = 0) -> "Database":
        """The same database, where all that is done is done in that name on that request.

        ``depth`` tells how many rules, one after the other, have led to that.
        """
        acting = copy(self)
        acting._depth = depth  # noqa: SLF001
        acting._actor, acting._source = actor, source  # noqa: SLF001 - it is a copy of this
        acting._request_id = request_id or None  # noqa: SLF001
        return acting

    @property
    def catalogue(self) -> Catalogue:
        """The newest catalogue seen here; what holds in a transaction is the unit of work's."""
        return self._living.catalogue

    @contextmanager
    def transaction(
        self,
        *,
        now: datetime,
        source: str | None = None,
        actor: str | None = None,
        access: Access = FULL_ACCESS,
        seconds: int | None = None,
    ) -> Iterator[UnitOfWork]:
        """A unit of work that is committed at the end, or rolled back by an exception.

        ``access`` is what the actor may do; the command line, jobs and commands may do all.
        ``source`` and ``actor`` are those of :meth:`acting` unless they are given.
        A statement that takes longer than ``seconds`` is refused (400).
        ``now`` must be aware: it stands in everything the unit of work writes. When the caller
        has ignored an error of the database, nothing can be committed: RuntimeError.
        """
        begun = self._begun(now, source, actor, access, rehearsal=False, seconds=seconds)
        with begun as unit_of_work:
            yield unit_of_work

    def attempt(
        self,
        work: Callable[[UnitOfWork], Answer],
        *,
        now: datetime,
        source: str | None = None,
        actor: str | None = None,
        access: Access = FULL_ACCESS,
    ) -> Answer:
        """What the work answers in a :meth:`transaction` of its own.

        When others were in its way (a deadlock) nothing of it was kept and it is done again, so it
        may do nothing outside of the unit of work.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.transaction(now=now, source=source, actor=actor, access=access) as uow:
                    return work(uow)
            except Refused as refused:
                if attempt == ATTEMPTS or refused.problems[0].code != TRY_AGAIN:
                    raise
        raise AssertionError("the last attempt answers or raises")

    @contextmanager
    def rehearsal(
        self,
        *,
        now: datetime,
        source: str | None = None,
        actor: str | None = None,
        access: Access = FULL_ACCESS,
    ) -> Iterator[UnitOfWork]:
        """A unit of work that is rolled back at the end: what would be if it were committed.

        All of it sees the database as it was at the first statement, plus its own writes. Ids that
        it takes from sequences are lost; numbers of documents are not.
        """
        with self._begun(now, source, actor, access, rehearsal=True) as unit_of_work:
            yield unit_of_work

    @contextmanager
    def _begun(
        self,
        now: datetime,
        source: str | None,
        actor: str | None,
        access: Access,
        *,
        rehearsal: bool,
        seconds: int | None = None,
    ) -> Iterator[UnitOfWork]:
        if now.utcoffset() is None:
            raise ValueError("now must be an aware instant")
        with self._engine.connect() as connection, connection.begin() as transaction:
            if rehearsal:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            snapshot = self._living.at(connection)
            _forget_plans(connection, snapshot.catalogue.version)
            with _bounded(connection, seconds):
                yield UnitOfWork(
                    connection,
                    snapshot.catalogue,
                    snapshot.tables,
                    self._checks,
                    now=now,
                    source=source or self._source,
                    actor=actor or self._actor,
                    request_id=self._request_id,
                    rehearsal=rehearsal,
                    rules=self._rules,
                    access=access,
                    depth=self._depth,
                )
            if rehearsal:
                transaction.rollback()
                return
            driver = connection.connection.driver_connection
            if driver is not None and driver.info.transaction_status == TransactionStatus.INERROR:
                # PostgreSQL would answer a COMMIT with a silent ROLLBACK.
                raise RuntimeError("an error within this transaction was ignored")

    def run_alone(self, name: str, statements: Callable[[], Sequence[str]]) -> bool:
        """Run statements that PostgreSQL wants outside of a transaction, such as for an index.

        False when others are at it under that name; ``statements`` is asked when nobody is.
        """
        key = (name,)
        with self._engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            locked = "SELECT pg_try_advisory_lock(hashtextextended(%s, 2))"
            if not alone.exec_driver_sql(locked, key).scalar():
                return False
            try:
                for sql in statements():
                    alone.exec_driver_sql(sql)
            finally:
                alone.exec_driver_sql("SELECT pg_advisory_unlock(hashtextextended(%s, 2))", key)
        return True

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engine.dispose()


def _forget_plans(connection: Connection, version: int) -> None:
    """Drop what a connection has prepared in an earlier version of the catalogue: where a column
    has more digits by now, PostgreSQL refuses the plan."""
    if connection.info.setdefault("version", version) != version:
        connection.info["version"] = version
        # The driver notices it the first time that it runs the same words.
        connection.exec_driver_sql(f"DEALLOCATE ALL -- version {version}")


@contextmanager
def _bounded(connection: Connection, seconds: int | None) -> Iterator[None]:
    """Refuse statements that take longer; no bound where there are no seconds."""
    if seconds is not None:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{seconds}s'")
    try:
        yield
    except DBAPIError as error:
        if seconds is None or not isinstance(error.orig, errors.QueryCanceled):
            raise
        raise too_slow(seconds) from None


# A machine that vanishes takes its leave of nobody: PostgreSQL asks whether it is still there, and
# lets go of its locks. It would do so after two hours by itself.
_NOTICING = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


def build_engine(url: str) -> Engine:
    """An engine with exact JSON numbers and UTC instants; connects when first used.

    The options of the URL hold, but for how times are told: that the program has to read.
    """
    given = make_url(url).query.get("options", ())
    options = (given,) if isinstance(given, str) else given
    engine = create_engine(
        url,
        pool_size=4,
        max_overflow=28,
        json_serializer=encode_json,
        json_deserializer=decode_json,
        connect_args={
            "options": " ".join((_NOTICING, *options, "-c timezone=UTC -c datestyle=ISO")),
            "client_encoding": "utf8",
        },
        # What is written may be a secret, and errors are logged.
        hide_parameters=True,
    )
    event.listen(engine, "connect", _exact_json)
    return engine


def _exact_json(connection: psycopg.Connection[object], _entry: ConnectionPoolEntry) -> None:
    set_json_loads(decode_json, connection)
