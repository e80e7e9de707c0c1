"""Amendments: changes of many subscriptions at once, all or none, each kept as a record."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.subscriptions.amending import (
    Change,
    Earlier,
    Effects,
    Part,
    Plans,
    State,
    Terms,
    compute_change,
)
from counterfoil.business.subscriptions.changes import begun_offset
from counterfoil.business.subscriptions.entities import KINDS, PRORATIONS
from counterfoil.business.subscriptions.identifiers import find_taken_identifiers
from counterfoil.business.subscriptions.invoicing import profiles_of
from counterfoil.business.subscriptions.own_prices import prices_of_changes, save_own_prices
from counterfoil.business.subscriptions.transfers import save_successors
from counterfoil.core.periods.cadence import Cadence
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

Planned = tuple[Change, State, Effects]
"""A change, the subscription as it was, and what comes of it."""

_TERMS = """
c.id AS charge_id, c.external_id, c.rate_plan_id, c.kind, c.period_unit, c.period_count,
c.alignment, coalesce(c.in_trial, CASE c.kind WHEN 'recurring' THEN 'free' ELSE 'charged' END)
    = 'free' AS free_in_trial
"""

_PARTS = f"""
SELECT sc.id, sc.subscription_id, sc.quantity, sc.start_date, sc.end_date, sc.ended_by_id,
       sc.start_offset, sc.end_offset, {_TERMS}
