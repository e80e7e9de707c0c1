"""Jobs over HTTP: asked for, made due again, cancelled; jobs and schedules are records like all
others."""

from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import API, JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.records import record_answer, record_id
from counterfoil.interfaces.rest.schemas import create_schema
from counterfoil.platform.jobs.deciding import cancel_job, retry_job
from counterfoil.platform.jobs.enqueuing import Request, ask_for_job
from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import document, instant, text
from counterfoil.platform.records.unit_of_work import UnitOfWork

NEW_JOB = Entity(
    name="new_job",
    plural="new_jobs",
    fields=(
        text("kind", required=True, max_length=60, help="One of GET /job-kinds."),
        document("payload", help="What the kind of job needs to know."),
        text("key", help="While one of the kind with this key waits, there is no second one."),
        instant("not_before", help="At once by default."),
        text("time_zone", default="UTC", help="Whose calendar says what today is."),
    ),
)

ANSWER = {JSON: {"$ref": "#/components/schemas/Job"}}


def post_job(uow: UnitOfWork, call: Call) -> Answer:
    """Ask for a job."""
    body = command_body(call, NEW_JOB)
    request = Request(
        body["kind"],
        {} if body["payload"] is None else body["payload"],
        key=body["key"],
        not_before=body["not_before"],
        time_zone=body["time_zone"] or "UTC",
    )
    job = ask_for_job(uow, request, call.caller.own_access)
    return record_answer(uow.get("job", job), 202, {"location": f"{API}/jobs/{job}"})


def post_retry(uow: UnitOfWork, call: Call) -> Answer:
    """Make a job due now."""
    return record_answer(retry_job(uow, record_id(call)))


def post_cancel(uow: UnitOfWork, call: Call) -> Answer:
    """End a job that waits or has failed."""
    return record_answer(cancel_job(uow, record_id(call)))


def get_kinds(uow: UnitOfWork, call: Call) -> Answer:
    """The kinds of jobs that the caller may ask for, each with the schema of its payload."""
    kinds = [
        {"kind": kind.name, "help": kind.help, "payload": create_schema(kind.shape)}
        for kind in uow.catalogue.job_kinds.values()
        if call.caller.own_access.may_run(kind.command)
    ]
    return json_answer({"kinds": kinds})


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/jobs",
        command="enqueue_jobs",
        handler=in_transaction(post_job),
        summary="Ask for a job",
        help="Of a kind whose command is granted. It is done by a worker, soon or not before a "
        "moment; the answer says how it stands.",
        bodies=body_schema(NEW_JOB),
        examples={JSON: {"kind": "run_bills", "payload": {"account": "ACME-01"}}},
        answers=ANSWER,
        status=202,
        makes=("job",),
    ),
    Endpoint(
        method="POST",
        path="/jobs/{id}/retry",
        command="retry_jobs",
        handler=in_transaction(post_retry),
        summary="Make a job due now",
        help="One that failed, waits, was done or cancelled; not one that is running.",
        answers=ANSWER,
        subject="job",
    ),
    Endpoint(
        method="POST",
        path="/jobs/{id}/cancel",
        command="cancel_jobs",
        handler=in_transaction(post_cancel),
        summary="End a job that waits or has failed, without doing it",
        answers=ANSWER,
        subject="job",
    ),
    Endpoint(
        method="GET",
        path="/job-kinds",
        command="enqueue_jobs",
        handler=reading(get_kinds),
        summary="The kinds of jobs that you may ask for, and what each can be told",
        answers={JSON: {"type": "object"}},
    ),
)
