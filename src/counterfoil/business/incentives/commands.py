"""Saving incentives: an upsert by external id, all or nothing; redeeming coupons."""

from collections.abc import Mapping, Sequence

from counterfoil.business.incentives.entries import (
    IncentiveEntry,
    IncentivesFile,
    PartEntry,
    Reference,
)
from counterfoil.business.incentives.formulas import find_discount_formula_problems
from counterfoil.business.products.commands import describe_unknown, placed
from counterfoil.business.products.queries import read_by_external_id
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

PARTS = {
    "discount": ("discount_target", "discount_tier", "discount_holder"),
    "entitlement": ("entitlement_target", "entitlement_threshold"),
}
"""What an entry consists of besides itself; holders are added to, the others replaced."""

_ADDED_TO = ("discount_holder",)

Stored = Mapping[str, dict[str, Record]]
"""Records by entity and external id."""


def save_incentives(uow: UnitOfWork, file: IncentivesFile) -> dict[str, int]:
    """Save incentives that were parsed without problems.

    Records are matched by external id; what the file does not mention stays. Answers with counts
    such as ``discounts_created``, ``discounts_changed`` and ``discounts_unchanged``. Refuses
    (422) with every problem, nothing saved.
    """
    stored = _read_stored(uow, file)
    problems = _find_problems(uow, file, stored)
    if problems:
        raise Refused(problems)
    counts: dict[str, int] = {}
    for entity in dict.fromkeys(entry.entity for entry in file.entries):
        _save_entries(uow, file.of_entity(entity), entity, stored, counts)
    return counts


def redeem_coupon(uow: UnitOfWork, code: str, account: str) -> None:
    """Give an account the discount with this code; a second time changes nothing.

    Refuses (404) an unknown code or account, (409) a coupon that is not valid any more.
    """
    discount = uow.find("discount", code=code)
    holder = uow.find("account", external_id=account)
    if discount is None:
        raise Refused(Problem("unknown_coupon", f"there is no coupon {code!r}", "code"), 404)
    if holder is None:
        problem = Problem("unknown_account", f"there is no account {account!r}", "account")
        raise Refused(problem, status=404)
    if discount["valid_to"] is not None and discount["valid_to"] <= uow.now.date():
        message = f"the coupon {code!r} was valid to {discount['valid_to']}"
        raise Refused(Problem("coupon_expired", message, "code"), 409)
    pair = {"discount_id": discount["id"], "account_id": holder["id"]}
    if uow.find("discount_holder", **pair) is None:
        uow.create("discount_holder", pair)


def _read_stored(uow: UnitOfWork, file: IncentivesFile) -> Stored:
    names: dict[str, set[str]] = {}
    for entry in file.entries:
        names.setdefault(entry.entity, set()).add(entry.external_id)
        for one in entry.whole:
            for target, name in one.references.values():
                names.setdefault(target, set()).add(name)
    return {entity: read_by_external_id(uow, entity, wanted) for entity, wanted in names.items()}


def _find_problems(uow: UnitOfWork, file: IncentivesFile, stored: Stored) -> list[Problem]:
    problems: list[Problem] = []
    for entry in file.entries:
        for one in entry.whole:
            problems += _find_unknown_names(uow, one, stored)
        problems += _find_fixed_fields(uow, entry, stored)
    discounts = file.of_entity("discount")
    for position, problem in find_discount_formula_problems(
        uow, [entry.values for entry in discounts]
    ):
        place = discounts[position].place
        problems.append(
            place.problem(problem.code, problem.message, problem.field, problem.allowed)
        )
    return sorted(problems, key=lambda problem: problem.line or 0)


def _find_unknown_names(
    uow: UnitOfWork, entry: IncentiveEntry | PartEntry, stored: Stored
) -> list[Problem]:
    """References to what is not there."""
    problems: list[Problem] = []
    for field, (target, name) in entry.references.items():
        if name not in stored[target]:
            message, allowed = describe_unknown(uow, target, name, ())
            problems.append(
                entry.place.problem(f"unknown_{target}", message, _told(field, entry), allowed)
            )
    return problems


