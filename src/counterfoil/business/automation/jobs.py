"""What the program does about itself by jobs, and the schedule by which it does so."""

from dataclasses import asdict
from datetime import timedelta

from counterfoil.business.automation.cleaning import clean_up
from counterfoil.platform.files.store import FileStore
from counterfoil.platform.jobs.working import Assignment, Handler
from counterfoil.platform.metadata import JobKind, Record
from counterfoil.platform.metadata.fields import integer

CLEAN_UP = JobKind(
    name="clean_up",
    help="Delete answers to idempotency keys, extracts and finished jobs that are old.",
    fields=(
        integer("answer_days", default=30, minimum=1, help="How long answers are kept."),
        integer("extract_days", default=30, minimum=1, help="How long extracts are."),
        integer("job_days", default=90, minimum=1, help="How long done and cancelled jobs are."),
    ),
)

JOB_KINDS = (CLEAN_UP,)

SCHEDULES: tuple[Record, ...] = (
    {"external_id": "clean-up", "kind": CLEAN_UP.name, "at": "40 3 * * *"},
)
"""What is asked for regularly without anybody having said so."""


def cleaning_handlers(files: FileStore) -> dict[str, Handler]:
    """Who cleans up."""

    def clean(job: Assignment) -> Record:
        days = {name: timedelta(days=value) for name, value in job.payload.items()}
        done = clean_up(
            job.database,
            files,
            now=job.now,
            answers=days["answer_days"],
            extracts=days["extract_days"],
            jobs=days["job_days"],
        )
        return asdict(done)

    return {CLEAN_UP.name: clean}
