"""Subscriptions begin, change their quantities and end.

Dates are local to whoever bills the account; periods are half-open. What was billed already is
not touched here: the next bill run reverses and bills what a change in the past made different.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_NAMED = {
    "account": "account",
    "rate_plan": "rate_plan",
    "site": "site",
    "contact": "contact",
    "contract": "contract",
    "invoice_account": "account",
}
"""The fields of an activation that name a record, and of which entity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A subscription to begin; all names are external ids.

    ``end_date`` is the first day no longer served. ``trial_end`` is the first day after the trial,
    by default so many days after the start as the rate plan says (the start date: no trial).
    ``anchor_date`` is the first day of a cycle of anniversary-aligned charges and defaults to the
    end of the trial, without one to the start date. ``quantities`` by charge; charges
    that are not named have the quantity 1. ``identifiers`` are the tokens by which usage records
    name the subscription. ``site``, ``contact`` and ``contract`` may own prices;
    ``invoice_account`` is where it is invoiced, when not at the nearest account that must be.
    """

    external_id: str
    account: str
    rate_plan: str
    start_date: date
    site: str | None = None
    contact: str | None = None
    contract: str | None = None
    invoice_account: str | None = None
    end_date: date | None = None
    trial_end: date | None = None
    anchor_date: date | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """Ids by external id of everything the activations name, by the field that names it; by rate
    plan its charges and the days of its trial; ``usage`` are the charges for which no quantity can
    be agreed, ``free_in_trial`` the ids of those that cost nothing in a trial."""

    ids: dict[str, dict[object, int]]
    charges: dict[int, dict[str, int]]
    usage: set[str]
    trial_days: dict[int, int | None]
    free_in_trial: frozenset[int]

    def id_of(self, activation: "Activation", name: str) -> int | None:
        """The id of what a field of the activation names, None where it names nothing."""
        external_id = getattr(activation, name)
        return None if external_id is None else self.ids[name][external_id]

    def charges_of(self, activation: "Activation") -> dict[str, int]:
        """The charges of the activation's rate plan."""
        return self.charges[self.ids["rate_plan"][activation.rate_plan]]

    def trial_end_of(self, activation: "Activation") -> date | None:
        """The first day after the trial of the activation; None when it has none."""
        days = self.trial_days[self.ids["rate_plan"][activation.rate_plan]]
        end = activation.trial_end
        if end is None and days is not None:
            end = activation.start_date + timedelta(days=days)
        return end if end is not None and end > activation.start_date else None

    def start_of(self, activation: "Activation", charge_id: int) -> date:
        """The first day of a charge: what is free in the trial begins at its end."""
        trial_end = self.trial_end_of(activation)
        if trial_end is None or charge_id not in self.free_in_trial:
            return activation.start_date
        return min(trial_end, activation.end_date or trial_end)


def activate_subscriptions(uow: UnitOfWork, activations: Sequence[Activation]) -> list[int]:
    """Begin subscriptions, with one subscription charge per charge of the plan; their ids.

    A fixed number of queries for any number of activations. Refuses all of them with every
    problem at once; with several activations a problem's line is the position from 1.
    """
    known = _read_known(uow, activations)
    problems = _find_problems(activations, known)
    problems += _find_taken_ids(uow, activations)
    if problems:
        raise Refused(problems)
    ids = uow.create_many(
        "subscription", [_subscription(activation, known) for activation in activations]
    )
    pairs = list(zip(ids, activations, strict=True))
    uow.create_many(
        "subscription_charge",
        [
            {
                "subscription_id": subscription_id,
                "charge_id": charge_id,
                "quantity": activation.quantities.get(charge, Decimal(1)),
                "start_date": known.start_of(activation, charge_id),
                "end_date": activation.end_date,
            }
            for subscription_id, activation in pairs
            for charge, charge_id in known.charges_of(activation).items()
        ],
    )
    uow.create_many(
        "usage_identifier",
        [
            {"identifier": identifier, "subscription_id": subscription_id}
            for subscription_id, activation in pairs
            for identifier in activation.identifiers
        ],
    )
    problems = _find_taken_identifiers(uow, ids)
    if problems:
        raise Refused(problems)
    return ids