FROM subscription_charge sc JOIN charge c ON c.id = sc.charge_id
WHERE sc.subscription_id = ANY(:ids) ORDER BY c.id, sc.start_date, sc.id
"""

_EARLIER = """
SELECT id, subscription_id, kind, effective_date, billed_from, rate_plan_id, charged
FROM amendment WHERE subscription_id = ANY(:ids) ORDER BY effective_date, id
"""


def amend_subscriptions(uow: UnitOfWork, changes: Sequence[Change]) -> list[int | None]:
    """Change subscriptions, each once; the ids of the amendments, None where nothing changed.

    A fixed number of queries for any number of changes. Refuses all with every problem at once;
    with several changes a problem's line is the position from 1. Unknown subscriptions: 404.
    """
    states = _read_states(uow, changes)
    plans = _read_plans(uow, changes)
    planned: list[Planned | None] = []
    problems: list[Problem] = []
    for position, change in enumerate(changes, start=1):
        try:
            _refuse_words(change)
            state = states[change.subscription]
            effects = compute_change(state, change, plans)
            nothing = change.kind == "change_quantity" and not effects.begins
            planned.append(None if nothing else (change, state, effects))
        except Refused as refused:
            line = position if len(changes) > 1 else None
            problems += [replace(one, line=line) for one in refused.problems]
    if problems:
        raise Refused(problems)
    made = iter(_save(uow, [one for one in planned if one is not None]))
    return [None if one is None else next(made) for one in planned]


def _refuse_words(change: Change) -> None:
    """Words that stand for nothing."""
    for name, word, allowed in (
        ("kind", change.kind, KINDS),
        ("proration", change.proration, PRORATIONS),
    ):
        if word not in allowed:
            message = f"{word!r} is not one of {', '.join(allowed)}"
            raise Refused(Problem("not_allowed", message, name, allowed))


def _read_states(uow: UnitOfWork, changes: Sequence[Change]) -> dict[int, State]:
    """The subscriptions, held until the unit of work ends: of two changes to one subscription at
    the same time the second sees what the first has done."""
    ids = [change.subscription for change in changes]
    if len(set(ids)) != len(ids):
        message = "a subscription is changed once at a time"
        raise Refused(Problem("not_unique", message, "subscription"))
    rows = uow.query(
        "SELECT * FROM subscription WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE", ids=ids
    )
    missing = set(ids) - {cast("int", row["id"]) for row in rows}
    if missing:
        problems = [
            Problem("unknown_subscription", f"there is no subscription {missed}", "id")
            for missed in sorted(missing)
        ]
        raise Refused(problems, status=404)
    profiles = profiles_of(uow, ids)
    parts: dict[object, list[Part]] = {}
    for row in uow.query(_PARTS, ids=ids):
        parts.setdefault(row["subscription_id"], []).append(_part(row))
    earlier: dict[object, list[Earlier]] = {}
    for row in uow.query(_EARLIER, ids=ids):
        earlier.setdefault(row["subscription_id"], []).append(_earlier(row))
    return {
        cast("int", row["id"]): _state(
            uow,
            row,
            profiles.get(cast("int", row["id"]), {}),
            parts.get(row["id"], []),
            earlier.get(row["id"], []),
        )
        for row in rows
    }


def _state(
    uow: UnitOfWork,
    row: Record,
    profile: Mapping[str, object],
    parts: list[Part],
    earlier: list[Earlier],
) -> State:
    start = cast("date", row["start_date"])
    return State(
        id=cast("int", row["id"]),
        external_id=str(row["external_id"]),
        rate_plan_id=cast("int", row["rate_plan_id"]),
        start=start,
        end=cast("date | None", row["end_date"]),
        trial_end=cast("date | None", row["trial_end"]),
        billing_start=cast("date | None", row["billing_start"]),
        anchor=cast("date", row["anchor_date"] or start),
        own_anchor=cast("date | None", row["anchor_date"]),
        term_end=cast("date | None", row["term_end"]),
        uplift_percent=cast("Decimal | None", row["renewal_uplift_percent"]),
        cycle_day=cast("int", profile.get("cycle_day", 1)),
        today=local_date(uow.now, str(profile.get("time_zone", "UTC"))),
        now=uow.now,
        time_zone=str(profile.get("time_zone", "UTC")),
        parts=tuple(parts),
        earlier=tuple(earlier),
    )


def _terms(row: Record) -> Terms:
    return Terms(
        id=row["charge_id"],
        external_id=row["external_id"],
        rate_plan_id=row["rate_plan_id"],
        kind=row["kind"],
        cadence=Cadence(row["period_unit"], row["period_count"]),
        alignment=row["alignment"],
        free_in_trial=row["free_in_trial"],
    )


def _part(row: Record) -> Part:
    return Part(
        id=row["id"],
        terms=_terms(row),
        quantity=row["quantity"],
        start=row["start_date"],
        end=row["end_date"],
        ended_by=row["ended_by_id"],
        start_offset=row["start_offset"],
        end_offset=row["end_offset"],
    )


def _earlier(row: Record) -> Earlier:
    return Earlier(
        id=row["id"],
        kind=row["kind"],
        day=row["effective_date"],
        billed_from=row["billed_from"],
        rate_plan_id=row["rate_plan_id"],
        charged=bool(row["charged"]),
    )


def _read_plans(uow: UnitOfWork, changes: Sequence[Change]) -> Plans:
    named = {change.rate_plan for change in changes if change.rate_plan is not None}
    if not named:
        return Plans({}, {})
    ids = uow.ids_by("rate_plan", "external_id", named)
    charges: dict[int, list[Terms]] = {plan: [] for plan in ids.values()}
    for row in uow.query(
        f"SELECT {_TERMS} FROM charge c WHERE c.rate_plan_id = ANY(:plans) ORDER BY c.id",
        plans=list(ids.values()),
    ):
        charges[row["rate_plan_id"]].append(_terms(row))
    return Plans({str(name): plan for name, plan in ids.items()}, charges)


def _save(uow: UnitOfWork, planned: Sequence[Planned]) -> list[int]:
    """Keep the amendments and what they do."""
    successors = save_successors(uow, planned)
    ids = uow.create_many(
        "amendment",
        [
            {
                "subscription_id": state.id,
                "kind": change.kind,
                "effective_date": effects.day,
                "billed_from": effects.billed_from,
                "proration": change.proration,
                "effective_at": effects.at,
                "rate_plan_id": effects.rate_plan_id,
                "charge_id": effects.charge.id if effects.charge else None,
                "quantity": change.quantity,
                "amount": change.amount,
                "uplift_percent": change.uplift_percent,
                "fee_percent": change.fee_percent,
                "fee_basis": change.fee_basis,
                "charged": change.charged if change.kind == "suspend" else None,
                "until": effects.until,
                "successor_id": successors.get(state.id),
                "made_by": uow.actor,
                "reason": change.reason,
            }
            for change, state, effects in planned
        ],
    )
    made = list(zip(ids, planned, strict=True))
    _save_parts(uow, made)
    uow.update_many(
        "subscription",
        [(state.id, effects.fields) for _, state, effects in planned if effects.fields],
        by_command=True,
    )
    save_own_prices(uow, prices_of_changes(planned))
    _refuse_taken(uow, planned)
    return ids


def _save_parts(uow: UnitOfWork, made: Sequence[tuple[int, Planned]]) -> None:
    """End and begin subscription charges, as the amendments (ids) say."""
    former: dict[int, Record] = {
        part.id: {"former_end_date": part.end, "former_end_offset": part.end_offset}
        for _, (_, state, _) in made
        for part in state.parts
        if part.end_offset
    }
    uow.update_many(
        "subscription_charge",
        [
            (
                part,
                {
                    "end_date": None if day == date.max else day,
                    "end_offset": effects.offset if part in _at_boundary(state, effects) else 0,
                    "ended_by_id": amendment,
                    **former.get(part, {}),
                },
            )
            for amendment, (_, state, effects) in made
            for part, day in effects.ends.items()
        ],
    )
    uow.create_many(
        "subscription_charge",
        [
            {
                "subscription_id": state.id,
                "charge_id": begun.charge_id,
                "quantity": begun.quantity,
                "start_date": begun.start,
                "end_date": begun.end,
                "start_offset": begun_offset(effects, begun),
                "end_offset": begun.end_offset,
                "began_by_id": amendment,
            }
            for amendment, (_, state, effects) in made
            for begun in effects.begins
        ],
    )


def _at_boundary(state: State, effects: Effects) -> set[int]:
    """The parts that end at the boundary of a change by the second, within a day."""
    if not effects.offset:
        return set()
    return {
        part.id
        for part in state.parts
        if part.terms.kind == "recurring"
        and effects.ends.get(part.id) == effects.billed_from
        and part.start < effects.billed_from
    }


def _refuse_taken(uow: UnitOfWork, planned: Sequence[Planned]) -> None:
    """Service that begins again, or other service, may meet another's usage identifiers."""
    ids = [state.id for _, state, effects in planned if effects.begins]
    problems = find_taken_identifiers(uow, ids) if ids else []
    if problems:
        raise Refused(problems)
