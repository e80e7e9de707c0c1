"""Databases of organisations: created, migrated, copied from a template and dropped."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import sql as pgsql
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import OperationalError

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.database import build_engine
from counterfoil.platform.records.database_url import render_url

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 4_215_001
_TEMPLATE_LOCK = 4_215_002
_SECONDS_TO_LEAVE = 0.05

# Copying through the log takes 40 ms for a small template; FILE_COPY needs two checkpoints, which
# pays only where nothing has to reach a disk.
_STRATEGY = "WAL_LOG"


def migrate(url: str) -> None:
    """Bring a database to the newest schema, unless it has it; one process at a time, others wait.

    Refused: 503 when the database cannot be reached, 409 when it was made by a newer program.
    """
    engine = build_engine(url)
    try:
        with engine.connect() as connection, connection.begin():
            if connection.exec_driver_sql("SHOW server_encoding").scalar() != "UTF8":
                raise Refused(Problem("wrong_encoding", "the database must have encoding UTF8"))
            if _migrated_to(connection) != newest_migration():
                _upgrade(connection)
    except OperationalError as error:
        raise _unreachable(url, error.orig) from error
    finally:
        engine.dispose()


def newest_migration() -> str:
    """The revision of the last migration: the number with which its file's name begins."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _migrated_to(connection: Connection) -> object:
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is None:
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _upgrade(connection: Connection) -> None:
    from counterfoil.platform.records.upgrading import upgrade  # noqa: PLC0415 - rarely needed

    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    upgrade(connection, MIGRATIONS)


def schema_version() -> str:
    """A short word that changes whenever the migrations do."""
    digest = hashlib.sha256()
    for path in sorted((MIGRATIONS / "versions").glob("*.*")):
        if path.suffix in (".py", ".sql"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def create_database(server_url: str, name: str) -> None:
    """Create an empty database beside the one of the URL, unless it exists."""
    with _maintenance(server_url) as connection:
        exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if exists.fetchone() is None:
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                _create(connection, name, "template0")


def sibling_url(server_url: str, name: str) -> str:
    """The URL of another database on the same server."""
    return render_url(make_url(server_url).set(database=name))


@contextmanager
def scratch_database(server_url: str, like: str | None = None) -> Iterator[str]:
    """The URL of a migrated database of one's own, dropped at the end.

    It is a copy of a template that is migrated once per version of the schema, or of the database
    of the URL ``like`` on the same server, to which nobody may be connected. A lock that
    lives as long as its owner's connection tells scratch databases in use from those left by a
    killed process; the latter are dropped here as well.
    """
    name = family(server_url, "scratch") + secrets.token_hex(6)
    with _maintenance(server_url) as connection:
        for leftover in _databases(connection, family(server_url, "scratch")):
            if _lock_name(connection, leftover):
                _drop(connection, leftover)
                _unlock_name(connection, leftover)
        _lock_name(connection, name)
        if like is None:
            _copy_template(connection, server_url, name)
        else:
            _create(connection, name, str(make_url(like).database))
        try:
            yield sibling_url(server_url, name)
        finally:
            _drop(connection, name)


def family(server_url: str, purpose: str) -> str:
    """How the names of databases begin that were made from the database of this URL.

    Its locks do not reach beyond it: what was made from another one may be in use.
    """
    database = make_url(server_url).database or ""
    return f"counterfoil_{purpose}_{hashlib.sha256(database.encode()).hexdigest()[:6]}_"


@contextmanager
def _maintenance(server_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    url = render_url(make_url(server_url).set(drivername="postgresql"))
    try:
        connection = psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise _unreachable(server_url, error) from error
    with connection:
        yield connection


def _unreachable(url: str, error: object) -> Refused:
    shown = make_url(url).render_as_string(hide_password=True)
    message = f"{shown} cannot be used: {str(error).strip()}"
    return Refused(Problem("database_unreachable", message), status=503)


def _create(connection: psycopg.Connection[tuple[object, ...]], name: str, template: str) -> None:
    statement = pgsql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
        pgsql.Identifier(name), pgsql.Identifier(template), pgsql.SQL(_STRATEGY)
    )
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        message = "the database's user may not create databases: ALTER ROLE ... CREATEDB"
        raise Refused(Problem("may_not_create_databases", message), status=503) from error


def _drop(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    # Where PostgreSQL meets a session that is just ending, it looks again only after 100 ms.
    give_up = time.monotonic() + _SECONDS_TO_LEAVE
    while _in_use(connection, name) and time.monotonic() < give_up:
        time.sleep(0.001)
    connection.execute(
        pgsql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(pgsql.Identifier(name))
    )


def _in_use(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    found = connection.execute("SELECT FROM pg_stat_activity WHERE datname = %s LIMIT 1", [name])
    return found.fetchone() is not None


def _lock_name(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    taken = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]
    ).fetchone()
    return taken is not None and bool(taken[0])


def _unlock_name(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])


def _databases(connection: psycopg.Connection[tuple[object, ...]], prefix: str) -> list[str]:
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix]
    )
    return [str(name) for (name,) in rows]


def _copy_template(
    connection: psycopg.Connection[tuple[object, ...]], server_url: str, name: str
) -> None:
    """Copy the template while nobody replaces it; migrate it first where it is missing."""
    template = family(server_url, "template") + schema_version()
    connection.execute("SELECT pg_advisory_lock_shared(%s)", [_TEMPLATE_LOCK])
    try:
        with suppress(psycopg.errors.InvalidCatalogName):
            _create(connection, name, template)
            return
    finally:
        connection.execute("SELECT pg_advisory_unlock_shared(%s)", [_TEMPLATE_LOCK])
    connection.execute("SELECT pg_advisory_lock(%s)", [_TEMPLATE_LOCK])
    try:
        _replace_template(connection, server_url, template)
        _create(connection, name, template)
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", [_TEMPLATE_LOCK])


def _replace_template(
    connection: psycopg.Connection[tuple[object, ...]], server_url: str, template: str
) -> None:
    names = _databases(connection, family(server_url, "template"))
    if template in names:
        return
    for name in names:
        _drop(connection, name)
    unfinished = f"{template}_unfinished"
    _create(connection, unfinished, "template0")
    migrate(sibling_url(server_url, unfinished))
    connection.execute(
        pgsql.SQL("ALTER DATABASE {} RENAME TO {}").format(
            pgsql.Identifier(unfinished), pgsql.Identifier(template)
        )
    )
