"""Subscriptions begin, and in the simplest ways change and end.

Dates are local to whoever bills the account; periods are half-open. What was billed already is
not touched here: the next bill run reverses and bills what a change in the past made different.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.business.subscriptions.identifiers import find_taken_identifiers
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


TERMS = ("term_end", "term_months", "renewal", "renewal_uplift_percent", "renewal_uplift_of")
"""Fields of an activation that are those of the subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A subscription to begin; all names are external ids.

    ``end_date`` is the first day no longer served. ``trial_end`` is the first day after the trial,
    by default so many days after the start as the rate plan says (the start date: no trial).
    ``billing_start`` is the first day that is billed, when that is after the start date.
    ``anchor_date`` is the first day of a cycle of anniversary-aligned charges and defaults to the
    end of the trial, without one to the day from which it is billed. ``quantities`` by charge;
    charges that are not named have the quantity 1. ``identifiers`` are the tokens by which usage
    records name the subscription. ``site``, ``contact`` and ``contract`` may own prices;
    ``invoice_account`` is where it is invoiced, when not at the nearest account that must be;
    ``purchase_order`` is the customer's number of the order. ``TERMS`` are the fields of the
    subscription that say how long it runs and how it renews.
    """

    external_id: str
    account: str
    rate_plan: str
    start_date: date
    site: str | None = None
    contact: str | None = None
    contract: str | None = None
    invoice_account: str | None = None
    purchase_order: str | None = None
    end_date: date | None = None
    trial_end: date | None = None
    billing_start: date | None = None
    anchor_date: date | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()
    term_end: date | None = None
    term_months: int | None = None
    renewal: str = "evergreen"
    renewal_uplift_percent: Decimal | None = None
    renewal_uplift_of: str = "recurring"


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
        start = max(activation.billing_start or activation.start_date, activation.start_date)
        trial_end = self.trial_end_of(activation)
        if trial_end is not None and charge_id in self.free_in_trial:
            start = max(start, trial_end)
        return min(start, activation.end_date or start)

    def anchor_of(self, activation: "Activation") -> date | None:
        """The first day of a cycle, where it is not the start date."""
        given, start = activation.anchor_date, activation.start_date
        later = [day for day in (self.trial_end_of(activation), activation.billing_start) if day]
        anchor = max(later, default=start)
        return given or (anchor if anchor > start else None)


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
        "subscription",
        [_subscription(activation, known) for activation in activations],
        by_command=True,
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
    problems = find_taken_identifiers(uow, ids)
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
    uow.get("subscription", subscription_id)
    change = Change(
        subscription=subscription_id,
        kind="change_quantity",
        day=from_date,
        charge=charge_external_id,
        quantity=quantity,
    )
    amend_subscriptions(uow, [change])


def cancel_subscriptions(uow: UnitOfWork, subscription_ids: Sequence[int], end_date: date) -> None:
    """End subscriptions: ``end_date`` is the first day no longer served.

    Their charges end on that day too; what would start later, or a subscription that has not
    started, ends on its own start date and is never billed. Refuses unknown subscriptions (404)
    and those that end earlier already.
    """
    ids = sorted(set(subscription_ids))
    amend_subscriptions(
        uow, [Change(subscription=each, kind="cancel", day=end_date) for each in ids]
    )


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


def _subscription(activation: Activation, known: _Known) -> Record:
    return {
        "external_id": activation.external_id,
        **{f"{name}_id": known.id_of(activation, name) for name in _NAMED},
        "purchase_order": activation.purchase_order,
        "start_date": activation.start_date,
        "end_date": activation.end_date,
        "trial_end": known.trial_end_of(activation),
        "billing_start": _later_billing(activation),
        "anchor_date": known.anchor_of(activation),
        **{name: getattr(activation, name) for name in TERMS},
    }


def _later_billing(activation: Activation) -> date | None:
    """The first day that is billed, where service is given before it."""
    day = activation.billing_start
    return day if day is not None and day > activation.start_date else None
