"""The successors of subscriptions that are handed over to another account or site.

What was billed belongs to whom it was billed to, so a subscription never changes its account: it
ends, and its successor goes on in the same cycles with the same quantities and identifiers.
"""

import re
from collections.abc import Sequence
from typing import cast

from counterfoil.business.subscriptions.changes import Change, Effects, State, begun_offset
from counterfoil.business.subscriptions.handing_over import Handed, take_along
from counterfoil.business.subscriptions.invoicing import profiles_of
from counterfoil.business.subscriptions.own_prices import hand_over_prices
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_COUNTED = re.compile(r"^(.+)-(\d+)$")


def save_successors(
    uow: UnitOfWork, planned: Sequence[tuple[Change, State, Effects]]
) -> dict[int, int]:
    """Begin the successors of what is transferred; their ids by those of their predecessors."""
    moved = [one for one in planned if one[2].moved is not None]
    if not moved:
        return {}
    olds = {
        cast("int", row["id"]): row
        for row in uow.query(
            "SELECT * FROM subscription WHERE id = ANY(:ids)",
            ids=[state.id for _, state, _ in moved],
        )
    }
    accounts = _ids(uow, "account", [change.account for change, _, _ in moved])
    sites = _ids(uow, "site", [change.site for change, _, _ in moved])
    own_fields = [
        field.name
        for field in uow.catalogue.entity("subscription").stored
        if field.custom and not field.unique
    ]
    rows = [_successor(one, olds[one[1].id], accounts, sites, own_fields) for one in moved]
    taken = uow.ids_by("subscription", "external_id", [str(row["external_id"]) for row in rows])
    if taken:
        raise Refused(
            [
                Problem("not_unique", f"there is a subscription {name!r} already", "successor")
                for name in taken
            ]
        )
    ids = uow.create_many("subscription", rows, by_command=True)
    uow.create_many(
        "subscription_charge",
        [
            {
                "subscription_id": successor,
                "charge_id": begun.charge_id,
                "quantity": begun.quantity,
                "start_date": begun.start,
                "end_date": begun.end,
                "start_offset": begun_offset(effects, begun),
            }
            for successor, (_, _, effects) in zip(ids, moved, strict=True)
            for begun in effects.moved or ()
        ],
    )
    by_old = {state.id: successor for successor, (_, state, _) in zip(ids, moved, strict=True)}
    _hand_over(uow, moved, olds, rows, by_old)
    _copy_identifiers(uow, by_old)
    return by_old


def _copy_identifiers(uow: UnitOfWork, by_old: dict[int, int]) -> None:
    named = uow.query(
        "SELECT identifier, subscription_id FROM usage_identifier"
        " WHERE subscription_id = ANY(:ids) ORDER BY id",
        ids=list(by_old),
    )
    uow.create_many(
        "usage_identifier",
        [
            {"identifier": row["identifier"], "subscription_id": by_old[row["subscription_id"]]}
            for row in named
        ],
    )


def _hand_over(
    uow: UnitOfWork,
    moved: Sequence[tuple[Change, State, Effects]],
    olds: dict[int, Record],
    rows: Sequence[Record],
    by_old: dict[int, int],
) -> None:
    """Add-ons, prices and what else names the subscriptions go along."""
    profiles = profiles_of(uow, list(by_old.values()))
    names = [str(row["external_id"]) for row in rows]
    hand_over_prices(
        uow,
        [
            (state, effects, by_old[state.id], name)
            for name, (_, state, effects) in zip(names, moved, strict=True)
        ],
    )
    take_along(
        uow,
        [
            Handed(
                name=state.external_id,
                account=cast("int", olds[state.id]["account_id"]),
                successor=str(row["external_id"]),
                successor_account=cast("int", row["account_id"]),
                currency=cast("str | None", profiles.get(by_old[state.id], {}).get("currency")),
            )
            for row, (_, state, _) in zip(rows, moved, strict=True)
        ],
    )
    uow.create_many(
        "amendment",
        [
            {
                "subscription_id": by_old[state.id],
                "kind": "add_on",
                "effective_date": effects.day,
                "billed_from": effects.billed_from,
                "rate_plan_id": plan,
                "made_by": uow.actor,
                "reason": f"goes along from {state.external_id}",
            }
            for _, state, effects in moved
            for plan in state.add_ons_on(effects.day)
        ],
    )


def _ids(uow: UnitOfWork, entity: str, names: Sequence[str | None]) -> dict[object, int]:
    wanted = [name for name in names if name is not None]
    ids = uow.ids_by(entity, "external_id", wanted) if wanted else {}
    problems = [
        Problem(f"unknown_{entity}", f"there is no {entity} {name!r}", entity)
        for name in dict.fromkeys(wanted)
        if name not in ids
    ]
    if problems:
        raise Refused(problems)
    return dict(ids)


def _successor(
    one: tuple[Change, State, Effects],
    old: Record,
    accounts: dict[object, int],
    sites: dict[object, int],
    own_fields: Sequence[str],
) -> Record:
    """What it was, elsewhere; with another account nothing that belongs to the former one."""
    change, state, effects = one
    kept = [
        *("end_date", "trial_end", "billing_start", "term_end", "term_months", "renewal"),
        *("renewal_uplift_percent", "renewal_uplift_of", *own_fields),
    ]
    row: Record = {name: old[name] for name in kept}
    for name in ("trial_end", "billing_start"):
        if row[name] is not None and row[name] <= effects.day:
            row[name] = None
    account = old["account_id"] if change.account is None else accounts[change.account]
    if account == old["account_id"]:
        row |= {name: old[name] for name in ("site_id", "contact_id", "contract_id")}
        row |= {name: old[name] for name in ("invoice_account_id", "purchase_order")}
    if change.site is not None:
        row["site_id"] = sites[change.site]
    return {
        **row,
        "external_id": change.successor or _next_name(state, old),
        "account_id": account,
        "rate_plan_id": state.plan_on(effects.day),
        "start_date": effects.day,
        "anchor_date": state.anchor,
        "follows_id": state.id,
    }


def _next_name(state: State, old: Record) -> str:
    """S-1 is followed by S-1-2, and that by S-1-3."""
    counted = _COUNTED.match(state.external_id)
    if old["follows_id"] is not None and counted:
        return f"{counted[1]}-{int(counted[2]) + 1}"
    return f"{state.external_id}-2"
