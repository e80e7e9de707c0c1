"""``counterfoil jobs``: what the program is to do by itself, when, and what became of it."""

from datetime import UTC, datetime
from threading import Event
from typing import Annotated

import typer

from counterfoil.bootstrap import open_worker
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation, opened_records
from counterfoil.interfaces.cli.output import print_properties, print_table
from counterfoil.interfaces.cli.records import read_values
from counterfoil.interfaces.worker.background import in_background
from counterfoil.interfaces.worker.jobs import working
from counterfoil.platform.jobs.deciding import cancel_job, list_jobs, retry_job
from counterfoil.platform.jobs.enqueuing import Request, ask_for_job
from counterfoil.platform.jobs.scheduling import enqueue_scheduled, told
from counterfoil.platform.jobs.working import Run
from counterfoil.platform.metadata import Record

app = typer.Typer(no_args_is_help=True, help="Jobs: now, later, or at the times of a schedule.")

Kind = Annotated[str, typer.Argument(help="Kind of job; `jobs kinds` lists them.")]
Payload = Annotated[list[str] | None, typer.Argument(help="field=value … of the payload.")]
Ids = Annotated[list[int], typer.Argument(help="Ids of jobs.")]
COLUMNS = ("id", "state", "kind", "payload", "due_at", "attempts", "error", "origin", "enqueued_by")
SCHEDULE_COLUMNS = ("external_id", "kind", "payload", "at", "time_zone", "active", "next_at")


@app.command()
def kinds(as_json: AsJson = False) -> None:
    """What can be done by a job, and what it can be told."""
    with opened_records() as uow:
        known = uow.catalogue.job_kinds.values()
    rows = [(one.name, ", ".join(field.name for field in one.fields), one.help) for one in known]
    print_table("Kinds of jobs", ("kind", "payload", "what_it_does"), rows, as_json=as_json)


@app.command("list")
def list_command(
    state: Annotated[
        str | None, typer.Option(help="waiting, running, done, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Rows at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with opened_records() as uow:
        rows = list_jobs(uow, state=state, limit=limit)
    print_table("Jobs", COLUMNS, [[row[c] for c in COLUMNS] for row in rows], as_json=as_json)


@app.command("enqueue")
def enqueue_command(
    kind: Kind,
    payload: Payload = None,
    key: Annotated[
        str | None, typer.Option(help="While one with this key waits, there is no second one.")
    ] = None,
    not_before: Annotated[
        datetime | None, typer.Option(help="Not before that moment, in UTC.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Whose calendar says what today is.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Ask for a job.

    Example: counterfoil jobs enqueue run_bills account=ACME billing_date=2026-11-01
    """
    moment = None if not_before is None else not_before.replace(tzinfo=UTC)
    with opened_records() as uow:
        values = read_values(uow, uow.catalogue.job_kind(kind).shape, payload or [])
        asked = Request(kind, values, key=key, not_before=moment, time_zone=time_zone)
        job = ask_for_job(uow, asked, uow.access)
        made = uow.get("job", job)
    print_properties("Job", {name: made[name] for name in COLUMNS}, as_json=as_json)


@app.command()
def run(as_json: AsJson = False) -> None:
    """Run what is due, schedules too, and end; `counterfoil serve` does so all the time."""
    with opened_organisation() as organisation:
        worker = open_worker(organisation)
        enqueue_scheduled(organisation.database, organisation.clock())
        rows = [(run.job_id, run.kind, run.state, run.error) for run in worker.run_due()]
    print_table("Jobs", ("id", "kind", "state", "error"), rows, as_json=as_json)


@app.command()
def work(
    threads: Annotated[
        int, typer.Option(min=1, max=8, help="Jobs at the same time, one of them a lengthy one.")
    ] = 2,
) -> None:
    """Run jobs until interrupted, without answering requests: a worker beside `serve`."""
    try:
        with (
            opened_organisation() as organisation,
            in_background(working(organisation, threads, _report)),
        ):
            typer.echo("Working. Ctrl-C stops it.")
            Event().wait()
    except KeyboardInterrupt:
        typer.echo("Stopped.")


def _report(run: Run) -> None:
    typer.echo(f"job {run.job_id} {run.kind}: {run.state} {run.error}".rstrip())


@app.command()
def retry(jobs: Ids, as_json: AsJson = False) -> None:
    """Make jobs due now: those that failed, or that were done or cancelled."""
    with opened_records() as uow:
        rows = [retry_job(uow, job) for job in jobs]
    _print_decided(rows, as_json=as_json)


@app.command()
def cancel(jobs: Ids, as_json: AsJson = False) -> None:
    """End jobs that wait or have failed, without doing them."""
    with opened_records() as uow:
        rows = [cancel_job(uow, job) for job in jobs]
    _print_decided(rows, as_json=as_json)


def _print_decided(rows: list[Record], *, as_json: bool) -> None:
    columns = ("id", "kind", "state", "due_at")
    print_table("Jobs", columns, [[row[c] for c in columns] for row in rows], as_json=as_json)


@app.command()
def schedule(
    name: Annotated[str, typer.Argument(help="External id of the schedule, new or known.")],
    kind: Kind,
    payload: Payload = None,
    at: Annotated[
        str, typer.Option(help="Minute, hour, day of month, month, day of week, as in cron.")
    ] = "0 2 * * *",
    time_zone: Annotated[str, typer.Option(help="By whose clock.")] = "UTC",
    off: Annotated[bool, typer.Option("--off", help="Ask for nothing until it is on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a job again and again.

    Example: counterfoil jobs schedule nightly run_bills --at "30 2 * * *" --time-zone Europe/Berlin
    """
    with opened_records() as uow:
        values: Record = {
            "external_id": name,
            "kind": kind,
            "payload": read_values(uow, uow.catalogue.job_kind(kind).shape, payload or []),
            "at": at,
            "time_zone": time_zone,
            "active": not off,
        }
        (made,) = uow.upsert_many("job_schedule", "external_id", [values])
        saved = uow.get("job_schedule", made.id)
    shown = {column: saved[column] for column in SCHEDULE_COLUMNS}
    print_properties("Schedule", {**shown, "in_words": told(saved["at"])}, as_json=as_json)


@app.command()
def schedules(as_json: AsJson = False) -> None:
    """What is asked for again and again, and when next."""
    with opened_records() as uow:
        found = uow.list("job_schedule", sort=("external_id",), limit=1000).records
    columns = (*SCHEDULE_COLUMNS, "last_at", "problem", "in_words")
    rows = [
        [*(row[column] for column in (*SCHEDULE_COLUMNS, "last_at", "problem")), told(row["at"])]
        for row in found
    ]
    print_table("Schedules", columns, rows, as_json=as_json)
