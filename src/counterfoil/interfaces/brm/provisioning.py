"""Entities of theirs that are more than a record of ours: what is provisioned, and its prices.

ACCOUNT_PACKAGE and ACCOUNT_PRODUCT begin and end subscriptions by the same commands as everything
else; a PRICING of a product brings its price with it.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.subscriptions.commands import (
    Activation,
    activate_subscriptions,
    cancel_subscriptions,
    change_quantity,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.paying import create_payments
from counterfoil.interfaces.brm.records import Change, create_records, keys_of, update_records
from counterfoil.interfaces.brm.values import taken, written
from counterfoil.interfaces.brm.words import Wording, plain_name
from counterfoil.platform.metadata import Field, FieldType, Record
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.pages import LONGEST_PAGE, Filter
from counterfoil.platform.records.unit_of_work import UnitOfWork

Create = Callable[[UnitOfWork, Wording, Sequence[Change]], list[int]]
Update = Callable[[UnitOfWork, Wording, Sequence[Change], Sequence[int]], None]
Already = Callable[[UnitOfWork, Sequence[Change], Sequence[int]], None]


def nothing_asked(_uow: UnitOfWork, _changes: Sequence[Change], _ids: Sequence[int]) -> None:
    """What only a new record takes says nothing about one that is there."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How records of an entity are made and changed.

    ``already`` refuses what only a new record takes, of one that is there and differs from it.
    """

    create: Create = create_records
    update: Update = update_records
    already: Already = nothing_asked


# -- what is provisioned ------------------------------------------------------------------------


def create_packages(uow: UnitOfWork, wording: Wording, changes: Sequence[Change]) -> list[int]:
    """ACCOUNT_PACKAGE: a subscription for each, begun as the command does."""
    plans = [_given(wording, change, "PackageId") for change in changes]
    activations = _activations(uow, wording, changes, plans, [{} for _ in changes])
    uow.access.demand_command("activate_subscriptions")
    ids = activate_subscriptions(uow.unrestricted(), activations)
    update_records(uow, wording, _custom(changes), ids)
    return ids


def create_products(uow: UnitOfWork, wording: Wording, changes: Sequence[Change]) -> list[int]:
    """ACCOUNT_PRODUCT: a subscription of the rate plan that the product alone makes up."""
    charges = _charges(uow, [_given(wording, change, "ProductId") for change in changes])
    problems: list[Problem] = []
    plans: list[object] = []
    quantities: list[dict[str, Decimal]] = []
    for line, change in enumerate(changes, start=1):
        charge = charges.get(_given(wording, change, "ProductId"))
        plans.append(None if charge is None else charge["rate_plan_id"])
        quantities.append({} if charge is None else _quantity(wording, change, charge))
        if charge is None:
            problems.append(Problem("unknown_reference", "there is no such product", "ProductId"))
        elif charge["beside"]:
            message = (
                f"{charge['name']} is one of several products of its package; provision the"
                " package, as ACCOUNT_PACKAGE"
            )
            problems.append(Problem("part_of_a_package", message, "ProductId", line=line))
    if problems:
        raise Refused(_lined(problems, changes))
    activations = _activations(uow, wording, changes, plans, quantities)
    uow.access.demand_command("activate_subscriptions")
    subscriptions = activate_subscriptions(uow.unrestricted(), activations)
    made = uow.unrestricted().query(
        "SELECT subscription_id, min(id) AS id FROM subscription_charge"
        " WHERE subscription_id = ANY(:ids) GROUP BY subscription_id",
        ids=subscriptions,
    )
    ids = {row["subscription_id"]: row["id"] for row in made}
    provided = [ids[one] for one in subscriptions]
    update_records(uow, wording, _custom(changes), provided)
    return provided


def update_packages(
    uow: UnitOfWork, wording: Wording, changes: Sequence[Change], ids: Sequence[int]
) -> None:
    """ACCOUNT_PACKAGE: an end, and what the customer has added to subscriptions."""
    olds = _olds(uow, "subscription", ids)
    _end(uow, changes, olds, ids)
    update_records(uow, wording, _custom(changes), ids)


def update_products(
    uow: UnitOfWork, wording: Wording, changes: Sequence[Change], ids: Sequence[int]
) -> None:
    """ACCOUNT_PRODUCT: an end ends the subscription, a quantity holds from today."""
    olds = _olds(uow, "subscription_charge", ids)
    charges = _charges(uow, [one["charge_id"] for one in olds])
    message = "is one of several products of a package; end the ACCOUNT_PACKAGE"
    parts = [
        Problem("part_of_a_package", message, "EndDate", line=line)
        for line, (old, change) in enumerate(zip(olds, changes, strict=True), start=1)
        if _new_end(change, old) is not None and charges[old["charge_id"]]["beside"]
    ]
    if parts:
        raise Refused(_lined(parts, changes))
    for old, change in zip(olds, changes, strict=True):
        quantity = change.values.get("quantity")
        if quantity is not None and _number(quantity) != old["quantity"]:
            uow.access.demand_command("change_quantity")
            charge = charges[old["charge_id"]]["external_id"]
            today = max(uow.now.date(), old["start_date"])
            # A command for each: a change of quantity splits what runs.
            change_quantity(
                uow.unrestricted(), old["subscription_id"], charge, _number(quantity), today
            )
    _end(uow, changes, olds, [one["subscription_id"] for one in olds])
    update_records(uow, wording, _custom(changes), ids)


def _custom(changes: Sequence[Change]) -> list[Change]:
    """Of the changes what the customer has added to the entity, which no command asks for."""
    return [
        Change(one.row, {n: v for n, v in one.values.items() if n.startswith("x_")})
        for one in changes
    ]


def _olds(uow: UnitOfWork, entity: str, ids: Sequence[int]) -> list[Record]:
    """The records of the ids; refuses (404) unknown ones."""
    found = _found(uow, entity, ids)
    missing = [
        Problem("unknown_record", f"there is no record {one}", "Id", line=line)
        for line, one in enumerate(ids, start=1)
        if one not in found
    ]
    if missing:
        raise Refused(missing, status=404)
    return [found[one] for one in ids]


def _found(uow: UnitOfWork, entity: str, ids: Sequence[int]) -> dict[int, Record]:
    """Those of the records that are there, a page at a time."""
    found: dict[int, Record] = {}
    for start in range(0, len(ids), LONGEST_PAGE):
        part = list(ids[start : start + LONGEST_PAGE])
        page = uow.list(entity, filters=[Filter("id", "in", part)], limit=LONGEST_PAGE)
        found |= {row["id"]: row for row in page.records}
    return found


def _end(
    uow: UnitOfWork, changes: Sequence[Change], olds: Sequence[Record], ids: Sequence[int]
) -> None:
    """End the subscriptions whose changes say so; those of one day together."""
    ends: dict[date, list[int]] = {}
    for subscription, old, change in zip(ids, olds, changes, strict=True):
        day = _new_end(change, old)
        if day is not None:
            ends.setdefault(day, []).append(subscription)
    if ends:
        uow.access.demand_command("cancel_subscription")
    for day, subscriptions in ends.items():
        cancel_subscriptions(uow.unrestricted(), subscriptions, day)


def _new_end(change: Change, old: Record) -> date | None:
    """The end a change asks for, where it is another one."""
    end = change.values.get("end_date")
    return None if end is None or _day(end) == old["end_date"] else _day(end)


def _activations(
    uow: UnitOfWork,
    wording: Wording,
    changes: Sequence[Change],
    plans: Sequence[object],
    quantities: Sequence[Mapping[str, Decimal]],
) -> list[Activation]:
    """The activations the changes ask for; ids become external ids."""
    named = {
        name: [_given(wording, change, f"{name}_id") for change in changes]
        for name in ("account", "site", "contact", "contract", "invoice_account")
    }
    named["rate_plan"] = list(plans)
    known = {
        name: keys_of(uow, _ENTITIES.get(name, name), "external_id", _ids(ids))
        for name, ids in named.items()
    }
    activations: list[Activation] = []
    problems: list[Problem] = []
    for place, change in enumerate(changes):
        texts: dict[str, str | None] = {}
        for name, ids in named.items():
            texts[name] = cast("str | None", known[name].get(cast("int", ids[place])))
            if texts[name] is None and (ids[place] is not None or name in _NEEDED):
                told = "is required" if ids[place] is None else "there is no such record"
                shown = _NEEDED.get(name, f"{name}_id")
                problems.append(Problem("unknown_reference", told, shown, line=place + 1))
        start = _given(wording, change, "StartDate")
        anchor = _given(wording, change, "BillingCycleStartDate")
        if start is None and anchor is None:
            problems.append(Problem("required", "is required", "StartDate", line=place + 1))
        if any(one.line == place + 1 for one in problems):
            continue
        activations.append(
            Activation(
                external_id=_name(wording, change),
                account=cast("str", texts["account"]),
                rate_plan=cast("str", texts["rate_plan"]),
                site=texts["site"],
                contact=texts["contact"],
                contract=texts["contract"],
                invoice_account=texts["invoice_account"],
                start_date=_day(start or anchor),
                anchor_date=None if anchor is None else _day(anchor),
                end_date=_optional_day(_given(wording, change, "EndDate")),
                trial_end=_optional_day(_given(wording, change, "TrialEndDate")),
                quantities=quantities[place],
                identifiers=_identifiers(change),
            )
        )
    if problems:
        raise Refused(_lined(problems, changes))
    return activations


_ENTITIES = {"invoice_account": "account"}
_NEEDED = {"account": "AccountId", "rate_plan": "PackageId"}


def _charges(uow: UnitOfWork, ids: Sequence[object]) -> dict[object, Record]:
    """Charges by id; ``beside`` says whether their rate plans have other charges."""
    wanted = _ids(ids)
    if not wanted:
        return {}
    seen = _found(uow, "charge", wanted).values()
    plans = sorted({row["rate_plan_id"] for row in seen})
    counts = uow.unrestricted().query(
        "SELECT rate_plan_id, count(*) AS charges FROM charge WHERE rate_plan_id = ANY(:plans)"
        " GROUP BY rate_plan_id",
        plans=plans,
    )
    several = {row["rate_plan_id"] for row in counts if row["charges"] > 1}
    return {row["id"]: {**row, "beside": row["rate_plan_id"] in several} for row in seen}


def _quantity(wording: Wording, change: Change, charge: Record) -> dict[str, Decimal]:
    value = _given(wording, change, "Quantity")
    if value is None or (charge["kind"] == "usage" and _number(value) == 1):
        return {}
    return {charge["external_id"]: _number(value)}


def _name(wording: Wording, change: Change) -> str:
    return written(_given(wording, change, "ExternalKey")) or f"brm-{secrets.token_hex(8)}"


def _identifiers(change: Change) -> tuple[str, ...]:
    """Tokens in usage records, from BillingIdentifier."""
    for name, value in change.row.items():
        if plain_name(name) == "billingidentifier":
            return tuple(part.strip() for part in written(value).split(",") if part.strip())
    return ()


def demand_identifiers(
    uow: UnitOfWork, changes: Sequence[Change], subscriptions: Sequence[int]
) -> None:
    """Refuse a BillingIdentifier that the subscription does not have."""
    asked = {one: _identifiers(change) for one, change in zip(subscriptions, changes, strict=True)}
    known = uow.unrestricted().query(
        "SELECT subscription_id, identifier FROM usage_identifier"
        " WHERE subscription_id = ANY(:ids)",
        ids=list(asked),
    )
    there = {(row["subscription_id"], row["identifier"]) for row in known}
    problems = [
        Problem("not_kept_here", _OF_A_NEW_ONE, "BillingIdentifier", line=line)
        for line, (subscription, tokens) in enumerate(asked.items(), start=1)
        if any((subscription, token) not in there for token in tokens)
    ]
    if problems:
        raise Refused(problems)


_OF_A_NEW_ONE = "is taken of a new one only; create a USAGE_IDENTIFIER with its AccountPackageId"


# -- prices -------------------------------------------------------------------------------------


def create_contract_rates(
    uow: UnitOfWork, wording: Wording, changes: Sequence[Change]
) -> list[int]:
    """CONTRACT_RATE: a price of the contract, by default in the currency it is billed in."""
    contracts = [_given(wording, change, "ContractId") for change in changes]
    currencies = _currencies(uow, _ids(contracts))
    priced: list[Change] = []
    for contract, change in zip(contracts, changes, strict=True):
        given = {"model": "graduated", "currency": currencies.get(cast("int", contract))}
        priced.append(replace(change, values={**given, **change.values}))
    return create_records(uow, wording, priced)


def create_contract_currencies(
    uow: UnitOfWork, wording: Wording, changes: Sequence[Change]
) -> list[int]:
    """CONTRACT_CURRENCY: nothing is written; what is said about the contract has to be so."""
    del uow
    contracts = [_given(wording, change, "ContractId") for change in changes]
    missing = [
        Problem("required", "is required", "ContractId", line=line)
        for line, one in enumerate(contracts, start=1)
        if one is None
    ]
    if missing:
        raise Refused(_lined(missing, changes))
    return _ids(contracts, every=True)


def create_pricing(uow: UnitOfWork, wording: Wording, changes: Sequence[Change]) -> list[int]:
    """PRICING: a tier, of a contract rate or of the list price of a product."""
    tiers: list[Change] = []
    lists: dict[tuple[object, ...], int] = {}
    reached = _reached(uow, _ids([one.values.get("price_id") for one in changes]))
    for change in changes:
        values = dict(change.values)
        if values.get("price_id") is None:
            key = tuple(
                _given(wording, change, name)
                for name in ("ProductId", "CurrencyCode", "EffectiveDate", "EndDate")
            )
            if key not in lists:
                lists[key] = _list_price(uow, key)
            values["price_id"] = lists[key]
        price = values["price_id"]
        if values.get("from_quantity") is None and reached.get(price) is not None:
            values["from_quantity"] = reached[price]
        reached[price] = values.get("up_to")
        tiers.append(replace(change, values=values))
    return create_records(uow, wording, tiers)


def _reached(uow: UnitOfWork, prices: Sequence[int]) -> dict[object, object]:
    """Price to the quantity that its tiers reach up to already."""
    if not prices:
        return {}
    rows = uow.unrestricted().query(
        "SELECT price_id, max(up_to) AS up_to FROM price_tier WHERE price_id = ANY(:ids)"
        " GROUP BY price_id HAVING bool_and(up_to IS NOT NULL)",
        ids=list(prices),
    )
    return {row["price_id"]: row["up_to"] for row in rows}


def _list_price(uow: UnitOfWork, key: tuple[object, ...]) -> int:
    product, currency, valid_from, valid_to = key
    if product is None:
        message = "is required, or ContractRateId: whose price is it?"
        raise Refused(Problem("required", message, "ProductId"))
    values = {
        "charge_id": product,
        "layer": "list",
        "currency": currency,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "model": "graduated",
    }
    return cast("int", uow.create("price", values)["id"])


def _currencies(uow: UnitOfWork, contracts: Sequence[int]) -> dict[int, str]:
    """Contract to the currency of whoever is billed for it: its account or the nearest above."""
    rows = uow.unrestricted().query(
        "WITH RECURSIVE above AS (SELECT contract.id, account_id, 0 AS up FROM contract"
        " WHERE contract.id = ANY(:ids) UNION ALL SELECT above.id, account.parent_id, up + 1"
        " FROM above JOIN account ON account.id = above.account_id"
        " WHERE account.parent_id IS NOT NULL)"
        " SELECT DISTINCT ON (above.id) above.id, currency FROM above"
        " JOIN billing_profile USING (account_id) ORDER BY above.id, up",
        ids=list(contracts),
    )
    return {row["id"]: row["currency"] for row in rows}


# -- values -------------------------------------------------------------------------------------

_DAY = Field(name="date", type=FieldType.DATE)
_NUMBER = Field(name="Quantity", type=FieldType.DECIMAL, precision=18, scale=6)


def _given(wording: Wording, change: Change, name: str) -> object:
    """What was sent for a field, wherever its value stands; None for nothing."""
    word = wording.word(name)
    if word is None:
        return None
    for sent, value in change.row.items():
        if wording.word(sent) is word:
            return taken(word, value)
    return None


def _day(value: object) -> date:
    try:
        return cast("date", read_value(_DAY, value))
    except ValueError as error:
        raise Refused(Problem("wrong_type", str(error), "StartDate, EndDate")) from None


def _optional_day(value: object) -> date | None:
    return None if value is None else _day(value)


def _number(value: object) -> Decimal:
    try:
        return cast("Decimal", read_value(_NUMBER, value))
    except ValueError as error:
        raise Refused(Problem("wrong_type", str(error), "Quantity")) from None


def _ids(values: Sequence[object], *, every: bool = False) -> list[int]:
    ids = [one for one in values if isinstance(one, int)]
    return ids if every else sorted(set(ids))


def _lined(problems: Sequence[Problem], changes: Sequence[Change]) -> list[Problem]:
    """Of a single record no line is told."""
    if len(changes) > 1:
        return list(problems)
    return [replace(one, line=None) for one in problems]


WRITERS: Mapping[str, Writer] = {
    "ACCOUNT_PACKAGE": Writer(create_packages, update_packages, demand_identifiers),
    "ACCOUNT_PRODUCT": Writer(create_products, update_products),
    "CONTRACT_CURRENCY": Writer(create_contract_currencies),
    "CONTRACT_RATE": Writer(create_contract_rates),
    "PRICING": Writer(create_pricing),
    "PAYMENT": Writer(create_payments),
}
"""Entities that are written in a way of their own, by name."""
