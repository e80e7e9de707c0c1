"""Prices of single subscriptions, as amendments set them: the most specific price layer."""

from collections.abc import Sequence
from datetime import date
from typing import cast

from counterfoil.business.products.price_terms import PriceTerms, read_terms, save_prices
from counterfoil.business.subscriptions.amending import Change, Effects, State
from counterfoil.business.subscriptions.invoicing import profiles_of
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_STANDING = """
SELECT p.id, p.charge_id, p.subscription_external_id, p.currency, p.valid_from, p.valid_to,
       p.partial, c.external_id AS charge
FROM price p JOIN charge c ON c.id = p.charge_id
WHERE p.layer = 'subscription' AND p.subscription_external_id = ANY(:names)
ORDER BY p.id
"""


def save_own_prices(uow: UnitOfWork, planned: Sequence[tuple[Change, State, Effects]]) -> None:
    """Give subscriptions the prices that their changes say, from a day on.

    A price of the subscription's own that held before ends on that day. Refuses when one begins
    on that day or later, and for a subscription that is invoiced nowhere.
    """
    priced = [one for one in planned if one[2].prices]
    if not priced:
        return
    profiles = profiles_of(uow, [state.id for _, state, _ in priced])
    standing = uow.query(_STANDING, names=[state.external_id for _, state, _ in priced])
    by_owner: dict[tuple[object, object, object], list[Record]] = {}
    for row in standing:
        key = (row["subscription_external_id"], row["charge_id"], row["currency"])
        by_owner.setdefault(key, []).append(row)
    prices: list[tuple[Record, PriceTerms]] = []
    ends: list[tuple[int, Record]] = []
    problems: list[Problem] = []
    for _, state, effects in priced:
        currency = profiles.get(state.id, {}).get("currency")
        if currency is None:
            message = f"{state.external_id} is invoiced nowhere: its price has no currency"
            problems.append(Problem("no_billing_profile", message, "subscription"))
            continue
        for charge, (day, terms) in effects.prices.items():
            for price in by_owner.get((state.external_id, charge, currency), ()):
                verdict = _beside(price, day, terms, once=effects.once)
                if verdict == "ends":
                    ends.append((price["id"], {"valid_to": day}))
                elif verdict == "refused":
                    since = f"from {price['valid_from']}" if price["valid_from"] else "of its own"
                    message = f"{state.external_id} has a price {since} already"
                    problems.append(Problem("later_price", message, "day"))
            prices.append((_whose(state.external_id, charge, currency, day), terms))
    if problems:
        raise Refused(problems)
    uow.update_many("price", ends)
    save_prices(uow, prices)


def _beside(price: Record, day: date, terms: PriceTerms, *, once: bool) -> str:
    """What becomes of a standing price when another one holds from a day on: it ``stays``,
    ``ends``, or the other is ``refused``. A price for one day leaves no gap behind it."""
    starts = cast("date", price["valid_from"] or date.min)
    until = cast("date | None", terms.values.get("valid_to"))
    over = price["valid_to"] is not None and price["valid_to"] <= day
    if over or (once and until is not None and starts >= until):
        return "stays"
    return "refused" if once or starts >= day else "ends"


def _whose(
    owner: str, charge: int, currency: object, first: date | None, *, partial: bool = False
) -> Record:
    return {
        "charge_id": charge,
        "layer": "subscription",
        "subscription_external_id": owner,
        "currency": currency,
        "valid_from": first,
        "partial": partial,
    }


def hand_over_prices(uow: UnitOfWork, handed: Sequence[tuple[State, Effects, int, str]]) -> None:
    """Give successors (id and external id) the prices of the subscriptions they follow, of those
    that hold on the day or later.

    Refuses when the successor is billed in another currency than such a price is in.
    """
    standing = uow.query(_STANDING, names=[state.external_id for state, _, _, _ in handed])
    if not standing:
        return
    profiles = profiles_of(uow, [successor for _, _, successor, _ in handed])
    by_owner: dict[object, list[Record]] = {}
    for row in standing:
        by_owner.setdefault(row["subscription_external_id"], []).append(row)
    terms = read_terms(uow, [int(row["id"]) for row in standing])
    prices: list[tuple[Record, PriceTerms]] = []
    problems: list[Problem] = []
    for state, effects, successor, name in handed:
        first = min(effects.day, effects.billed_from)
        currency = profiles.get(successor, {}).get("currency")
        for row in by_owner.get(state.external_id, ()):
            if row["valid_to"] is not None and row["valid_to"] <= first:
                continue
            if currency is not None and row["currency"] != currency:
                message = (
                    f"{state.external_id} has a price of its own for {row['charge']} in "
                    f"{row['currency']}, and would be billed in {currency}: end that price first"
                )
                problems.append(Problem("other_currency", message, "account"))
                continue
            whose = _whose(
                name, row["charge_id"], row["currency"], row["valid_from"], partial=row["partial"]
            )
            prices.append(({**whose, "valid_to": row["valid_to"]}, terms[row["id"]]))
    if problems:
        raise Refused(problems)
    save_prices(uow, prices)
