"""Printing as a job: the invoices of a day, as PDF files below the home folder."""

from pathlib import Path

from counterfoil.business.documents.commands import render_invoices
from counterfoil.platform.jobs.working import Assignment, Handler
from counterfoil.platform.metadata import JobKind, Record
from counterfoil.platform.metadata.fields import date

PRINT_INVOICES = JobKind(
    name="print_invoices",
    command="print_invoices",
    lengthy=True,
    help="Print the final invoices and credit notes of a day into printed/DAY, as PDF.",
    fields=(date("invoice_date", help="Of the documents; today by default."),),
)

JOB_KINDS = (PRINT_INVOICES,)

_OF_DAY = """
SELECT id FROM invoice WHERE state = 'final' AND invoice_date = CAST(:day AS date) ORDER BY id
"""


def printing_handlers(folder: Path) -> dict[str, Handler]:
    """Who prints; printing again replaces the files by the same ones."""

    def print_day(job: Assignment) -> Record:
        day = job.payload["invoice_date"] or job.today
        with job.database.transaction(now=job.now) as uow:
            ids = [int(row["id"]) for row in uow.query(_OF_DAY, day=day)]
        target = folder / day.isoformat()
        paths = render_invoices(job.database, ids, target, now=job.now)
        return {"folder": str(target), "documents": len(paths)}

    return {PRINT_INVOICES.name: print_day}