def change_quantity(
    uow: UnitOfWork,
    subscription_id: int,
    charge_external_id: str,
    quantity: Decimal,
    from_date: date,
) -> None:
    """Give a recurring charge of a subscription another quantity from a day on.

    The subscription charge that runs on that day ends there and one with the new quantity begins,
    up to where the old one was to end. A second change on the same day replaces the first. The
    day may lie in the past. Within the trial of a charge that is free in it, the new quantity
    holds from the end of the trial on. Refuses a day outside the subscription, an unknown charge,
    a negative quantity, and charges that are not recurring.
    """
    subscription = uow.get("subscription", subscription_id)
    _lock_subscriptions(uow, [subscription_id])
    if quantity < 0:
        raise Refused(Problem("negative", f"{quantity} is less than 0", "quantity"))
    charge_id = _recurring_charge(uow, subscription_id, charge_external_id)
    from_date = _after_trial(uow, subscription, charge_id, from_date)
    running = uow.query(
        "SELECT * FROM subscription_charge WHERE subscription_id = :subscription"
        " AND charge_id = :charge AND start_date <= :day"
        " AND (end_date IS NULL OR end_date > :day)",
        subscription=subscription_id,
        charge=charge_id,
        day=from_date,
    )
    if not running:
        message = f"the subscription does not run on {from_date}"
        raise Refused(Problem("not_running", message, "from_date"))
    old = running[0]
    if old["quantity"] == quantity:
        return
    uow.update("subscription_charge", cast("int", old["id"]), {"end_date": from_date})
    uow.create(
        "subscription_charge",
        {
            "subscription_id": subscription_id,
            "charge_id": charge_id,
            "quantity": quantity,
            "start_date": from_date,
            "end_date": old["end_date"],
        },
    )


def cancel_subscriptions(uow: UnitOfWork, subscription_ids: Sequence[int], end_date: date) -> None:
    """End subscriptions: ``end_date`` is the first day no longer served.

    Their charges end on that day too; what would start later, or a subscription that has not
    started, ends on its own start date and is never billed. Refuses unknown subscriptions (404)
    and those that end earlier already.
    """
    ids = sorted(set(subscription_ids))
    rows = _lock_subscriptions(uow, ids)
    missing = set(ids) - {cast("int", row["id"]) for row in rows}
    if missing:
        problems = [
            Problem("unknown_subscription", f"there is no subscription {missed}", "id")
            for missed in sorted(missing)
        ]
        raise Refused(problems, status=404)
    ended = [
        row for row in rows if row["end_date"] is not None and _end(row, end_date) > row["end_date"]
    ]
    if ended:
        raise Refused(
            [
                Problem(
                    "ended_already",
                    f"subscription {row['external_id']} ends on {row['end_date']} already",
                    "end_date",
                )
                for row in ended
            ]
        )
    charges = uow.query(
        "SELECT id, start_date FROM subscription_charge WHERE subscription_id = ANY(:ids)"
        " AND (end_date IS NULL OR end_date > greatest(start_date, CAST(:day AS date)))",
        ids=ids,
        day=end_date,
    )
    for entity, records in (("subscription", rows), ("subscription_charge", charges)):
        uow.update_many(
            entity,
            [(cast("int", row["id"]), {"end_date": _end(row, end_date)}) for row in records],
        )


def _after_trial(uow: UnitOfWork, subscription: Record, charge_id: int, day: date) -> date:
    """The day, or that on which the charge begins if the day lies in the trial before it."""
    if subscription["trial_end"] is None or day < subscription["start_date"]:
        return day
    first = uow.query(
        "SELECT min(start_date) AS day FROM subscription_charge"
        " WHERE subscription_id = :subscription AND charge_id = :charge",
        subscription=subscription["id"],
        charge=charge_id,
    )[0]["day"]
    return max(day, cast("date", first))


def _lock_subscriptions(uow: UnitOfWork, ids: Sequence[int]) -> list[Record]:
    """The subscriptions, held until the unit of work ends: of two changes to one subscription at
    the same time the second sees what the first has done."""
    return uow.query(
        "SELECT * FROM subscription WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE", ids=ids
    )


def _end(row: Record, end_date: date) -> date:
    """The day something ends on when it is cancelled: never before its start."""
    return max(end_date, cast("date", row["start_date"]))


def _read_known(uow: UnitOfWork, activations: Sequence[Activation]) -> _Known:
    ids = {
        name: uow.ids_by(
            entity,
            "external_id",
            {getattr(each, name) for each in activations if getattr(each, name) is not None},
        )
        for name, entity in _NAMED.items()
    }
    free: set[int] = set()
    charges: dict[int, dict[str, int]] = {plan: {} for plan in ids["rate_plan"].values()}
    usage: set[str] = set()
    for row in uow.query(
        "SELECT id, external_id, rate_plan_id, kind,"
        " coalesce(in_trial, CASE kind WHEN 'recurring' THEN 'free' ELSE 'charged' END) = 'free'"
        " AS free FROM charge WHERE rate_plan_id = ANY(:plans) ORDER BY id",
        plans=list(charges),
    ):
        if row["free"]:
            free.add(cast("int", row["id"]))
        of_plan = charges[cast("int", row["rate_plan_id"])]
        of_plan[str(row["external_id"])] = cast("int", row["id"])
        if row["kind"] == "usage":
            usage.add(str(row["external_id"]))
    trials = uow.query(
        "SELECT id, trial_days FROM rate_plan WHERE id = ANY(:plans)", plans=list(charges)
    )
    trial_days = {cast("int", row["id"]): row["trial_days"] for row in trials}
    return _Known(ids, charges, usage, trial_days, frozenset(free))


def _find_problems(activations: Sequence[Activation], known: _Known) -> list[Problem]:
    return [
        replace(problem, line=position if len(activations) > 1 else None)
        for position, activation in enumerate(activations, start=1)
        for problem in _find_activation_problems(activation, known)
    ]


