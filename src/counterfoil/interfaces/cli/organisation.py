"""``counterfoil init`` and ``counterfoil status``: the organisation a command works on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Annotated

import typer

from counterfoil.bootstrap import Organisation, Settings, open_organisation
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.output import print_properties
from counterfoil.platform.records.unit_of_work import UnitOfWork

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON in place of a table.")]


def day_of(moment: datetime | None) -> date | None:
    """The day that an option for days was given, which the command line reads as its midnight."""
    return None if moment is None else moment.date()


COUNTED = ("account", "subscription", "usage_batch", "invoice")


@contextmanager
def opened_organisation() -> Iterator[Organisation]:
    """The organisation that the environment names, made on first use; closed at the end."""
    with open_organisation(Settings.from_environment(os.environ)) as organisation:
        yield organisation


@contextmanager
def opened_records() -> Iterator[UnitOfWork]:
    """One transaction on that organisation's records, committed at the end."""
    with (
        opened_organisation() as organisation,
        organisation.database.transaction(now=organisation.clock()) as uow,
    ):
        yield uow


@contextmanager
def rehearsed_records() -> Iterator[UnitOfWork]:
    """The same transaction, of which nothing stays: what is done in it is checked in full."""
    with (
        opened_organisation() as organisation,
        organisation.database.rehearsal(now=organisation.clock()) as uow,
    ):
        yield uow


def init(as_json: AsJson = False) -> None:
    """Make the organisation: its data folder, its database server and its tables.

    Every other command does the same when it comes first; doing it again changes nothing.
    """
    with opened_organisation() as organisation:
        _print_status(organisation, as_json=as_json)


def status(as_json: AsJson = False) -> None:
    """Show where the organisation lives and how much is in it."""
    settings = Settings.from_environment(os.environ)
    data = settings.home / "postgres" / "data"
    if settings.database_url is None and not data.exists():
        message = f"there is no organisation in {settings.home}; `counterfoil init` makes one"
        raise Refused(Problem("no_organisation", message, "COUNTERFOIL_HOME"), status=404)
    with open_organisation(settings) as organisation:
        _print_status(organisation, as_json=as_json)


def _print_status(organisation: Organisation, *, as_json: bool) -> None:
    catalogue = organisation.database.catalogue
    counts = ", ".join(f"(select count(*) from {name}) as {name}" for name in COUNTED)
    with organisation.database.transaction(now=organisation.clock()) as uow:
        (found,) = uow.query(
            "select current_setting('server_version') as version, "
            f"current_database() as database, {counts}"
        )
    own = Settings.from_environment(os.environ).database_url is not None
    where = "COUNTERFOIL_DATABASE_URL" if own else "embedded"
    properties: dict[str, object] = {
        "home": str(organisation.home),
        "server": f"PostgreSQL {found['version']} ({where})",
        "database": found["database"],
        **{catalogue.entity(name).plural: found[name] for name in COUNTED},
    }
    print_properties("Organisation", properties, as_json=as_json)