def _told(field: str, entry: IncentiveEntry | PartEntry) -> str:
    """How the file calls a field: the targets of a discount stand in lists."""
    plural = f"{field.removesuffix('_id')}s"
    return plural if plural in entry.place.lines else field


def _find_fixed_fields(uow: UnitOfWork, entry: IncentiveEntry, stored: Stored) -> list[Problem]:
    """Changes to fields that are set when a record is created and never change."""
    record = stored[entry.entity].get(entry.external_id)
    if record is None:
        return []
    values = _values(entry, stored)
    return [
        entry.place.problem(
            "immutable_field",
            f"of {entry.external_id!r} is stored otherwise and cannot change",
            field.name,
        )
        for field in uow.catalogue.entity(entry.entity).fields
        if field.immutable and values.get(field.name) != record[field.name]
    ]


def _values(entry: IncentiveEntry | PartEntry, stored: Stored) -> Record:
    """An entry's fields, references as ids; those it does not mention are not in it."""
    return {**entry.values, **_ids(entry.references, stored)}


def _ids(references: Mapping[str, Reference], stored: Stored) -> Record:
    return {
        field: stored[target][name]["id"] if name in stored[target] else None
        for field, (target, name) in references.items()
    }


def _save_entries(
    uow: UnitOfWork,
    entries: Sequence[IncentiveEntry],
    entity: str,
    stored: Stored,
    counts: dict[str, int],
) -> None:
    known = stored[entity]
    fresh = [entry for entry in entries if entry.external_id not in known]
    with placed(fresh):
        created = uow.create_many(entity, [_values(entry, stored) for entry in fresh])
    ids = {entry.external_id: one for entry, one in zip(fresh, created, strict=True)}
    old = [entry for entry in entries if entry.external_id in known]
    ids.update({entry.external_id: int(known[entry.external_id]["id"]) for entry in old})
    changed: set[str] = set()
    for entry in old:
        record = known[entry.external_id]
        values = _values(entry, stored)
        differing = {name: value for name, value in values.items() if value != record[name]}
        if differing:
            changed.add(entry.external_id)
            with placed([entry]):
                uow.update(entity, int(record["id"]), differing)
    for part in PARTS.get(entity, ()):
        changed |= _save_parts(uow, entries, entity, part, ids, stored)
    plural = uow.catalogue.entity(entity).plural
    counts[f"{plural}_created"] = len(fresh)
    counts[f"{plural}_changed"] = len(changed - {entry.external_id for entry in fresh})
    counts[f"{plural}_unchanged"] = len(entries) - len(fresh) - counts[f"{plural}_changed"]


def _save_parts(
    uow: UnitOfWork,
    entries: Sequence[IncentiveEntry],
    entity: str,
    part: str,
    ids: Mapping[str, int],
    stored: Stored,
) -> set[str]:
    """Store the parts of one kind that differ; the entries whose parts changed."""
    owner = f"{entity}_id"
    # The file knows no custom fields: they make no part another one.
    declared = uow.catalogue.entity(part).fields
    fields = [field.name for field in declared if field.name != owner and not field.custom]
    rows = uow.query(f'SELECT * FROM "{part}" WHERE "{owner}" = ANY(:ids)', ids=list(ids.values()))
    there: dict[int, set[tuple[object, ...]]] = {}
    for row in rows:
        there.setdefault(row[owner], set()).add(tuple(row[name] for name in fields))
    changed: set[str] = set()
    fresh: list[Record] = []
    places: list[PartEntry] = []
    for entry in entries:
        parts = [one for one in entry.parts if one.entity == part]
        records = [_values(one, stored) for one in parts]
        wanted = [tuple(record.get(name) for name in fields) for record in records]
        old = there.get(ids[entry.external_id], set())
        if part not in _ADDED_TO:
            if set(wanted) == old:
                continue
            uow.execute(f'DELETE FROM "{part}" WHERE "{owner}" = :id', id=ids[entry.external_id])
            old = set()
            changed.add(entry.external_id)
        for one, record, key in zip(parts, records, wanted, strict=True):
            if key not in old:
                changed.add(entry.external_id)
                fresh.append({**record, owner: ids[entry.external_id]})
                places.append(one)
    with placed(places):
        uow.create_many(part, fresh)
    return changed