def _find_activation_problems(activation: Activation, known: _Known) -> list[Problem]:
    problems: list[Problem] = []

    def refuse(code: str, message: str, name: str, allowed: Iterable[str] = ()) -> None:
        said = f"subscription {activation.external_id}: {message}"
        problems.append(Problem(code, said, name, tuple(allowed)))

    for name, entity in _NAMED.items():
        value = getattr(activation, name)
        if value is not None and value not in known.ids[name]:
            noun = entity.replace("_", " ")
            refuse(f"unknown_{entity}", f"there is no {noun} {value!r}", name)
    plan = known.ids["rate_plan"].get(activation.rate_plan)
    for charge, quantity in activation.quantities.items():
        if plan is not None and charge not in known.charges[plan]:
            message = f"the rate plan has no charge {charge!r}"
            refuse("unknown_charge", message, f"quantities.{charge}", known.charges[plan])
        elif charge in known.usage:
            message = f"{charge} is a usage charge: its quantity is what is used"
            refuse("usage_quantity", message, f"quantities.{charge}")
        if quantity < 0:
            refuse("negative", f"{quantity} is less than 0", f"quantities.{charge}")
    if activation.end_date is not None and activation.end_date <= activation.start_date:
        message = f"{activation.end_date} is not after the start date, {activation.start_date}"
        refuse("ends_before_start", message, "end_date")
    return problems


def _find_taken_ids(uow: UnitOfWork, activations: Sequence[Activation]) -> list[Problem]:
    """External ids that are stored already or stand twice among the activations."""
    names = [activation.external_id for activation in activations]
    taken = set(uow.ids_by("subscription", "external_id", names))
    problems: list[Problem] = []
    for position, name in enumerate(names, start=1):
        if name in taken:
            line = position if len(names) > 1 else None
            message = f"there is a subscription {name!r} already"
            problems.append(Problem("not_unique", message, "external_id", line=line))
        taken.add(name)
    return problems


_TAKEN_IDENTIFIERS = """
SELECT i.subscription_id, i.identifier, min(o.external_id) AS other
FROM usage_identifier i
JOIN usage_identifier j ON j.identifier = i.identifier AND j.subscription_id <> i.subscription_id
JOIN subscription s ON s.id = i.subscription_id
JOIN subscription o ON o.id = j.subscription_id
WHERE i.subscription_id = ANY(:ids)
  AND (o.end_date IS NULL OR o.end_date > greatest(s.start_date, o.start_date))
  AND (s.end_date IS NULL OR s.end_date > greatest(s.start_date, o.start_date))
  AND EXISTS (SELECT 1 FROM charge c JOIN charge d ON d.meter_id = c.meter_id
              WHERE c.rate_plan_id = s.rate_plan_id AND d.rate_plan_id = o.rate_plan_id)
GROUP BY i.subscription_id, i.identifier ORDER BY i.subscription_id, i.identifier
"""


def _find_taken_identifiers(uow: UnitOfWork, ids: Sequence[int]) -> list[Problem]:
    """Identifiers by which usage of one meter would belong to two subscriptions at a time: it
    would be rejected as ambiguous."""
    places = {subscription_id: place for place, subscription_id in enumerate(ids, start=1)}
    return [
        Problem(
            "identifier_taken",
            f"{row['identifier']!r} already means subscription {row['other']} on the same days "
            "and for the same meter",
            "identifiers",
            line=places[cast("int", row["subscription_id"])] if len(ids) > 1 else None,
        )
        for row in uow.query(_TAKEN_IDENTIFIERS, ids=list(ids))
    ]


def _subscription(activation: Activation, known: _Known) -> Record:
    return {
        "external_id": activation.external_id,
        **{f"{name}_id": known.id_of(activation, name) for name in _NAMED},
        "start_date": activation.start_date,
        "end_date": activation.end_date,
        "trial_end": known.trial_end_of(activation),
        "anchor_date": activation.anchor_date or known.trial_end_of(activation),
    }


def _recurring_charge(uow: UnitOfWork, subscription_id: int, external_id: str) -> int:
    """The id of a recurring charge of the subscription's plan."""
    charges = uow.query(
        "SELECT charge.id, charge.external_id, charge.kind FROM charge"
        " JOIN subscription ON subscription.rate_plan_id = charge.rate_plan_id"
        " WHERE subscription.id = :id ORDER BY charge.id",
        id=subscription_id,
    )
    kinds = {str(charge["external_id"]): charge["kind"] for charge in charges}
    if kinds.get(external_id) != "recurring":
        recurring = tuple(name for name, kind in kinds.items() if kind == "recurring")
        kind = kinds.get(external_id)
        message = (
            f"the rate plan has no charge {external_id!r}"
            if kind is None
            else f"{external_id} is a {kind} charge: only recurring ones change their quantity"
        )
        raise Refused(Problem("unknown_charge", message, "charge", recurring))
    return next(cast("int", row["id"]) for row in charges if row["external_id"] == external_id)
