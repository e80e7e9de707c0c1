"""Settings, opened organisations and scratch organisations."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from counterfoil.bootstrap import (
    JOB_KINDS,
    Organisation,
    Settings,
    job_handlers,
    open_organisation,
    scratch_organisation,
)
from counterfoil.core.problems import Refused

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def test_settings_come_from_the_environment(tmp_path: Path):
    settings = Settings.from_environment(
        {
            "COUNTERFOIL_HOME": str(tmp_path),
            "COUNTERFOIL_DATABASE_URL": "postgres://jan:secret@db:5433/billing",
            "COUNTERFOIL_ADMIN_TOKEN": "t",
            "COUNTERFOIL_RUNNER": "processes[2]",
        }
    )
    url = "postgresql+psycopg://jan:secret@db:5433/billing"
    assert settings == Settings(tmp_path, url, "t", "processes[2]")
    assert Settings.from_environment({}) == Settings(Path(".counterfoil").absolute())


@pytest.mark.parametrize("url", ["billing", "mysql://db/billing", "sqlite:///x"])
def test_another_kind_of_database_is_refused(url: str):
    with pytest.raises(Refused) as refused:
        Settings.from_environment({"COUNTERFOIL_DATABASE_URL": url})
    assert refused.value.problems[0].field == "COUNTERFOIL_DATABASE_URL"


def test_another_kind_of_runner_is_refused():
    with pytest.raises(Refused, match="COUNTERFOIL_RUNNER: 'threads' is not a runner"):
        Settings.from_environment({"COUNTERFOIL_RUNNER": "threads"})


def test_an_organisation_is_made_on_first_use_and_found_again(server: Settings, tmp_path: Path):
    settings = Settings(tmp_path / "home")
    with open_organisation(settings) as organisation:
        with organisation.database.transaction(now=NOW) as uow:
            uow.create("seller", {"name": "Counterfoil Ltd"})
        assert organisation.home == tmp_path / "home"
    with (
        open_organisation(settings) as organisation,
        organisation.database.transaction(now=NOW) as uow,
    ):
        assert uow.find("seller", name="Counterfoil Ltd") is not None


def test_scratch_organisations_are_apart_from_each_other_and_vanish(server: Settings):
    with scratch_organisation(server) as one, scratch_organisation(server) as other:
        with one.database.transaction(now=NOW) as uow:
            uow.create("seller", {"name": "One"})
        with other.database.transaction(now=NOW) as uow:
            assert uow.list("seller").records == []
        folders = (one.home, other.home)
        assert all(folder.is_dir() for folder in folders)
    assert not any(folder.exists() for folder in folders)


def test_the_clock_of_an_organisation_can_be_set(server: Settings):
    with scratch_organisation(server, clock=lambda: NOW) as organisation:
        assert organisation.clock() == NOW


def test_a_data_folder_may_have_a_space_in_its_name(tmp_path: Path) -> None:
    settings = Settings.from_environment({"COUNTERFOIL_HOME": str(tmp_path / "my data + more")})
    for opening in (open_organisation, scratch_organisation):
        with opening(settings) as organisation:
            now = organisation.clock()
            with organisation.database.transaction(now=now) as uow:
                assert uow.query("SELECT count(*) AS n FROM account") == [{"n": 0}]


def test_every_kind_of_job_is_done_by_somebody(organisation: Organisation):
    assert set(job_handlers(organisation)) == {kind.name for kind in JOB_KINDS}
