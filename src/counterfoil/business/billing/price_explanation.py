"""Which price a charge has on a day, and why: every layer that is asked, in order, with its answer.

The relations are loaded and the winner is found by the statements that rate: an explanation of its
own could be wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import cast

import pyarrow as pa

from counterfoil.business.accounts.queries import find_account
from counterfoil.business.billing.change_sentences import uplifts_of
from counterfoil.business.billing.loading import load_cells
from counterfoil.business.billing.price_layers import load_prices, regions
from counterfoil.business.billing.relations import make_statement
from counterfoil.business.subscriptions.invoicing import billed_account
from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Problem, Refused
from counterfoil.core.rating.layers import LAYERS
from counterfoil.core.rating.prices import LOOKED_INTO, price_epochs
from counterfoil.core.rating.relations import PRICE_CELL
from counterfoil.platform.engine.duck import Engine, small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceQuestion:
    """What the price is asked for; all names are external ids.

    Site, contact and contract are taken from the subscription where one is named. ``currency``
    is that of whoever bills the account unless it is given. ``day`` is local to them.
    """

    account: str
    charge: str
    day: date
    site: str | None = None
    contact: str | None = None
    contract: str | None = None
    subscription: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class PriceExplanation:
    """The price of a charge on a day and how it was found.

    ``layers``, most specific first, is one row per price of every owner asked, and one for an
    owner that has none: layer, owner (external id), price_id, model, valid_from, valid_to, verdict
    (``wins``; ``part`` of a partial price that sets some tiers, ``conflict`` where it does not fit;
    ``passed_over``, ``not_valid``, ``none``), partial and reason. Whether the condition of a price
    is met depends on what is rated: here it is taken as met, and told in the reason. ``price`` is
    the winner's record, None where no layer has a price; ``tiers`` are the terms in force: cell
    (in words, of a matrix price), from_quantity, up_to, unit_amount, flat_amount, price_id (the
    price the tier comes from).
    """

    asked: Record
    layers: list[Record]
    price: Record | None
    tiers: list[Record]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedItem:
    """Ids of what a price is asked for, as ``charge_item`` names them."""

    account_id: int
    charge_id: int
    currency: str
    day: date
    owners: Mapping[str, int | None] = field(default_factory=dict)


_OWNING = {layer.name: layer.column for layer in LAYERS if layer.column}
_ENTITIES = {
    "region": "price_region",
    "template": "pricing_template",
    **{name: name for name in ("account", "site", "contact", "contract", "subscription")},
}

_REGION = f"""
WITH RECURSIVE asked AS (SELECT CAST(:account AS bigint) AS account_id), {regions("asked")}
SELECT coalesce((SELECT price_region_id FROM site WHERE id = :site),
                (SELECT price_region_id FROM region)) AS id
"""

_ANSWERS = """
SELECT l.layer, l.owner_id, p.price_id, p.model, p.partial, p.valid_from, p.valid_to,
       l.valid_from AS asked_from, l.valid_to AS asked_to, c.price_id IS NOT NULL AS holds,
       coalesce(c.price_id = e.price_id, false) AS wins,
       coalesce(list_contains(e.partial_ids, c.price_id), false) AS sets_parts,
       EXISTS (SELECT 1 FROM conflicting x WHERE x.partial_id = c.price_id) AS conflicts
FROM looked_into l
LEFT JOIN (SELECT * FROM price JOIN charge_item USING (charge_id, currency)) p
  ON p.layer = l.layer AND p.owner_id = l.owner_id
