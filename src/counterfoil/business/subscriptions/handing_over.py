"""What was agreed for a subscription goes along to its successor when it is transferred.

Commitments, entitlements and discounts live in a room above this one: they are named here, and of
what parts they consist is read from the catalogue. Orders name subscriptions too, and stay what
they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.business.products.owners import OWNER_OF
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, FieldType, Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

TAKEN = ("commitment", "entitlement", "discount_target")
"""The entities whose records go along, beside prices."""

NAMING = OWNER_OF["subscription"].field
"""The field that holds the external id of a subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A subscription (external id) of an account (id) that another one follows; ``currency`` is
    what the successor is billed in, None when nobody is billed for it."""

    name: str
    account: int
    successor: str
    successor_account: int
    currency: str | None


def take_along(uow: UnitOfWork, handed: Sequence[Handed]) -> None:
    """Give successors what was agreed for the subscriptions they follow, each with all its parts.

    The originals stay: they hold for what was used before. Refuses what is in another currency than
    the successor is billed in.
    """
    by_name = {one.name: one for one in handed}
    for entity in (uow.catalogue.entity(name) for name in TAKEN):
        rows = uow.query(
            f'SELECT * FROM "{entity.name}" WHERE "{NAMING}" = ANY(:names) ORDER BY id',
            names=list(by_name),
        )
        if not rows:
            continue
        _refuse_currencies(entity, rows, by_name)
        copies = [_copy(entity, row, by_name[str(row[NAMING])]) for row in rows]
        ids = uow.create_many(entity.name, copies, by_command=True)
        old_to_new = {row["id"]: copy for row, copy in zip(rows, ids, strict=True)}
        for part in uow.catalogue.entities.values():
            _copy_parts(uow, part, entity, old_to_new)
    names = [one.successor for one in handed]
    accounts = [one.successor_account for one in handed]
    uow.create_many("discount_holder", uow.query(_HOLDERS, names=names, accounts=accounts))


# A discount for nothing but subscriptions has its holders only so that it has any.
_HOLDERS = """
SELECT DISTINCT t.discount_id, s.account AS account_id
FROM unnest(CAST(:names AS text[]), CAST(:accounts AS bigint[])) AS s(name, account)
JOIN discount_target t ON t.subscription_external_id = s.name
JOIN discount d ON d.id = t.discount_id AND d.audience = 'holders'
WHERE NOT EXISTS (SELECT 1 FROM discount_target o
                  WHERE o.discount_id = d.id AND o.subscription_external_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM discount_holder h
                  WHERE h.discount_id = d.id AND h.account_id = s.account)
ORDER BY 1, 2
"""


def _refuse_currencies(entity: Entity, rows: Sequence[Record], by_name: dict[str, Handed]) -> None:
    noun = entity.label or entity.name.replace("_", " ")
    problems = []
    for row in rows:
        one = by_name[str(row[NAMING])]
        if one.currency is not None and row.get("currency") not in (None, one.currency):
            message = (
                f"{one.name} has the {noun} {row['external_id']} in {row['currency']}, and would "
                f"be billed in {one.currency}: end it first"
            )
            problems.append(Problem("other_currency", message, "account"))
    if problems:
        raise Refused(problems)


def _copy(entity: Entity, row: Record, one: Handed) -> Record:
    copy = {field.name: row[field.name] for field in entity.stored}
    copy[NAMING] = one.successor
    if "external_id" in copy:
        base = str(copy["external_id"]).removesuffix(f"-{one.name}")
        copy["external_id"] = f"{base}-{one.successor}"
    if copy.get("account_id") == one.account:
        copy["account_id"] = one.successor_account
    return copy


def _copy_parts(uow: UnitOfWork, part: Entity, whole: Entity, copies: dict[object, int]) -> None:
    """Copy the records that exist only with those of the entity: what is deleted with them."""
    for field in part.stored:
        if field.type is not FieldType.REFERENCE or field.target != whole.name:
            continue
        if field.on_delete != "cascade":
            continue
        rows = uow.query(
            f'SELECT * FROM "{part.name}" WHERE "{field.name}" = ANY(:ids) ORDER BY id',
            ids=list(copies),
        )
        own = [{one.name: row[one.name] for one in part.stored} for row in rows]
        moved = [{**row, field.name: copies[row[field.name]]} for row in own]
        uow.create_many(part.name, moved, by_command=True)
