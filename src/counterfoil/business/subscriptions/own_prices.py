"""Prices of single subscriptions, as orders and amendments set them: the most specific layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import cast

from counterfoil.business.products.price_terms import PriceTerms, read_terms, save_prices
from counterfoil.business.subscriptions.amending import Change, Effects, State
from counterfoil.business.subscriptions.invoicing import profiles_of
from counterfoil.core.problems import Problem, Refused, line_among
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_STANDING = """
SELECT p.id, p.charge_id, p.subscription_external_id, p.currency, p.valid_from, p.valid_to,
       p.partial, c.external_id AS charge
FROM price p JOIN charge c ON c.id = p.charge_id
WHERE p.layer = 'subscription' AND p.subscription_external_id = ANY(:names)
ORDER BY p.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPrice:
    """A price that a subscription (id and external id) gets for a charge (id), from a day on, from
    its beginning where that is None. ``once`` is for a price of that day alone; ``line`` is the
    place of what asks for it among several."""

    subscription: int
    name: str
    charge: int
    day: date | None
    terms: PriceTerms
    once: bool = False
    line: int | None = None


def prices_of_changes(planned: Sequence[tuple[Change, State, Effects]]) -> list[OwnPrice]:
    """The prices that changes of subscriptions say."""
    return [
        OwnPrice(
            subscription=state.id,
            name=state.external_id,
            charge=charge,
            day=day,
            terms=terms,
            once=effects.once,
            line=line_among(planned, place),
        )
        for place, (_, state, effects) in enumerate(planned)
        for charge, (day, terms) in effects.prices.items()
    ]


def save_own_prices(uow: UnitOfWork, given: Sequence[OwnPrice]) -> None:
    """Give subscriptions prices of their own; a fixed number of statements.

    A price of the subscription's own that held before ends on that day. Refuses when one begins
    on that day or later, and for a subscription that is invoiced nowhere.
    """
    if not given:
        return
    profiles = profiles_of(uow, [one.subscription for one in given])
    standing = uow.query(_STANDING, names=[one.name for one in given])
    by_owner: dict[tuple[object, object, object], list[Record]] = {}
    for row in standing:
        key = (row["subscription_external_id"], row["charge_id"], row["currency"])
        by_owner.setdefault(key, []).append(row)
    prices: list[tuple[Record, PriceTerms]] = []
    ends: list[tuple[int, Record]] = []
    problems: list[Problem] = []
    for one in given:
        currency = profiles.get(one.subscription, {}).get("currency")
        if currency is None:
            message = f"{one.name} is invoiced nowhere: its price has no currency"
            problems.append(Problem("no_billing_profile", message, "subscription", line=one.line))
            continue
        for price in by_owner.get((one.name, one.charge, currency), ()):
            verdict = _beside(price, one)
            if verdict == "ends":
                ends.append((price["id"], {"valid_to": one.day}))
            elif verdict == "refused":
                since = f"from {price['valid_from']}" if price["valid_from"] else "of its own"
                message = f"{one.name} has a price {since} already"
                problems.append(Problem("later_price", message, "day", line=one.line))
        prices.append((_whose(one.name, one.charge, currency, one.day), one.terms))
    if problems:
        raise Refused(problems)
    uow.update_many("price", ends)
    try:
        save_prices(uow, prices)
    except Refused as refused:
        found = [replace(one, line=given[(one.line or 1) - 1].line) for one in refused.problems]
        raise Refused(found, refused.status) from refused


def _beside(price: Record, other: OwnPrice) -> str:
    """What becomes of a standing price when another one holds from a day on: it ``stays``,
    ``ends``, or the other is ``refused``. A price for one day leaves no gap behind it."""
    day = other.day or date.min
    starts = cast("date", price["valid_from"] or date.min)
    until = cast("date | None", other.terms.values.get("valid_to"))
    over = price["valid_to"] is not None and price["valid_to"] <= day
    if over or (other.once and until is not None and starts >= until):
        return "stays"
    return "refused" if other.once or starts >= day else "ends"


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