LEFT JOIN price_candidate c ON c.price_id = p.price_id AND c.specificity = l.specificity
CROSS JOIN price_epoch e
ORDER BY l.specificity DESC, p.partial DESC, l.valid_from NULLS FIRST, p.valid_from NULLS FIRST
"""

_TIERS = """
SELECT t.cell_no, t.from_quantity, t.up_to, t.unit_amount, t.flat_amount, t.price_id
FROM price_epoch e JOIN terms_tier t USING (terms_id)
ORDER BY t.cell_no = 0, t.cell_no, t.from_quantity
"""

_EVERYTHING_ELSE = "everything else"


def explain_price(uow: UnitOfWork, question: PriceQuestion) -> PriceExplanation:
    """The price a charge has for an account on a day, and what every layer says to it.

    Refuses (404) names there are none of, and (422) a subscription of another account or an
    account that nobody is billed for when no currency is given.
    """
    item, names = _find_item(uow, question)
    layers, tiers = weigh_prices(uow, item)
    winner = next((row["price_id"] for row in layers if row["verdict"] == "wins"), None)
    price = None if winner is None else uow.get("price", cast("int", winner))
    asked: Record = {
        "account": question.account,
        "charge": question.charge,
        "currency": item.currency,
        "day": question.day,
        **names,
    }
    return PriceExplanation(asked, layers, price, tiers, _sentences(asked, layers))


def weigh_prices(uow: UnitOfWork, item: PricedItem) -> tuple[list[Record], list[Record]]:
    """What every layer says about the price of an item, and the tiers in force; see
    :class:`PriceExplanation`."""
    charges = pa.table(
        {
            name: pa.array([value], pa.int64())
            for name, value in (
                *(("item_id", 1), ("account_id", item.account_id), ("charge_id", item.charge_id)),
                *((column, item.owners.get(column)) for column in _OWNING.values()),
            )
        }
    )
    with small_engine() as engine:
        _register(engine, charges, item)
        nothing = pa.table(
            {"price_id": pa.array([], pa.int64()), "partial_ids": pa.array([], pa.string())}
        )
        prices, price_tiers, layers = load_prices(uow, charges, nothing)
        engine.register("price", prices)
        engine.register("price_tier", price_tiers)
        engine.register("price_layer", layers)
        epochs = price_epochs(
            partials=True, layers=prices["layer"].unique().to_pylist(), late=False
        )
        for statement in (*epochs, LOOKED_INTO):
            make_statement(engine, statement)
        answers = engine.records(_ANSWERS)
        tiers = _with_cells(uow, item.charge_id, engine.records(_TIERS))
    owners = _names_of(uow, answers)
    conditions = _conditions_of(uow, answers)
    of_subscription = [
        row["price_id"]
        for row in answers
        if row["layer"] == "subscription" and row["price_id"] is not None
    ]
    uplifts = uplifts_of(uow, of_subscription) if of_subscription else {}
    won = any(row["wins"] for row in answers)
    facts = [
        {
            **row,
            "won": won,
            "condition": conditions.get(row["price_id"]),
            "uplift": uplifts.get(row["price_id"], ""),
        }
        for row in answers
    ]
    return [_judged(row, owners, item, tiers) for row in facts], tiers


def _with_cells(uow: UnitOfWork, charge_id: int, tiers: list[Record]) -> list[Record]:
    """The tiers with their cells in words in place of their numbers; without any it is None."""
    labels: dict[object, str | None] = {0: None}
    if any(tier["cell_no"] for tier in tiers):
        cells = load_cells(uow, [charge_id])[PRICE_CELL.name].to_pylist()
        labels = {0: _EVERYTHING_ELSE, **{cell["cell_no"]: cell["label"] for cell in cells}}
    return [{"cell": labels[tier.pop("cell_no")], **tier} for tier in tiers]


def _register(engine: Engine, charges: pa.Table, item: PricedItem) -> None:
    """The item as ``charge_item``: one day of service."""
    day = pa.array([item.day], pa.date32())
    end = pa.array([item.day + timedelta(days=1)], pa.date32())
    table = charges.append_column("currency", pa.array([item.currency]))
    for name, value in (("service_start", day), ("service_end", end), ("pricing_end", end)):
        table = table.append_column(name, value)
    engine.register("charge_item", table)


def _find_item(uow: UnitOfWork, question: PriceQuestion) -> tuple[PricedItem, Record]:
    """The ids behind the names of a question, and the external ids of the owners in it."""
    account = find_account(uow, question.account)
    owners: dict[str, int | None] = dict.fromkeys(_OWNING.values())
    names: Record = {}
    invoiced_at: int | None = None
    if question.subscription is not None:
        subscription = _find(uow, "subscription", question.subscription)
        if subscription["account_id"] != account["id"]:
            message = f"is not a subscription of account {question.account!r}"
            raise Refused(Problem("wrong_account", message, "subscription"))
        owners.update({column: subscription.get(column) for column in owners})
        owners["subscription_id"] = subscription["id"]
        invoiced_at = subscription["invoice_account_id"]
    for name in ("site", "contact", "contract"):
        external_id = getattr(question, name)
        if external_id is not None:
            owners[f"{name}_id"] = _find(uow, name, external_id)["id"]
        elif owners[f"{name}_id"] is not None:
            names[name] = uow.get(name, cast("int", owners[f"{name}_id"]))["external_id"]
        names.setdefault(name, external_id)
    names["subscription"] = question.subscription
    return (
        PricedItem(
            account_id=account["id"],
            charge_id=_find(uow, "charge", question.charge)["id"],
            currency=question.currency or _currency_of(uow, question.account, invoiced_at),
            day=question.day,
            owners={
                **owners,
                "price_region_id": price_region_of(uow, account["id"], owners["site_id"]),
            },
        ),
        names,
    )


def price_region_of(uow: UnitOfWork, account_id: int, site_id: int | None) -> int | None:
    """The price region of a site, else of its account or the nearest one above that has one."""
    return cast("int | None", uow.query(_REGION, account=account_id, site=site_id)[0]["id"])


def _currency_of(uow: UnitOfWork, account: str, invoiced_at: int | None) -> str:
    profile = uow.find("billing_profile", account_id=invoiced_at or billed_account(uow, account))
    return str(profile["currency"]) if profile else ""


def _find(uow: UnitOfWork, entity: str, external_id: str) -> Record:
    record = uow.find(entity, external_id=external_id)
    if record is None:
        message = f"there is no {entity} {external_id!r}"
        raise Refused(Problem(f"unknown_{entity}", message, entity), status=404)
    return record


def _names_of(uow: UnitOfWork, answers: list[Record]) -> dict[tuple[str, int], str]:
    """External ids of the owners, by layer and id."""
    asked: dict[str, list[int]] = {layer: [] for layer in _ENTITIES}
    for row in answers:
        if row["layer"] in asked:
            asked[row["layer"]].append(row["owner_id"])
    rows = uow.query(
        " UNION ALL ".join(
            f"SELECT '{layer}' AS layer, id, external_id FROM {entity} WHERE id = ANY(:{layer})"
            for layer, entity in _ENTITIES.items()
        ),
        **asked,
    )
    return {(row["layer"], row["id"]): row["external_id"] for row in rows}


def _conditions_of(uow: UnitOfWork, answers: list[Record]) -> dict[object, str]:
    """The conditions of the prices that have one."""
    rows = uow.query(
        "SELECT id, condition FROM price WHERE id = ANY(:ids) AND condition IS NOT NULL",
        ids=[row["price_id"] for row in answers if row["price_id"] is not None],
    )
    return {row["id"]: row["condition"] for row in rows}


def _judged(
    row: Record,
    owners: Mapping[tuple[str, int], str],
    item: PricedItem,
    tiers: list[Record],
) -> Record:
    """One answer with its verdict and the reason in words."""
    verdict, reason = _verdict(row, item, tiers)
    reason += row["uplift"]
    if row["condition"] is not None:
        reason += f", where it is met that {row['condition']}"
    return {
        "layer": row["layer"],
        "owner": owners.get((row["layer"], row["owner_id"])),
        "price_id": row["price_id"],
        "model": row["model"],
        "partial": row["partial"],
        "valid_from": row["valid_from"],
        "valid_to": row["valid_to"],
        "verdict": verdict,
        "reason": reason,
    }


def _verdict(row: Record, item: PricedItem, tiers: list[Record]) -> tuple[str, str]:
    day = item.day
    if row["asked_from"] is not None and row["asked_from"] > day:
        return "not_valid", f"is assigned from {row['asked_from']} only"
    if row["asked_to"] is not None and row["asked_to"] <= day:
        return "not_valid", f"was assigned until {row['asked_to'] - timedelta(days=1)} only"
    if row["price_id"] is None:
        return "none", f"has no price for this charge in {item.currency}"
    if row["sets_parts"]:
        return _part(row, tiers)
    if row["holds"] and row["partial"] and not row["won"]:
        return "passed_over", f"has a partial price {_period(row)}, but no price for it to lie over"
    if row["wins"]:
        return "wins", f"has a price {_period(row)}, the most specific on this day"
    if row["holds"]:
        return "passed_over", f"has a price {_period(row)}, but a more specific one holds"
    if row["valid_from"] is not None and row["valid_from"] > day:
        return "not_valid", f"has a price from {row['valid_from']} only"
    return "not_valid", f"had a price until {row['valid_to'] - timedelta(days=1)} only"


def _part(row: Record, tiers: list[Record]) -> tuple[str, str]:
    """What is said of a partial price that lies over the winner."""
    said = f"has a partial price {_period(row)}"
    if row["conflicts"]:
        return "conflict", f"{said} that does not fit the price it lies over: it cannot be billed"
    own = [tier for tier in tiers if tier["price_id"] == row["price_id"]]
    if not own:
        return "part", f"{said}, but a more specific one sets the same {_parts_of(tiers)}"
    if own[0]["cell"] is not None:
        return "part", f"{said}, which sets {' and '.join(_of_cell(tier, tiers) for tier in own)}"
    noun = "tier" if len(own) == 1 else "tiers"
    bounds = " and ".join(without_zeros(tier["from_quantity"]) for tier in own)
    return "part", f"{said}, which sets the {noun} from {bounds}"


def _parts_of(tiers: list[Record]) -> str:
    return "cells" if any(tier["cell"] is not None for tier in tiers) else "tiers"


def _of_cell(tier: Record, tiers: list[Record]) -> str:
    """``level premier``, of a cell with several tiers ``level premier from 100``."""
    alone = sum(other["cell"] == tier["cell"] for other in tiers) == 1
    return f"{tier['cell']}" + ("" if alone else f" from {without_zeros(tier['from_quantity'])}")


def _period(row: Record) -> str:
    first, end = row["valid_from"], row["valid_to"]
    parts = [f"from {first}"] if first is not None else []
    if end is not None:
        parts.append(f"until {end - timedelta(days=1)}")
    return " ".join(parts) or "without bounds"


def _sentences(asked: Record, layers: list[Record]) -> tuple[str, ...]:
    said = [f"{_who(row)} {row['reason']}." for row in layers]
    if not any(row["verdict"] == "wins" for row in layers):
        said.append(f"So {asked['charge']} has no price on {asked['day']}: it cannot be billed.")
    return tuple(said)


def _who(row: Record) -> str:
    """``Account ACME``, ``Template RESELLER``, ``The list``."""
    if row["owner"] is None:
        return f"The {row['layer']}"
    return f"{str(row['layer']).capitalize()} {row['owner']}"
