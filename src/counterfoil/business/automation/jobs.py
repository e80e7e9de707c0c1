"""Jobs over all rooms: records are exported, and what is old is cleaned up by a schedule."""

import tempfile
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from counterfoil.business.automation.cleaning import clean_up
from counterfoil.platform.files.store import FileStore, record_file
from counterfoil.platform.jobs.working import Assignment, Handler
from counterfoil.platform.metadata import JobKind, Record
from counterfoil.platform.metadata.fields import choice, integer, text
from counterfoil.platform.transfer.exporting import Export, export_records

CLEAN_UP = JobKind(
    name="clean_up",
    lengthy=True,
    help="Delete answers to idempotency keys, extracts and finished jobs that are old.",
    fields=(
        integer("answer_days", default=30, minimum=1, help="How long answers are kept."),
        integer("extract_days", default=30, minimum=1, help="How long extracts are."),
        integer("job_days", default=90, minimum=1, help="How long done and cancelled jobs are."),
    ),
)

EXPORT_RECORDS = JobKind(
    name="export_records",
    lengthy=True,
    help="Export all records of an entity into a stored file, as an import takes them.",
    fields=(
        text("entity", required=True, max_length=63, help="Such as account."),
        choice("format", ("csv", "xlsx"), default="csv"),
    ),
)

MEDIA_TYPES = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

JOB_KINDS = (CLEAN_UP, EXPORT_RECORDS)

SCHEDULES: tuple[Record, ...] = (
    {"external_id": "clean-up", "kind": CLEAN_UP.name, "at": "40 3 * * *"},
)
"""What is asked for regularly without anybody having said so."""


def file_handlers(files: FileStore) -> dict[str, Handler]:
    """Who exports and cleans up in the store of files."""

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

    def export(job: Assignment) -> Record:
        entity, kind = job.payload["entity"], job.payload["format"] or "csv"
        with (
            tempfile.TemporaryDirectory(prefix="counterfoil-export-") as folder,
            job.database.transaction(now=job.now) as uow,
        ):
            plural = uow.catalogue.entity(entity).plural.replace("_", "-")
            name = f"{plural}-{job.today.isoformat()}.{kind}"
            path = Path(folder) / name
            count = export_records(uow, Export(entity=entity), path, kind)
            sha256, size = files.keep_file(path)
            # The same content under the same name is there already when the job is run again.
            known = uow.find("stored_file", name=name, sha256=sha256)
            made = known["id"] if known else None
            if made is None:
                made = record_file(uow, name, MEDIA_TYPES[kind], (sha256, size))
        return {"stored_file": made, "name": name, "records": count}

    return {CLEAN_UP.name: clean, EXPORT_RECORDS.name: export}
