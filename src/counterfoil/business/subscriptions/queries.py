"""Subscriptions as they are stored, with the names of what they refer to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from counterfoil.business.subscriptions.plans_held import plans_held
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


_AMENDMENTS = """
SELECT a.id, o.external_id AS subscription, a.kind, a.effective_date, a.billed_from, a.proration,
       p.external_id AS rate_plan,
       c.external_id AS charge, a.quantity, a.amount, a.uplift_percent, a.fee_percent,
       a.charged, a.until,
       s.external_id AS successor, a.made_by, a.created_at AS made_at, a.reason
FROM amendment a
JOIN subscription o ON o.id = a.subscription_id
LEFT JOIN rate_plan p ON p.id = a.rate_plan_id
LEFT JOIN charge c ON c.id = a.charge_id
LEFT JOIN subscription s ON s.id = a.successor_id
WHERE a.subscription_id = ANY(:ids) ORDER BY o.external_id, a.effective_date, a.id
"""

_IN_FORCE = """
SELECT s.external_id AS subscription, a.external_id AS account, t.external_id AS site,
       CASE WHEN CAST(:day AS date) < s.start_date THEN 'not_begun'
            WHEN s.end_date <= :day THEN 'ended'
            WHEN h.kind = 'suspend' THEN 'suspended'
            WHEN s.trial_end > :day THEN 'trial' ELSE 'active' END AS state,
       coalesce(n.external_id, p.external_id) AS rate_plan
FROM subscription s
JOIN account a ON a.id = s.account_id
JOIN rate_plan p ON p.id = s.rate_plan_id
LEFT JOIN site t ON t.id = s.site_id
LEFT JOIN LATERAL (
    SELECT kind FROM amendment WHERE subscription_id = s.id AND effective_date <= :day
       AND kind IN ('suspend', 'resume') ORDER BY effective_date DESC, id DESC LIMIT 1
) h ON true
LEFT JOIN LATERAL (
    SELECT r.external_id FROM amendment m JOIN rate_plan r ON r.id = m.rate_plan_id
    WHERE m.subscription_id = s.id AND m.effective_date <= :day
      AND m.kind IN ('change_plan', 'renew') ORDER BY m.effective_date DESC, m.id DESC LIMIT 1
) n ON true
WHERE s.id = :id
"""

_CHARGES_ON = """
SELECT c.external_id AS charge, r.external_id AS rate_plan, part.quantity, part.start_date,
       part.end_date, part.billed_through
FROM subscription_charge part
JOIN charge c ON c.id = part.charge_id JOIN rate_plan r ON r.id = c.rate_plan_id
WHERE part.subscription_id = :id AND part.start_date <= CAST(:day AS date)
  AND (part.end_date IS NULL OR part.end_date > :day) ORDER BY c.id
"""

_RUNNING = f"""
WITH {plans_held()}
SELECT q.place, s.id
FROM unnest(CAST(:places AS bigint[]), CAST(:days AS date[]), CAST(:accounts AS bigint[]),
            CAST(:sites AS bigint[]), CAST(:plans AS bigint[]))
     AS q(place, day, account_id, site_id, rate_plan_id)
JOIN subscription s ON (s.end_date IS NULL OR s.end_date > q.day)
 AND (q.account_id IS NULL OR s.account_id = q.account_id)
 AND (q.site_id IS NULL OR s.site_id = q.site_id)
 AND (q.rate_plan_id IS NULL OR EXISTS (
      SELECT 1 FROM plan_held h
      WHERE h.subscription_id = s.id AND h.rate_plan_id = q.rate_plan_id AND NOT h.add_on
        AND h.from_day <= greatest(q.day, s.start_date)
        AND (h.to_day IS NULL OR h.to_day > q.day)))
ORDER BY q.place, s.external_id
"""


def read_amendments(uow: UnitOfWork, subscription_ids: Iterable[int]) -> list[Record]:
    """What changed in subscriptions, in order of the days; names are external ids."""
    return uow.query(_AMENDMENTS, ids=list(subscription_ids))


def read_in_force(uow: UnitOfWork, subscription_id: int, day: date) -> Record:
    """What was agreed on a day: subscription, account, site, state (not_begun, trial, active,
    suspended, ended), rate_plan and the ``charges`` that are billed with their quantities."""
    uow.get("subscription", subscription_id)
    found = uow.query(_IN_FORCE, id=subscription_id, day=day)[0]
    charges = uow.query(_CHARGES_ON, id=subscription_id, day=day)
    return {**found, "day": day, "charges": charges}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Subscriptions that have not ended by a day, of an account, of a site, or with a rate plan on
    that day, not as an add-on; all that is named (external ids) has to hold."""

    day: date
    account: str | None = None
    site: str | None = None
    rate_plan: str | None = None


def select_running(uow: UnitOfWork, selections: Sequence[Selection]) -> list[list[int]]:
    """The ids of the subscriptions of each selection, in a fixed number of queries.

    Refuses unknown names, and a selection of all.
    """
    ids: dict[str, dict[object, int]] = {}
    problems: list[Problem] = []
    for name in ("account", "site", "rate_plan"):
        named = dict.fromkeys(getattr(one, name) for one in selections if getattr(one, name))
        ids[name] = dict(uow.ids_by(name, "external_id", list(named))) if named else {}
        noun = name.replace("_", " ")
        problems += [
            Problem(f"unknown_{name}", f"there is no {noun} {missed!r}", f"of_{name}")
            for missed in named
            if missed not in ids[name]
        ]
    if not all(one.account or one.site or one.rate_plan for one in selections):
        message = "name a subscription, or the account, site or rate plan of those meant"
        problems.append(Problem("missing", message, "subscription"))
    if problems:
        raise Refused(problems)
    chosen: list[list[int]] = [[] for _ in selections]
    for row in uow.query(
        _RUNNING,
        places=list(range(len(selections))),
        days=[one.day for one in selections],
        accounts=[ids["account"].get(one.account) for one in selections],
        sites=[ids["site"].get(one.site) for one in selections],
        plans=[ids["rate_plan"].get(one.rate_plan) for one in selections],
    ):
        chosen[row["place"]].append(int(row["id"]))
    return chosen
