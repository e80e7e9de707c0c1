"""Subscriptions as they are stored, with the names of what they refer to."""

from collections.abc import Iterable

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def find_subscriptions(uow: UnitOfWork, external_ids: Iterable[str]) -> list[int]:
    """The ids of subscriptions, in order; refuses (404) unknown ones, all at once."""
    names = list(external_ids)
    ids = uow.ids_by("subscription", "external_id", names)
    problems = [
        Problem("unknown_subscription", f"there is no subscription {name!r}", "subscription")
        for name in names
        if name not in ids
    ]
    if problems:
        raise Refused(problems, status=404)
    return [ids[name] for name in names]


def list_subscriptions(uow: UnitOfWork, *, account_id: int | None = None) -> list[Record]:
    """Subscriptions, of one account or of all, by external id.

    Fields: external_id, account, rate_plan, site (external ids), start_date, end_date.
    """
    return uow.query(
        "SELECT subscription.external_id, account.external_id AS account,"
        " rate_plan.external_id AS rate_plan, site.external_id AS site,"
        " subscription.start_date, subscription.end_date FROM subscription"
        " JOIN account ON account.id = subscription.account_id"
        " JOIN rate_plan ON rate_plan.id = subscription.rate_plan_id"
        " LEFT JOIN site ON site.id = subscription.site_id"
        " WHERE subscription.account_id = coalesce(CAST(:account AS bigint),"
        " subscription.account_id) ORDER BY subscription.external_id",
        account=account_id,
    )


def read_quantities(uow: UnitOfWork, subscription_id: int) -> list[Record]:
    """The quantities of a subscription's charges over time.

    Fields: charge (external id), quantity, start_date, end_date, billed_through; replaced ones,
    which end on the day they start, are left out.
    """
    return uow.query(
        "SELECT charge.external_id AS charge, part.quantity, part.start_date, part.end_date,"
        " part.billed_through FROM subscription_charge AS part"
        " JOIN charge ON charge.id = part.charge_id WHERE part.subscription_id = :id"
        " AND (part.end_date IS NULL OR part.end_date > part.start_date)"
        " ORDER BY charge.id, part.start_date, part.id",
        id=subscription_id,
    )


def subscription_id_of(uow: UnitOfWork, external_id: str) -> int:
    """The id of one subscription; refuses (404) an unknown one."""
    return find_subscriptions(uow, [external_id])[0]
