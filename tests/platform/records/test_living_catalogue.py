"""The catalogue of a running process: rebuilt once when it has moved, kept while it is used."""

import threading
from datetime import UTC, datetime

import pytest

from counterfoil.bootstrap import CATALOGUE, CHECKS
from counterfoil.platform.metadata import Catalogue
from counterfoil.platform.model.applying import apply_change_set
from counterfoil.platform.records import living_catalogue
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
NOTE = "change_set: Notes\nfields: {site: {x_note: {kind: text}}}\n"


def test_many_threads_rebuild_it_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Catalogue] = []
    plain = living_catalogue.build_catalogue
    other = Database(database.url, CATALOGUE, CHECKS)
    apply_change_set(database, NOTE, now=NOW, source="cli")

    def build(*args: object, **named: object) -> Catalogue:
        built.append(plain(*args, **named))  # type: ignore[arg-type]
        return built[-1]

    monkeypatch.setattr(living_catalogue, "build_catalogue", build)
    seen: list[Catalogue] = []
    ready = threading.Barrier(8)

    def begin() -> None:
        ready.wait()
        with other.transaction(now=NOW) as uow:
            seen.append(uow.catalogue)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert len(built) == 1
    assert all(one is built[0] for one in seen)
    assert seen[0].entity("site").field("x_note") is not None


def test_a_transaction_keeps_its_catalogue(database: Database) -> None:
    with database.transaction(now=NOW) as running:
        before = running.catalogue
        # Nothing of the sites was read here, so nobody waits.
        apply_change_set(database, NOTE, now=NOW, source="cli")
        assert running.catalogue is before
        with database.transaction(now=NOW) as later:
            assert later.catalogue.version == before.version + 1
        assert running.list("site").records == []


def test_what_does_not_fit_the_program_any_more_is_left_out_and_the_rest_served(
    database: Database,
) -> None:
    apply_change_set(database, NOTE, now=NOW, source="cli")
    with database.transaction(now=NOW) as uow:
        uow.execute("UPDATE custom_field SET entity = 'gone'")
        uow.execute("UPDATE catalogue_version SET version = version + 1")
    with database.transaction(now=NOW) as uow:
        assert [one.code for one in uow.catalogue.problems] == ["unknown_entity"]
        assert uow.catalogue.entity("site").field("x_note") is None
        assert uow.list("site").records == []


def test_a_kept_plan_of_every_column_outlives_a_new_column(database: Database) -> None:
    """Else PostgreSQL says: cached plan must not change result type."""
    with database.transaction(now=NOW) as uow:
        for _ in range(8):
            uow.query("SELECT * FROM seller")
    apply_change_set(database, NOTE.replace("site", "seller"), now=NOW, source="cli")
    with database.transaction(now=NOW) as uow:
        uow.create("seller", {"name": "Us", "country": "DE", "x_note": "there"})
        assert uow.query("SELECT * FROM seller")[0]["x_note"] == "there"
