"""What subscriptions have done by jobs: renewals that are due, at the prices of the new terms."""

from counterfoil.business.billing.changing import renew_subscriptions
from counterfoil.platform.jobs.working import Assignment, Handler
from counterfoil.platform.metadata import JobKind, Record
from counterfoil.platform.metadata.fields import date

RENEW_SUBSCRIPTIONS = JobKind(
    name="renew_subscriptions",
    command="renew_subscriptions",
    help="Renew the subscriptions whose term ends and that renew by themselves.",
    fields=(date("due", help="Those that end by this day; today by default."),),
)

JOB_KINDS = (RENEW_SUBSCRIPTIONS,)


def _renew(job: Assignment) -> Record:
    with job.database.transaction(now=job.now) as uow:
        done = renew_subscriptions(uow, job.payload["due"] or job.today)
    return {"terms": done.terms, "problems": done.problems}


HANDLERS: dict[str, Handler] = {RENEW_SUBSCRIPTIONS.name: _renew}
