"""Changes of subscriptions that need to know what is paid for them: renewals with an uplift, and
early terminations that cost a share of the remaining term.

The prices are found here, where they are known; the changes themselves are those of the
subscriptions room.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.prices_in_force import PriceInForce, prices_in_force
from counterfoil.business.billing.remaining_term import RemainingTerm, remaining_terms
from counterfoil.business.products.price_terms import PriceTerms, raised
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.business.subscriptions.changes import Change
from counterfoil.business.subscriptions.invoicing import profiles_of
from counterfoil.business.subscriptions.renewals import Renewals, renew_due
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_SUBSCRIPTIONS = """
SELECT s.id, s.external_id, s.start_date, s.end_date, s.term_end, s.renewal_uplift_percent,
       s.renewal_uplift_of,
       (SELECT a.billed_from FROM amendment a
        WHERE a.subscription_id = s.id AND a.kind IN ('suspend', 'resume')
        ORDER BY a.effective_date DESC, a.id DESC LIMIT 1) AS paused_on,
       (SELECT a.kind = 'suspend' AND NOT a.charged FROM amendment a
        WHERE a.subscription_id = s.id AND a.kind IN ('suspend', 'resume')
        ORDER BY a.effective_date DESC, a.id DESC LIMIT 1) AS paused
FROM subscription s WHERE s.id = ANY(:ids) ORDER BY s.id FOR NO KEY UPDATE
"""

_LATER_PRICES = """
SELECT s.id AS subscription_id, p.charge_id
FROM price p JOIN subscription s ON s.external_id = p.subscription_external_id
JOIN unnest(CAST(:ids AS bigint[]), CAST(:days AS date[])) AS d(id, day) ON d.id = s.id
WHERE p.layer = 'subscription' AND p.valid_from >= d.day
"""


def change_subscriptions(uow: UnitOfWork, changes: Sequence[Change]) -> list[int | None]:
    """Change subscriptions, each once; the ids of the amendments, None where nothing changed.

    All or none, as :func:`amend_subscriptions`, with what depends on prices computed first.
    """
    return amend_subscriptions(uow, price_changes(uow, changes))


def renew_subscriptions(uow: UnitOfWork, day: date) -> Renewals:
    """:func:`renew_due`, with uplifts."""
    return renew_due(uow, day, change_subscriptions)


def price_changes(uow: UnitOfWork, changes: Sequence[Change]) -> list[Change]:
    """The changes with the prices that they make, and the fees that they cost.

    A fixed number of queries and one computation for any number of changes.
    """
    asking = [one for one in changes if one.kind == "renew" or one.fee_percent is not None]
    if not asking:
        return list(changes)
    ids = [one.subscription for one in changes]
    rows = {cast("int", row["id"]): row for row in uow.query(_SUBSCRIPTIONS, ids=ids)}
    known = [one for one in asking if one.subscription in rows]
    days = _days_of(uow, known, rows)
    raises = _raised_prices(uow, [one for one in known if one.kind == "renew"], rows, days)
    fees = _fees(uow, [one for one in known if one.kind == "cancel"], rows, days)
    return [raises.get(one.subscription) or fees.get(one.subscription) or one for one in changes]


def _days_of(
    uow: UnitOfWork, changes: Sequence[Change], rows: dict[int, Record]
) -> dict[int, date]:
    """The first day of the new state, where it can be told; of the others the day is asked for."""
    profiles = profiles_of(uow, [one.subscription for one in changes])
    days: dict[int, date] = {}
    for one in changes:
        row = rows[one.subscription]
        zone = str(profiles.get(one.subscription, {}).get("time_zone", "UTC"))
        today = max(local_date(uow.now, zone), cast("date", row["start_date"]))
        named = row["term_end"] if one.kind == "renew" else None
        days[one.subscription] = one.day or cast("date | None", named) or today
    return days


def _raised_prices(
    uow: UnitOfWork, renewals: Sequence[Change], rows: dict[int, Record], days: dict[int, date]
) -> dict[int, Change]:
    """Renewals with the prices of the new term. Another plan comes at its own prices, and a price
    that was agreed for the new term already is not raised."""
    percents = {one.subscription: _percent(one, rows[one.subscription]) for one in renewals}
    asked = [
        (one.subscription, days[one.subscription], _ended_on(rows[one.subscription]))
        for one in renewals
        if percents[one.subscription] and one.rate_plan is None
    ]
    prices: dict[int, dict[int, PriceTerms]] = {}
    if asked:
        ids, first = [one[0] for one in asked], [one[1] for one in asked]
        later = {
            (row["subscription_id"], row["charge_id"])
            for row in uow.query(_LATER_PRICES, ids=ids, days=first)
        }
        for price in prices_in_force(uow, asked):
            of_all = rows[price.subscription_id]["renewal_uplift_of"] == "all"
            if (price.subscription_id, price.charge_id) in later:
                continue
            if price.kind == "recurring" or of_all:
                own = prices.setdefault(price.subscription_id, {})
                own[price.charge_id] = _raise(price, percents[price.subscription_id])
    return {
        one.subscription: replace(
            one,
            uplift_percent=percents[one.subscription] if one.rate_plan is None else None,
            prices=prices.get(one.subscription, {}),
            priced=True,
        )
        for one in renewals
    }


def _percent(change: Change, row: Record) -> Decimal:
    asked = change.uplift_percent
    return cast("Decimal | None", row["renewal_uplift_percent"] if asked is None else asked) or (
        Decimal(0)
    )


def _ended_on(row: Record) -> date | None:
    """The day on which its charges ended that a renewal lets go on, or a resumption will."""
    return cast("date | None", row["paused_on"] if row["paused"] else row["end_date"])


def _raise(price: PriceInForce, percent: Decimal) -> PriceTerms:
    """What usage costs is often less than a cent: so it keeps every digit."""
    terms = raised(price.terms, percent, price.currency, exact=price.kind == "usage")
    return replace(terms, values={**terms.values, "valid_to": price.valid_to})


def _fees(
    uow: UnitOfWork, endings: Sequence[Change], rows: dict[int, Record], days: dict[int, date]
) -> dict[int, Change]:
    """Terminations with the fee they cost; none where the term has been served."""
    asked: list[tuple[int, date, date]] = []
    problems: list[Problem] = []
    for one in endings:
        row = rows[one.subscription]
        term_end = cast("date | None", row["term_end"])
        wrong = _fee_problem(one, row)
        if wrong is not None:
            problems.append(wrong)
        elif term_end is not None and term_end > days[one.subscription]:
            asked.append((one.subscription, days[one.subscription], term_end))
    if problems:
        raise Refused(problems)
    remaining = remaining_terms(uow, asked) if asked else {}
    problems = [
        Problem(
            "no_price",
            f"{rows[subscription]['external_id']} has no price for {', '.join(rest.unpriced)}: "
            "give the fee as an amount",
            "fee_percent",
        )
        for subscription, rest in remaining.items()
        if rest.unpriced
    ]
    if problems:
        raise Refused(problems)
    return {one.subscription: _with_fee(one, remaining.get(one.subscription)) for one in endings}


def _fee_problem(change: Change, row: Record) -> Problem | None:
    name = row["external_id"]
    if change.rate_plan is None:
        message = "is missing: name the plan with the one-time charge that the fee is"
        return Problem("missing", message, "rate_plan")
    if change.amount is not None:
        message = "stands beside fee_percent: give one of them"
        return Problem("two_fees", message, "amount")
    if change.next_period:
        message = f"{name}: a share of the remaining term needs the day it ends on"
        return Problem("missing", message, "day")
    if row["term_end"] is None:
        message = f"{name} has no term_end: there is no remaining term; give the fee as an amount"
        return Problem("no_term", message, "fee_percent")
    if row["paused"]:
        message = f"{name} is suspended without charge: give the fee as an amount"
        return Problem("suspended", message, "fee_percent")
    return None


def _with_fee(change: Change, rest: RemainingTerm | None) -> Change:
    if rest is None:
        return replace(change, rate_plan=None, priced=True)
    percent = cast("Decimal", change.fee_percent)
    fee = round_half_up(rest.amount * percent / 100, exponent(rest.currency))
    basis: Record = {
        "from": rest.start.isoformat(),
        "to": rest.end.isoformat(),
        "currency": rest.currency,
        "amount": str(round_half_up(rest.amount, exponent(rest.currency))),
        "parts": list(rest.parts),
    }
    return replace(change, amount=fee, fee_basis=basis, priced=True)
