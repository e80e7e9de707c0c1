"""The catalogue: all entities of an organisation as one immutable value."""

from collections.abc import Iterable
from dataclasses import dataclass

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata.entity import Entity, FieldType


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Entities by name, in the order of declaration (targets of references come first).

    A catalogue equals only itself, so that what follows from it can be kept for it.
    """

    entities: dict[str, Entity]

    def entity(self, name: str) -> Entity:
        """The entity of that name; refuses (404) an unknown one."""
        try:
            return self.entities[name]
        except KeyError:
            problem = Problem(
                "unknown_entity", f"there is no entity {name!r}", allowed=tuple(self.entities)
            )
            raise Refused(problem, status=404) from None

    def by_plural(self, plural: str) -> Entity:
        """The entity with that plural name, as it stands in a REST path; refuses (404) others."""
        for entity in self.entities.values():
            if entity.plural == plural:
                return entity
        plurals = tuple(entity.plural for entity in self.entities.values())
        raise Refused(
            Problem("unknown_entity", f"there is no entity {plural!r}", allowed=plurals), status=404
        )


def build_catalogue(declared: Iterable[Entity]) -> Catalogue:
    """Merge the declarations of all rooms; refuses double names and references to nowhere.

    What customers add at run time (``x_`` fields and entities) will be merged here as well.
    """
    entities: dict[str, Entity] = {}
    problems: list[Problem] = []
    for entity in declared:
        if entity.name in entities:
            problems.append(Problem("double_entity", f"{entity.name} is declared twice"))
        entities[entity.name] = entity
        for field in entity.fields:
            if field.type is FieldType.REFERENCE and field.target not in entities:
                problems.append(
                    Problem("unknown_target", f"refers to {field.target!r}", field.name)
                )
            if field.type is FieldType.CHOICE and not field.choices:
                problems.append(Problem("no_choices", "has no choices", field.name))
            if field.name.startswith("x_"):
                problems.append(Problem("reserved_name", "x_ belongs to the customer", field.name))
    if problems:
        raise Refused(problems)
    return Catalogue(entities)
