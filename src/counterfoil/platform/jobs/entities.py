"""Declarations of jobs: what is to be done, and what became of it."""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    boolean,
    choice,
    document,
    instant,
    integer,
    text,
)

STATES = ("waiting", "running", "done", "failed", "cancelled")

JOB = Entity(
    name="job",
    apart=True,
    plural="jobs",
    help="Something to be done by the program itself: waiting, running, done or given up.",
    created_by_command=True,
    history=False,
    unique=(("kind", "open_key"),),
    indexes=(("state", "due_at", "id"), ("finished_at",)),
    fields=(
        text("kind", required=True, max_length=60),
        text("key", help="Of open jobs of a kind with the same key there is one."),
        text("open_key", help="The key, until the job is done, given up or cancelled."),
        document("payload", required=True, help="What the kind of job needs to know."),
        choice("state", STATES, required=True, help="failed: it was given up; retry makes it due."),
        instant("due_at", required=True, help="When it may be done, or tried again."),
        instant("again_at", help="When it is due once more: it was asked for while it ran."),
        text("time_zone", required=True, help="Whose calendar says what today is."),
        text("origin", required=True, help="What has asked for it: rest, cli, rules/NAME, …"),
        text("enqueued_by", required=True, help="Who has asked for it; the history names him."),
        integer("depth", required=True, help="How many rules in a row have led to it."),
        integer("attempts", required=True, help="All that were begun."),
        integer("failures", required=True, help="Failed ones since the start or a retry."),
        text("error", max_length=2000, help="What was wrong with the last attempt."),
        document("result", help="What the last attempt has to tell."),
        instant("started_at", help="When the last attempt began."),
        instant("finished_at", help="When it was done, given up or cancelled."),
    ),
)

JOB_SCHEDULE = Entity(
    name="job_schedule",
    apart=True,
    plural="job_schedules",
    help="When a job is asked for again and again.",
    indexes=(("next_at",),),
    fields=(
        EXTERNAL_ID,
        text("kind", required=True, max_length=60, help="The kind of job."),
        document("payload", help="What the job is told."),
        text("at", required=True, max_length=100, help="A cron line, such as 30 2 * * *."),
        text("time_zone", required=True, default="UTC", help="By whose clock; an IANA name."),
        boolean("active", required=True, default=True, help="Nothing is asked for while not."),
        instant("next_at", computed=True, help="When it is asked for next."),
        instant("last_at", computed=True, help="When it was asked for last."),
        text("problem", computed=True, max_length=1000, help="Why that could not be done."),
    ),
)

ENTITIES = (JOB, JOB_SCHEDULE)
