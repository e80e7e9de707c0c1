"""A database with kinds of jobs of its own, and a worker whose handlers a test gives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from counterfoil.bootstrap import CATALOGUE, CHECKS, Settings, scratch_organisation
from counterfoil.platform.jobs.working import Handler, Worker
from counterfoil.platform.metadata import JobKind, build_catalogue
from counterfoil.platform.metadata.fields import date, decimal, text
from counterfoil.platform.records.database import Database
from counterfoil.platform.rules.running import CustomerRules

NOW = datetime(2026, 2, 1, 6, 0, tzinfo=UTC)

REMIND = JobKind(
    name="remind",
    help="Remind an account.",
    fields=(text("account", required=True), date("due"), decimal("amount", 12, 2)),
)
SETTLE = JobKind(name="settle", help="Settle everything.", most_failures=3, lengthy=True)
KINDS = (REMIND, SETTLE)
KNOWN = build_catalogue(CATALOGUE.declared, job_kinds=KINDS)


@dataclass
class Clock:
    """A clock that goes on when it is told."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: int) -> None:
        self.now += timedelta(**by)


@dataclass
class Office:
    """A database whose jobs are done by the handlers of a test."""

    database: Database
    clock: Clock = field(default_factory=Clock)

    def worker(self, handlers: Mapping[str, Handler]) -> Worker:
        return Worker(self.database, handlers, self.clock)

    def jobs(self, *columns: str) -> list[tuple[object, ...]]:
        with self.database.transaction(now=NOW) as uow:
            rows = uow.query(f"SELECT {', '.join(columns)} FROM job ORDER BY id")
        return [tuple(row.values()) for row in rows]


def await_lock(office: Office) -> None:
    """PostgreSQL lets go of the lock of who is gone as soon as it notices: wait for that."""
    with office.database.transaction(now=NOW) as uow:
        uow.query("SELECT pg_advisory_xact_lock(hashtextextended('jobs/' || id, 0)) FROM job")


@pytest.fixture(scope="session")
def job_database(server: Settings) -> Iterator[Database]:
    """One database for all tests of jobs; they empty it."""
    with scratch_organisation(server) as organisation:
        database = Database(organisation.database.url, KNOWN, CHECKS, CustomerRules())
        yield database
        database.close()


@pytest.fixture
def office(job_database: Database) -> Office:
    with job_database.transaction(now=NOW) as uow:
        uow.execute(
            "TRUNCATE job, job_schedule, outgoing_event, record_change RESTART IDENTITY CASCADE"
        )
    return Office(job_database)
