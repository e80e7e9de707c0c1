"""What is kept for a time only is deleted when that is over, and nothing else."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from counterfoil.bootstrap import Organisation, Settings, open_worker, scratch_organisation
from counterfoil.platform.extracts.requests import Batch, begin_extract, complete_extract
from counterfoil.platform.jobs.enqueuing import enqueue
from counterfoil.platform.model.applying import apply_change_set
from counterfoil.platform.records.statements import Answer

NOW = datetime(2026, 2, 1, 6, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=31)


@pytest.fixture
def organisation(server: Settings) -> Iterator[Organisation]:
    """An organisation whose clock stands still."""
    with scratch_organisation(server, lambda: NOW) as scratch:
        yield scratch


def extracted(organisation: Organisation, name: str, contents: list[bytes], at: datetime) -> None:
    batches = []
    for content in contents:
        sha256, _ = organisation.files.keep([content])
        os.utime(organisation.files.path_of(sha256), (at.timestamp(), at.timestamp()))
        batches.append(Batch(1, sha256))
    with organisation.database.transaction(now=at) as uow:
        values = {"name": name, "method": "query", "statement": "SELECT", "format": "json"}
        complete_extract(uow, begin_extract(uow, values, "ann"), batches)


def contents(organisation: Organisation) -> set[bytes]:
    return {path.read_bytes() for path in organisation.files.folder.rglob("*") if path.is_file()}


def test_old_answers_extracts_and_jobs_go_and_newer_ones_stay(organisation: Organisation) -> None:
    extracted(organisation, "old", [b"only old", b"both", b"kept again"], OLD)
    extracted(organisation, "new", [b"both", b"only new"], NOW - timedelta(days=29))
    organisation.files.keep([b"kept again"])
    for at, key in ((OLD, "old"), (NOW - timedelta(days=29), "new")):
        with organisation.database.transaction(now=at) as uow:
            uow.remember_answer(key, "f", Answer(201, "{}"))
            begin_extract(
                uow,
                {"name": key, "method": "query", "statement": "SELECT", "format": "json"},
                "ann",
            )
    long_ago = NOW - timedelta(days=91)
    with organisation.database.transaction(now=long_ago) as uow:
        for state in ("done", "cancelled", "failed"):
            job = enqueue(uow, "refresh_drafts", {})
            uow.execute(
                "UPDATE job SET state = :state, finished_at = :now WHERE id = :id",
                id=job,
                state=state,
                now=long_ago,
            )
    with organisation.database.transaction(now=NOW) as uow:
        enqueue(uow, "clean_up", {})
    worker = open_worker(organisation)
    (run,) = worker.run_due()
    assert (run.kind, run.state) == ("clean_up", "done")
    with organisation.database.transaction(now=NOW) as uow:
        assert [row["key"] for row in uow.query("SELECT key FROM idempotent_answer")] == ["new"]
        told = uow.query("SELECT name, status FROM extract ORDER BY id")
        kept = [row["kind"] for row in uow.query("SELECT kind FROM job ORDER BY id")]
        (done,) = uow.query("SELECT result FROM job WHERE kind = 'clean_up'")
    assert [(row["name"], row["status"]) for row in told] == [
        ("new", "complete"),
        ("old", "pending"),
        ("new", "pending"),
    ]
    assert kept == ["refresh_drafts", "clean_up"], "what failed waits for somebody"
    assert done["result"] == {"answers": 1, "jobs": 2, "files": 1}
    assert contents(organisation) == {b"both", b"only new", b"kept again"}


def test_what_jobs_have_exported_goes_with_them_but_for_what_is_used(
    organisation: Organisation,
) -> None:
    database = organisation.database
    # The name of an entity may be a word of SQL.
    files = "{account: {x_list: {kind: file}}, order: {x_scan: {kind: file}}}"
    contract = f"change_set: C\nfields: {files}\n"
    apply_change_set(database, contract, now=NOW, source="cli")
    with database.transaction(now=NOW) as uow:
        account = uow.create("account", {"external_id": "ACME", "name": "Acme"})["id"]
        for entity in ("account", "site", "contact"):
            enqueue(uow, "export_records", {"entity": entity})
    assert [run.state for run in open_worker(organisation).run_due()] == ["done"] * 3
    with database.transaction(now=NOW) as uow:
        (accounts, _, _) = (
            row["id"] for row in uow.query("SELECT id FROM stored_file ORDER BY id")
        )
        uow.update("account", int(account), {"x_list": accounts})
    apply_change_set(
        database, contract.replace("file}", "file, retired: true}"), now=NOW, source="cli"
    )
    with database.transaction(now=NOW) as uow:
        past = NOW - timedelta(days=91)
        uow.execute(
            "UPDATE job SET finished_at = :past WHERE payload <> '{}' AND id < 3", past=past
        )
        for path in organisation.files.folder.rglob("*"):
            os.utime(path, (past.timestamp(), past.timestamp()))
        enqueue(uow, "clean_up", {})
    assert [run.state for run in open_worker(organisation).run_due()] == ["done"]
    apply_change_set(database, contract, now=NOW, source="cli")
    with database.transaction(now=NOW) as uow:
        names = {row["name"].split("-")[0] for row in uow.query("SELECT name FROM stored_file")}
        assert uow.get("account", int(account))["x_list"] == accounts
    assert names == {"accounts", "contacts"}, "one is used, one is new"
    assert len(contents(organisation)) == 2
