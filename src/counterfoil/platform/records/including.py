"""Related records inside a record: what it refers to, and what refers to it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, BigInteger, FromClause, Select, any_, func, literal, select

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Catalogue, Entity, FieldType, Record
from counterfoil.platform.records.paths import LONGEST_PATH, reference_named

MOST_PARTS = 20
MOST_OF_ONE = 100
"""Records referring to one record that are put into it, first ones first."""

MOST_INCLUDED = 50_000
"""Related records in an answer. One that is put into many records counts as often."""


@dataclass(frozen=True, slots=True)
class Relation:
    """From records to related ones: ``field`` is the reference, in the records or (``many``) in the
    related ones; ``name`` is where they stand in a record."""

    name: str
    entity: Entity
    field: str
    many: bool

    @property
    def own_field(self) -> str:
        """The field of the records that says which related ones are theirs."""
        return "id" if self.many else self.field

    def statement(self, rows: FromClause, owners: Iterable[object]) -> Select[Any]:
        """The related records of all owners; of many at most MOST_OF_ONE each, by id."""
        columns = [rows.c[field.name] for field in self.entity.readable]
        wanted = any_(literal(list(owners), ARRAY(BigInteger())))
        if not self.many:
            return select(*columns).where(rows.c.id == wanted).limit(MOST_INCLUDED + 1)
        place = func.row_number().over(partition_by=rows.c[self.field], order_by=rows.c.id)
        found = select(*columns, place.label("place_")).where(rows.c[self.field] == wanted)
        numbered = found.subquery()
        return (
            select(*(column for column in numbered.c if column.name != "place_"))
            .where(numbered.c.place_ <= MOST_OF_ONE)
            .order_by(numbered.c.id)
            .limit(MOST_INCLUDED + 1)
        )

    def attach(
        self, records: Sequence[Record], related: Sequence[Record], sizes: Sequence[int]
    ) -> list[int]:
        """Put the related records into those they belong to: a list, or one or None.

        ``sizes`` tells how many records each related one is, with those put into it; answered is
        how many each record has got.
        """
        owned: dict[object, list[Record]] = {}
        counts: dict[object, int] = {}
        for row, size in zip(related, sizes, strict=True):
            owner = row[self.field if self.many else "id"]
            owned.setdefault(owner, []).append(row)
            counts[owner] = counts.get(owner, 0) + size
        for record in records:
            found = owned.get(record[self.own_field], [])
            record[self.name] = found if self.many else next(iter(found), None)
        return [counts.get(record[self.own_field], 0) for record in records]


@dataclass(frozen=True, slots=True)
class Included:
    """One part of an include and the parts below it."""

    relation: Relation
    parts: tuple["Included", ...]


def include_tree(catalogue: Catalogue, entity: Entity, paths: Sequence[str]) -> list[Included]:
    """The parts of an include as a tree, each once; refuses (422) relations that are not there."""
    if len(paths) > MOST_PARTS:
        raise Refused(Problem("too_many_parts", f"at most {MOST_PARTS} at once", "include"))
    below: dict[str, list[str]] = {}
    for path in paths:
        if path.count(".") >= LONGEST_PATH:
            message = f"{path} leads through more than {LONGEST_PATH} references"
            raise Refused(Problem("path_too_long", message, "include"))
        first, _, rest = path.partition(".")
        below.setdefault(first, []).extend([rest] if rest else [])
    return [
        Included(relation, tuple(include_tree(catalogue, relation.entity, rest)))
        for relation, rest in (
            (_relation(catalogue, entity, one), rest) for one, rest in below.items()
        )
    ]


def refuse_too_many(count: int) -> None:
    """Refuse (422) more related records than fit into an answer."""
    if count > MOST_INCLUDED:
        message = f"brings more than {MOST_INCLUDED:,} related records; ask for a shorter page"
        raise Refused(Problem("too_many_records", message, "include"))


def relations(catalogue: Catalogue, entity: Entity) -> list[Relation]:
    """Every relation of an entity in that catalogue, by the names that an include gives them."""
    found: list[Relation] = []
    for field in entity.readable:
        if field.type is FieldType.REFERENCE and field.target in catalogue.entities:
            target = catalogue.entities[field.target]
            found.append(Relation(field.name.removesuffix("_id"), target, field.name, many=False))
    for other in catalogue.entities.values():
        to_us = [
            field.name
            for field in other.readable
            if field.type is FieldType.REFERENCE and field.target == entity.name
        ]
        for name in to_us:
            own = other.plural if len(to_us) == 1 else f"{other.plural}@{name}"
            found.append(Relation(own, other, name, many=True))
    return found


def _relation(catalogue: Catalogue, entity: Entity, name: str) -> Relation:
    known = relations(catalogue, entity)
    reference = reference_named(entity, name)
    for relation in known:
        if relation.name == name or (
            reference and relation.field == reference.name and not relation.many
        ):
            return relation
    message = f"{entity.name} has no related records {name!r}"
    allowed = tuple(relation.name for relation in known)
    raise Refused(Problem("unknown_relation", message, "include", allowed=allowed))
