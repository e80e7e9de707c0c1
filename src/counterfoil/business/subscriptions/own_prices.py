"""Prices of single subscriptions, as amendments set them: the most specific price layer."""

from collections.abc import Sequence
from datetime import date
from typing import cast

from counterfoil.business.subscriptions.amending import Change, Effects, State
from counterfoil.business.subscriptions.invoicing import profiles_of
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_STANDING = """
SELECT id, charge_id, subscription_external_id, currency, valid_from, valid_to FROM price
WHERE layer = 'subscription' AND subscription_external_id = ANY(:names)
"""


def save_own_prices(uow: UnitOfWork, planned: Sequence[tuple[Change, State, Effects]]) -> None:
    """Give subscriptions the prices that their changes say: so much for a unit, from a day on.

    A price of the subscription's own that held before ends on that day. Refuses when one begins
    on that day or later, and for a subscription that is invoiced nowhere.
    """
    priced = [one for one in planned if one[2].priced_from is not None]
    if not priced:
        return
    profiles = profiles_of(uow, [state.id for _, state, _ in priced])
    standing = uow.query(_STANDING, names=[state.external_id for _, state, _ in priced])
    rows: list[Record] = []
    ends: list[tuple[int, Record]] = []
    problems: list[Problem] = []
    for _, state, effects in priced:
        day, charge = cast("date", effects.priced_from), effects.charge
        currency = profiles.get(state.id, {}).get("currency")
        if charge is None or currency is None:
            message = f"{state.external_id} is invoiced nowhere: its price has no currency"
            problems.append(Problem("no_billing_profile", message, "subscription"))
            continue
        for price in standing:
            named = (price["subscription_external_id"], price["charge_id"], price["currency"])
            if named != (state.external_id, charge.id, currency):
                continue
            if price["valid_from"] is not None and price["valid_from"] >= day:
                message = f"{state.external_id} has a price from {price['valid_from']} already"
                problems.append(Problem("later_price", message, "day"))
            elif price["valid_to"] is None or price["valid_to"] > day:
                ends.append((price["id"], {"valid_to": day}))
        rows.append(
            {
                "charge_id": charge.id,
                "layer": "subscription",
                "subscription_external_id": state.external_id,
                "currency": currency,
                "model": "per_unit",
                "valid_from": day,
            }
        )
    if problems:
        raise Refused(problems)
    uow.update_many("price", ends)
    ids = uow.create_many("price", rows)
    uow.create_many(
        "price_tier",
        [
            {"price_id": price, "unit_amount": change.amount}
            for price, (change, _, _) in zip(ids, priced, strict=True)
        ],
    )
