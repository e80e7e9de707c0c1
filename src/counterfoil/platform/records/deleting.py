"""Deleting records that nothing refers to, and what the history keeps to put them back.

The details of a record (whose reference to it cascades) go with it, each with a history of its
own. Whatever else refers to it is named, and then nothing is deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue, Entity, Field, FieldType, Record
from counterfoil.platform.metadata.customer import entity_of, fields_of
from counterfoil.platform.metadata.entity import HEADER
from counterfoil.platform.metadata.validation import RecordChecker, read_value
from counterfoil.platform.records.locating import Queries

MOST_NAMES = 3
"""Referring records named one by one; more are counted."""

CREATED_AT = next(field for field in HEADER if field.name == "created_at")

Doomed = list[tuple[Entity, list[Record]]]
"""Entities and their records to be deleted, owners before their details."""


@dataclass(frozen=True, slots=True)
class Referrer:
    """A field of an entity that refers to another one."""

    entity: Entity
    field: Field

    @property
    def details(self) -> bool:
        """Whether the records are parts of what they refer to, and end with it."""
        return self.field.on_delete == "cascade" and not self.entity.created_by_command

    @property
    def lets_go(self) -> bool:
        """Whether the records stay when what they refer to goes, and point nowhere then."""
        return self.field.on_delete == "set_null"


def referrers(catalogue: Catalogue, target: str) -> list[Referrer]:
    """Every field of the catalogue that refers to that entity."""
    return [
        Referrer(entity, field)
        for entity in catalogue.entities.values()
        for field in entity.fields
        if field.type is FieldType.REFERENCE and field.target == target
    ]


def hidden_referrers(catalogue: Catalogue, target: str) -> list[Referrer]:
    """Fields that refer to that entity and are retired, or of an entity that is: their values stay,
    so that nothing may be deleted that they belong to."""
    model = catalogue.customer
    found: list[Referrer] = []
    for custom in model.fields:
        owner = model.entity(custom.entity)
        if not (custom.retired or (owner is not None and owner.retired)):
            continue
        entity = catalogue.entities.get(custom.entity) or (entity_of(owner) if owner else None)
        if entity is not None:
            found += [Referrer(entity, one) for one in fields_of(custom) if one.target == target]
    return found


def refuse_undeletable(entity: Entity) -> None:
    """Refuse (405) records that commands make: they are documents, corrected by new ones."""
    if entity.created_by_command:
        noun = entity.plural.replace("_", " ")
        message = f"{noun} are made by commands and are never deleted"
        raise Refused(Problem("made_by_command", message), status=405)


def find_references(
    queries: Queries,
    catalogue: Catalogue,
    seen: Catalogue,
    doomed: Doomed,
    asked: Sequence[int],
) -> list[Problem]:
    """What still refers to the doomed records from outside of them; one query.

    The records that refer are named to who sees the whole catalogue; to others, whose catalogue is
    ``seen``, only that there are some.

    ``asked`` are the ids of the first entity in the order they were asked for.
    """
    gone: dict[str, list[int]] = {}
    for entity, rows in doomed:
        gone.setdefault(entity.name, []).extend(row["id"] for row in rows)
    parts: list[str] = []
    used: set[str] = set()
    places: list[tuple[Entity, Referrer]] = []
    for entity in {entity.name: entity for entity, rows in doomed if rows}.values():
        hidden = hidden_referrers(catalogue, entity.name)
        for referrer in (*referrers(catalogue, entity.name), *hidden):
            if referrer.lets_go:
                continue
            parts.append(_references(len(parts), entity.name, referrer))
            places.append((entity, referrer))
            used |= {entity.name, referrer.entity.name}
    if not parts:
        return []
    parameters = {f"gone_{name}": gone.get(name, []) for name in used}
    found = queries.query(" UNION ALL ".join(parts) + " ORDER BY 1, 2", **parameters)
    shown = {(entity.name, row["id"]): record_name(row) for entity, rows in doomed for row in rows}
    order = {record_id: place for place, record_id in enumerate(asked, start=1)}
    problems = []
    for row in found:
        entity, referrer = places[row["place"]]
        owner = shown[entity.name, row["target_id"]]
        line = order.get(row["target_id"]) if entity is doomed[0][0] and len(asked) > 1 else None
        if seen is catalogue:
            problems.append(_still_referenced(entity, owner, referrer, row, line))
        else:
            problems.append(_somehow_referenced(entity, line))
    return problems


def forget_details(catalogue: Catalogue, doomed: Doomed) -> None:
    """Empty references, where the records may be without them, to what is deleted before: an owner
    is put back before its details, and could not point to them."""
    for place, (entity, rows) in enumerate(doomed):
        gone = {row["id"] for row in rows}
        for referrer in referrers(catalogue, entity.name):
            for owner, owners in doomed[:place]:
                if referrer.lets_go and owner.name == referrer.entity.name != entity.name:
                    for row in owners:
                        if row[referrer.field.name] in gone:
                            row[referrer.field.name] = None


def _references(place: int, target: str, referrer: Referrer) -> str:
    table, field = referrer.entity.name, referrer.field.name
    names = [f'"{one}"' for one in ("external_id", "name") if referrer.entity.field(one)]
    name = f"coalesce({', '.join([*names, 'CAST(id AS text)'])})"
    return (
        f'SELECT {place} AS place, "{field}" AS target_id, count(*) AS count,'
        f" (array_agg({name} ORDER BY id))[1:{MOST_NAMES}] AS names"
        f' FROM "{table}" WHERE "{field}" = ANY(:gone_{target}) AND id <> ALL(:gone_{table})'
        f' GROUP BY "{field}"'
    )


def _still_referenced(
    entity: Entity, owner: str, referrer: Referrer, found: Record, line: int | None
) -> Problem:
    count = cast("int", found["count"])
    noun = referrer.entity.name if count == 1 else referrer.entity.plural
    names = ", ".join(cast("list[str]", found["names"])) + (", …" if count > MOST_NAMES else "")
    message = (
        f"{entity.name.replace('_', ' ')} {owner} is still referred to by {count}"
        f" {noun.replace('_', ' ')} ({names}) in {referrer.field.name}"
    )
    return Problem("still_referenced", message, "id", line=line)


def _somehow_referenced(entity: Entity, line: int | None) -> Problem:
    message = f"this {entity.name.replace('_', ' ')} is still referred to by other records"
    return Problem("still_referenced", message, "id", line=line)


def record_name(record: Record) -> str:
    """The name by which people know a record: its external id, or its id."""
    return str(record.get("external_id") or record["id"])


def deleted_fields(entity: Entity, record: Record) -> dict[str, list[object]]:
    """What the history keeps of a deleted record: every value it had, and when it was made."""
    fields: dict[str, list[object]] = {"created_at": [record["created_at"], None]}
    for field in entity.stored:
        if record[field.name] is not None:
            fields[field.name] = [record[field.name], None]
    return fields


LAST_CHANGES = (
    "SELECT DISTINCT ON (record_id) record_id, action, row_version, at, changes"
    " FROM record_change WHERE entity = :entity AND record_id = ANY(:ids)"
    " ORDER BY record_id, id DESC"
)
"""The last change of each record."""


def deleted_with(referrer: Referrer) -> str:
    """The ids of details that were deleted together with their owners."""
    return (
        "SELECT DISTINCT record_id FROM record_change"
        f" WHERE entity = '{referrer.entity.name}' AND action = 'delete' AND at = ANY(:moments)"
        f" AND CAST(changes -> '{referrer.field.name}' ->> 0 AS bigint) = ANY(:owners)"
    )


def restored_rows(
    entity: Entity, changes: Sequence[Record], *, now: datetime
) -> tuple[list[Record], list[Problem]]:
    """The full rows of deleted records from their last changes, and all problems."""
    checker = RecordChecker(entity, by_command=True)
    known = {field.name for field in entity.stored}
    optional: Record = {field.name: None for field in entity.stored if not field.required}
    rows: list[Record] = []
    problems: list[Problem] = []
    for place, change in enumerate(changes, start=1):
        line = place if len(changes) > 1 else None
        kept = {name: pair[0] for name, pair in change["changes"].items()}
        values = optional | {name: value for name, value in kept.items() if name in known}
        clean, wrong = checker.check(values, line=line)
        problems += wrong
        problems += _lost_secrets(entity, kept, line)
        rows.append(
            {
                "id": change["record_id"],
                "created_at": read_value(CREATED_AT, kept["created_at"]),
                "updated_at": now,
                "row_version": change["row_version"] + 1,
                **clean,
            }
        )
    return rows, problems


def _lost_secrets(entity: Entity, kept: Record, line: int | None) -> list[Problem]:
    message = "was a secret, which no history keeps: create the record anew"
    return [
        Problem("secret_lost", message, field.name, line=line)
        for field in entity.fields
        if field.secret and field.name in kept
    ]


def not_deleted(entity: Entity, ids: Sequence[int]) -> Refused:
    """The refusal (404) to put back what was never deleted."""
    noun = entity.label or entity.name.replace("_", " ")
    problems = [
        Problem("not_deleted", f"there is no deleted {noun} {record_id}", "id") for record_id in ids
    ]
    return Refused(problems, status=404)
