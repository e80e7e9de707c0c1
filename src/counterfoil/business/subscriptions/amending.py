"""What a change of a subscription makes of it: computation only, nothing read or stored.

Service is a row of parts, each one charge with one quantity from a day to a day. A change ends
parts and begins others at one boundary, so that no day is ever served twice; billing settles the
rest, for it gives back what was billed beyond the end of a part. How a change within a cycle is
billed is a matter of where the boundary lies: on the day, at the next cycle, or where the cycle
of the day began.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from counterfoil.business.products.price_terms import PriceTerms, per_unit
from counterfoil.business.subscriptions.changes import (
    Begun,
    Change,
    Earlier,
    Effects,
    Part,
    Plans,
    State,
    Terms,
    length_of,
    refusal,
)
from counterfoil.business.subscriptions.seconds import (
    by_the_second,
    instant_of,
    refuse_split_days,
)
from counterfoil.core.periods.zones import local_date

__all__ = ["Change", "Earlier", "Effects", "Part", "Plans", "State", "Terms", "compute_change"]


def compute_change(state: State, change: Change, plans: Plans) -> Effects:
    """What the change makes of the subscription; refuses what is not possible."""
    day = _day_of(state, change)
    _refuse_impossible(state, change, day)
    _refuse_unpriced(state, change)
    if change.proration == "by_second":
        effects = by_the_second(state, change, day)
    else:
        effects = Effects(day, _boundary(state, day, change.proration))
    _COMPUTE[change.kind](state, change, plans, effects)
    refuse_split_days(state, change, effects)
    return effects


def _day_of(state: State, change: Change) -> date:
    if change.proration == "by_second":
        return local_date(instant_of(state, change), state.time_zone)
    if change.day is not None:
        return change.day
    if change.kind == "renew" and state.term_end is not None:
        return state.term_end
    today = max(state.today, state.start)
    if not change.next_period:
        return today
    leading = state.leading(today)
    if leading is None:
        message = f"{state.external_id} has no recurring charge that runs on {today}: give a date"
        raise refusal("no_period", message, "day")
    return state.cycle(leading.terms, today)[1]


_AFTER_ALL = ("change_quantity", "change_price", "cancel", "change_end", "renew", "charge_once")
"""Kinds that may have a day before that of an amendment made earlier."""


def _refuse_impossible(state: State, change: Change, day: date) -> None:
    """Changes outside the subscription, before a later change, or of suspended service."""
    ending = change.kind in ("cancel", "change_end", "change_quantity", "renew")
    if not ending and (day < state.start or (state.end is not None and day >= state.end)):
        message = f"{state.external_id} does not run on {day}"
        raise refusal("not_running", message, "day")
    later = [one for one in state.earlier if one.day > day and one.kind not in _AFTER_ALL]
    if later and change.kind not in _AFTER_ALL:
        message = f"{state.external_id} has a later change already: {later[0].kind} on "
        raise refusal("later_amendment", f"{message}{later[0].day}", "day")
    moved = [one for one in state.earlier if one.kind == "transfer"]
    if moved and change.kind in ("cancel", "change_end", "renew"):
        message = f"{state.external_id} was transferred on {moved[-1].day}: change its successor"
        raise refusal("transferred", message, "subscription")
    suspended = state.suspension_on(day)
    if change.kind == "resume" and suspended is None:
        raise refusal("not_suspended", f"{state.external_id} is not suspended on {day}", "day")
    if suspended and change.kind not in ("resume", "cancel", "change_end", "renew"):
        message = f"{state.external_id} is suspended since {suspended.day}: resume it first"
        raise refusal("suspended", message, "day")


def _refuse_unpriced(state: State, change: Change) -> None:
    """Changes whose prices nobody has found: nothing is renewed at the old price by mistake."""
    percent = state.uplift_percent if change.uplift_percent is None else change.uplift_percent
    uplift = change.kind == "renew" and change.rate_plan is None and percent
    if (uplift or change.fee_percent is not None) and not change.priced:
        message = f"{state.external_id}: the prices in force have to be found first"
        raise refusal("not_priced", message, "fee_percent" if change.fee_percent else "uplift")
    for name, kind, value in (
        ("uplift_percent", "renew", change.uplift_percent),
        ("fee_percent", "cancel", change.fee_percent),
    ):
        if value is not None and change.kind != kind:
            raise refusal("not_for_this_kind", f"belongs to the kind {kind}", name)


def _boundary(state: State, day: date, proration: str) -> date:
    """From when recurring charges are billed by the new state."""
    leading = state.leading(day)
    if proration in ("by_day", "by_second") or leading is None:
        return day
    first, last = state.cycle(leading.terms, day)
    if proration == "none":
        return day if day == first else last
    return max(first, leading.start)


def _end_parts(
    state: State, effects: Effects, chosen: Callable[[Part], bool] = lambda _: True
) -> None:
    """End what recurs at the boundary and usage on the day, and what would begin later at once.

    One-time charges stay as they are.
    """
    for part in state.parts:
        if part.terms.kind == "one_time" or not chosen(part):
            continue
        until = effects.billed_from if part.terms.kind == "recurring" else effects.day
        if part.end is None or part.end > max(until, part.start):
            effects.ends[part.id] = max(until, part.start)


def _begin_plan(
    state: State, effects: Effects, charges: Sequence[Terms], quantities: Mapping[str, Decimal]
) -> None:
    """Begin the charges of a plan, one-time ones on the day."""
    _check_quantities(charges, quantities)
    for terms in charges:
        start = effects.billed_from if terms.kind == "recurring" else effects.day
        if terms.free_in_trial and state.trial_end is not None:
            start = max(start, state.trial_end)
        start = max(start, state.billing_start or start)
        if state.end is None or start < state.end:
            quantity = quantities.get(terms.external_id, Decimal(1))
            recurring = terms.kind == "recurring"
            effects.begins.append(Begun(terms.id, quantity, start, state.end, recurring))


def _check_quantities(charges: Sequence[Terms], quantities: Mapping[str, Decimal]) -> None:
    kinds = {terms.external_id: terms.kind for terms in charges}
    for name, quantity in quantities.items():
        if name not in kinds:
            message = f"the rate plan has no charge {name!r}"
            raise refusal("unknown_charge", message, f"quantities.{name}", kinds)
        if kinds[name] == "usage":
            message = f"{name} is a usage charge: its quantity is what is used"
            raise refusal("usage_quantity", message, f"quantities.{name}")
        if quantity < 0:
            raise refusal("negative", f"{quantity} is less than 0", f"quantities.{name}")


def _plan(change: Change, plans: Plans) -> int:
    if change.rate_plan is None:
        raise refusal("missing", "is missing: name a rate plan", "rate_plan")
    if change.rate_plan not in plans.ids:
        message = f"there is no rate plan {change.rate_plan!r}"
        raise refusal("unknown_rate_plan", message, "rate_plan")
    return plans.ids[change.rate_plan]


def _change_plan(state: State, change: Change, plans: Plans, effects: Effects) -> None:
    """Another plan in place of the one agreed; its one-time charges are those of a new customer
    and not due."""
    plan, old = _plan(change, plans), state.plan_on(effects.day)
    if plan == old:
        message = f"{state.external_id} has the rate plan {change.rate_plan} already"
        raise refusal("same_plan", message, "rate_plan")
    effects.rate_plan_id = plan
    _end_parts(state, effects, lambda part: part.terms.rate_plan_id == old)
    running = [terms for terms in plans.charges[plan] if terms.kind != "one_time"]
    _begin_plan(state, effects, running, change.quantities)


def _add_on(state: State, change: Change, plans: Plans, effects: Effects) -> None:
    plan = effects.rate_plan_id = _plan(change, plans)
    held = [
        part
        for part in state.parts
        if part.terms.rate_plan_id == plan and (part.end is None or part.end > effects.day)
    ]
    if plan == state.plan_on(effects.day) or any(part.end != part.start for part in held):
        message = f"{state.external_id} has the rate plan {change.rate_plan} already"
        raise refusal("same_plan", message, "rate_plan")
    _begin_plan(state, effects, plans.charges[plan], change.quantities)


def _remove_add_on(state: State, change: Change, plans: Plans, effects: Effects) -> None:
    plan = effects.rate_plan_id = _plan(change, plans)
    if plan == state.plan_on(effects.day):
        message = f"{change.rate_plan} is the plan itself: change it, or cancel the subscription"
        raise refusal("own_plan", message, "rate_plan")
    _end_parts(state, effects, lambda part: part.terms.rate_plan_id == plan)
    if not effects.ends:
        message = f"{state.external_id} has no add-on {change.rate_plan} on {effects.day}"
        raise refusal("no_add_on", message, "rate_plan")


def _named_parts(state: State, change: Change) -> list[Part]:
    """The parts of the charge that is named, which recurs or is used."""
    found = [part for part in state.parts if part.terms.external_id == change.charge]
    recurring = {p.terms.external_id for p in state.parts if p.terms.kind == "recurring"}
    if not found:
        message = f"the subscription has no charge {change.charge!r}"
        raise refusal("unknown_charge", message, "charge", sorted(recurring))
    kind = found[0].terms.kind
    if kind == "one_time" or (kind == "usage" and change.kind == "change_quantity"):
        message = (
            f"{change.charge} is a {kind} charge: only recurring ones change their quantity"
            if change.kind == "change_quantity"
            else f"{change.charge} is billed once: its price does not change"
        )
        raise refusal("unknown_charge", message, "charge", sorted(recurring))
    return found


def _split(state: State, effects: Effects, parts: Sequence[Part], quantity: Decimal | None) -> bool:
    """End the part that runs at the boundary and begin one with the (new) quantity; whether that
    makes a difference."""
    first = min(part.start for part in parts)
    later = state.trial_end or state.billing_start
    if later is not None and effects.billed_from >= state.start:
        effects.billed_from = max(effects.billed_from, first)
    running = [part for part in parts if part.runs_on(effects.billed_from)]
    if not running:
        message = f"the subscription does not run on {effects.billed_from}"
        raise refusal("not_running", message, "from_date")
    old = running[0]
    new = old.quantity if quantity is None else quantity
    if new == old.quantity and quantity is not None:
        return False
    effects.charge = old.terms
    effects.ends[old.id] = effects.billed_from
    first, last = effects.billed_from, old.end
    begun = Begun(old.terms.id, new, first, last, recurring=True, end_offset=old.end_offset)
    effects.begins.append(begun)
    return True


def _change_quantity(state: State, change: Change, _plans: Plans, effects: Effects) -> None:
    quantity = Decimal(1) if change.quantity is None else change.quantity
    if quantity < 0:
        raise refusal("negative", f"{quantity} is less than 0", "quantity")
    _split(state, effects, _named_parts(state, change), quantity)


def _change_price(state: State, change: Change, _plans: Plans, effects: Effects) -> None:
    """A price of the subscription's own. A recurring charge begins anew with it, so that what was
    billed in advance is settled."""
    terms = _asked_price(change)
    parts = _named_parts(state, change)
    effects.charge = charge = parts[0].terms
    if charge.kind == "recurring":
        _split(state, effects, parts, None)
    else:
        effects.billed_from = effects.day
    effects.prices[charge.id] = (effects.billed_from, terms)


def _asked_price(change: Change) -> PriceTerms:
    """The price that a change names: an amount per unit, or terms as price books have them."""
    if change.price is not None:
        if change.amount is not None:
            raise refusal("two_prices", "stands beside price: give one of them", "amount")
        return change.price
    if change.amount is None:
        raise refusal("missing", "is missing: give the new price", "amount")
    if change.amount < 0:
        raise refusal("negative", f"{change.amount} is less than 0", "amount")
    return per_unit(change.amount)


def _suspend(state: State, change: Change, _plans: Plans, effects: Effects) -> None:
    if change.charged:
        effects.billed_from = effects.day
        return
    _end_parts(state, effects)


def _resume(state: State, change: Change, _plans: Plans, effects: Effects) -> None:
    """What the suspension ended goes on, with the changes of quantity that were to come."""
    suspension = state.suspension_on(effects.day)
    if suspension is None or suspension.charged:
        effects.billed_from = effects.day
        return
    boundary = effects.billed_from
    ended = [part for part in state.parts if part.ended_by == suspension.id]
    if change.proration in ("none", "full"):
        longest = max(
            (p for p in ended if p.terms.kind == "recurring"),
            key=lambda p: length_of(p.terms.cadence),
            default=None,
        )
        if longest is not None:
            first, last = state.cycle(longest.terms, effects.day)
            after = effects.day if effects.day == first else last
            boundary = after if change.proration == "none" else first
    effects.billed_from = max(boundary, suspension.billed_from)
    _continue(state, effects, ended)


def _continue(state: State, effects: Effects, ended: Sequence[Part]) -> None:
    """Begin again what ended, each charge as its parts followed one another."""
    by_charge: dict[int, list[Part]] = {}
    for part in sorted(ended, key=lambda p: (p.start, p.id)):
        by_charge.setdefault(part.terms.id, []).append(part)
    for charge_id, parts in by_charge.items():
        recurring = parts[0].terms.kind == "recurring"
        first = effects.billed_from if recurring else effects.day
        ends = [*(part.start for part in parts[1:]), state.end]
        for part, end in zip(parts, ends, strict=True):
            start = max(part.start, first)
            if end is None or start < end:
                effects.begins.append(Begun(charge_id, part.quantity, start, end, recurring))


def _transfer(state: State, change: Change, _plans: Plans, effects: Effects) -> None:
    """It ends here and goes on as its successor, in the same cycles."""
    if change.account is None and change.site is None:
        raise refusal("missing", "is missing: name an account or a site", "account")
    if effects.day == state.start:
        message = f"{state.external_id} begins on {effects.day}: there is nothing to hand over"
        raise refusal("not_begun", message, "day")
    _end_parts(state, effects)
    handed = Effects(effects.day, effects.billed_from)
    _continue(state, handed, [part for part in state.parts if part.id in effects.ends])
    effects.moved = tuple(handed.begins)
    effects.fields["end_date"] = effects.day


def _trial(state: State, change: Change, _plans: Plans, effects: Effects) -> None:
    """A trial that ends on another day: what is free in it begins then."""
    until = effects.until = change.until
    if until is None or until < state.start:
        message = f"has to be a day from the start on, {state.start}"
        raise refusal("missing", message, "until")
    effects.billed_from = until
    effects.fields["trial_end"] = until
    if state.own_anchor is None or state.own_anchor == state.trial_end:
        effects.fields["anchor_date"] = until
    old = state.trial_end or state.start
    for part in state.parts:
        if not part.terms.free_in_trial:
            continue
        if part.start == old and (part.end is None or part.end > until):
            effects.ends[part.id] = part.start
            effects.begins.append(Begun(part.terms.id, part.quantity, until, part.end))
        elif part.start < until and part.end != part.start:
            message = f"{part.terms.external_id} changed within the trial, on {part.start}"
            raise refusal("later_amendment", message, "until")


def _new_end(state: State, effects: Effects, until: date | None) -> None:
    """Another end of the subscription: what was to run to the old one runs to the new one."""
    effects.until = effects.billed_from = effects.day
    effects.until = until
    effects.fields["end_date"] = None if until is None else max(until, state.start)
    for part in state.parts:
        if part.terms.kind == "one_time" and until is not None and until > state.start:
            continue
        at_end = part.end == state.end
        longer = at_end and (until is None or (part.end is not None and until > part.end))
        shorter = until is not None and (part.end is None or part.end > max(until, part.start))
        if (longer and part.start != part.end) or shorter:
            effects.ends[part.id] = max(until, part.start) if until is not None else date.max


def _change_end(state: State, change: Change, _plans: Plans, effects: Effects) -> None:
    """Another end: as when several are to end on the same day."""
    if state.end is not None and state.end <= min(effects.day, state.today):
        raise refusal("ended_already", f"{state.external_id} ended on {state.end}", "until")
    if change.until is not None and change.until <= state.start:
        message = f"{change.until} is not after the start date, {state.start}"
        raise refusal("ends_before_start", message, "until")
    _new_end(state, effects, change.until)


def _renew(state: State, change: Change, plans: Plans, effects: Effects) -> None:
    """Another term, with another plan from its first day on where one is named; without an end it
    is evergreen."""
    if state.end is not None and state.end < min(effects.day, state.today):
        raise refusal("ended_already", f"{state.external_id} ended on {state.end}", "until")
    if change.until is not None and change.until <= effects.day:
        message = f"{change.until} is not after the beginning of the new term, {effects.day}"
        raise refusal("ends_before_start", message, "until")
    if change.quantities and change.rate_plan is None:
        message = "is missing: quantities of a renewal are those of another plan"
        raise refusal("missing", message, "rate_plan")
    day, boundary = effects.day, effects.billed_from
    if state.end is not None:
        _new_end(state, effects, change.until)
    effects.day, effects.billed_from, effects.until = day, boundary, change.until
    effects.fields["term_end"] = change.until
    if change.rate_plan is not None:
        if state.end is not None:
            message = "it has an end: renew it first, then change its plan"
            raise refusal("has_end", message, "rate_plan")
        _change_plan(state, change, plans, effects)
    _raise_prices(state, change, effects)


def _raise_prices(state: State, change: Change, effects: Effects) -> None:
    """The prices of the new term. Recurring charges begin anew with them, so that what was billed
    in advance is settled."""
    for charge, terms in change.prices.items():
        parts = [part for part in state.parts if part.terms.id == charge]
        recurring = any(part.terms.kind == "recurring" for part in parts)
        first = effects.billed_from if recurring else effects.day
        effects.prices[charge] = (first, terms)
        for part in parts:
            if recurring and part.runs_on(first):
                end = effects.ends.get(part.id, part.end)
                effects.ends[part.id] = first
                until = None if end == date.max else end
                effects.begins.append(Begun(charge, part.quantity, first, until))


def _cancel(state: State, change: Change, plans: Plans, effects: Effects) -> None:
    """It ends: service on the day, what recurs at the boundary. A plan that is named is what the
    early termination costs: its one-time charge, due on the day."""
    end = max(effects.day, state.start)
    if state.end is not None and end > state.end:
        message = f"subscription {state.external_id} ends on {state.end} already"
        raise refusal("ended_already", message, "end_date")
    if change.amount is not None and change.rate_plan is None:
        message = "is missing: name the plan with the one-time charge that the fee is"
        raise refusal("missing", message, "rate_plan")
    effects.fields["end_date"] = end
    if change.proration == "by_day":
        effects.billed_from = effects.day
    for part in state.parts:
        until = effects.billed_from if part.terms.kind == "recurring" else effects.day
        if part.end is None or part.end > max(until, part.start):
            effects.ends[part.id] = max(until, part.start)
    if change.rate_plan is not None:
        _charge_fee(change, plans, effects)


def _charge_fee(change: Change, plans: Plans, effects: Effects) -> None:
    """The one-time charge of a plan, at its own price or for the amount that is given."""
    plan = effects.rate_plan_id = _plan(change, plans)
    fees = [terms for terms in plans.charges[plan] if terms.kind == "one_time"]
    if len(fees) != 1 or len(plans.charges[plan]) != 1:
        message = f"{change.rate_plan} is no fee: it has to have one charge, a one-time one"
        raise refusal("no_fee", message, "rate_plan")
    effects.charge = fees[0]
    effects.begins.append(Begun(fees[0].id, Decimal(1), effects.day, None))
    if change.amount is not None:
        effects.prices[fees[0].id] = (effects.day, per_unit(change.amount))


def _charge_once(_state: State, change: Change, plans: Plans, effects: Effects) -> None:
    """Something has happened that costs: the one-time charges of a plan are due on the day, each
    time anew."""
    plan = effects.rate_plan_id = _plan(change, plans)
    once = [terms for terms in plans.charges[plan] if terms.kind == "one_time"]
    if not once or len(once) != len(plans.charges[plan]):
        message = f"{change.rate_plan} is not charged once: it has to have one-time charges only"
        raise refusal("not_once", message, "rate_plan")
    if change.amount is not None and len(once) > 1:
        message = f"{change.rate_plan} has {len(once)} charges: their prices say what they cost"
        raise refusal("several_charges", message, "amount")
    _check_quantities(once, change.quantities)
    effects.billed_from = effects.day
    for terms in once:
        quantity = change.quantities.get(terms.external_id, Decimal(1))
        effects.begins.append(Begun(terms.id, quantity, effects.day, None))
    if change.amount is not None:
        price = per_unit(change.amount)
        of_the_day = {**price.values, "valid_to": effects.day + timedelta(days=1)}
        effects.once = True
        effects.prices[once[0].id] = (effects.day, replace(price, values=of_the_day))


_COMPUTE: Mapping[str, Callable[[State, Change, Plans, Effects], None]] = {
    "change_plan": _change_plan,
    "change_quantity": _change_quantity,
    "change_price": _change_price,
    "add_on": _add_on,
    "remove_add_on": _remove_add_on,
    "change_end": _change_end,
    "suspend": _suspend,
    "resume": _resume,
    "transfer": _transfer,
    "renew": _renew,
    "trial": _trial,
    "cancel": _cancel,
    "charge_once": _charge_once,
}
