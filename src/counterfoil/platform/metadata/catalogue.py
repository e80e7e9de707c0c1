"""The catalogue: all entities of an organisation as one immutable value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata.customer import (
    CustomerModel,
    CustomField,
    entity_of,
    fields_of,
)
from counterfoil.platform.metadata.customer_checks import find_entity_problems, find_field_problems
from counterfoil.platform.metadata.entity import CUSTOM, Entity, Field, FieldType
from counterfoil.platform.metadata.formula_fields import computed_field
from counterfoil.platform.metadata.job_kinds import JobKind, unknown_kind
from counterfoil.platform.metadata.rules import MOST_RULES, Rule, RuleCheck


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Entities by name, in the order of declaration (targets of references come first).

    ``declared`` is the system's part, ``customer`` what was added to it in this ``version``;
    ``rules`` are its rules by entity, ``problems`` tell which of that was left out and why.
    ``job_kinds`` are the kinds of jobs by name. A catalogue equals only itself, so that what
    follows from it can be kept for it.
    """

    entities: dict[str, Entity]
    declared: tuple[Entity, ...] = ()
    customer: CustomerModel = dataclass_field(default_factory=CustomerModel)
    version: int = 0
    rules: Mapping[str, tuple[Rule, ...]] = dataclass_field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    job_kinds: Mapping[str, JobKind] = dataclass_field(default_factory=dict)

    def job_kind(self, name: str) -> JobKind:
        """The kind of jobs of that name; refuses (422) an unknown one, naming those there are."""
        if name not in self.job_kinds:
            raise Refused(unknown_kind(name, tuple(self.job_kinds)))
        return self.job_kinds[name]

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


def build_catalogue(
    declared: Iterable[Entity],
    customer: CustomerModel | None = None,
    version: int = 0,
    job_kinds: Iterable[JobKind] = (),
) -> Catalogue:
    """Merge the declarations of all rooms with what the customer has added.

    Refuses double names and references to nowhere in the declarations. What is wrong with the
    customer's part is left out and stands in the problems of the catalogue: an organisation with
    one bad field is still served.
    """
    system = tuple(declared)
    entities = _declared(system)
    model = customer or CustomerModel()
    problems: list[Problem] = []
    wrong: set[str] = set()
    for faulty, problem in find_entity_problems(model, entities):
        problems.append(problem)
        wrong.add(faulty.name)
    for custom in model.entities:
        if not custom.retired and custom.name not in wrong:
            entities[custom.name] = entity_of(custom)
    _add_fields(entities, model, problems)
    kinds = {kind.name: kind for kind in job_kinds}
    rules = _rules(RuleCheck(entities, kinds), model, problems)
    return Catalogue(entities, system, model, version, rules, tuple(problems), kinds)


def _rules(
    check: RuleCheck, model: CustomerModel, problems: list[Problem]
) -> dict[str, tuple[Rule, ...]]:
    """The rules that are right, by entity, in the order in which they were added."""
    found: dict[str, list[Rule]] = {}
    for stated in model.rules:
        rule = None if stated.retired else check.check(stated)
        if rule is not None:
            found.setdefault(stated.entity, []).append(rule)
    for name, rules in found.items():
        if len(rules) > MOST_RULES:
            message = f"{name} has {len(rules)} rules; {MOST_RULES} are possible"
            problems.append(Problem("too_many_rules", message, "rules"))
    problems += check.problems
    return {name: tuple(rules) for name, rules in found.items()}


def _declared(system: Iterable[Entity]) -> dict[str, Entity]:
    entities: dict[str, Entity] = {}
    problems: list[Problem] = []
    for entity in system:
        if entity.name in entities:
            problems.append(Problem("double_entity", f"{entity.name} is declared twice"))
        entities[entity.name] = entity
        names = (entity.name, entity.plural, *(field.name for field in entity.fields))
        problems += [
            Problem("reserved_name", "x_ belongs to the customer", name)
            for name in names
            if name.startswith(CUSTOM)
        ]
        for field in entity.fields:
            if field.type is FieldType.REFERENCE and field.target not in entities:
                problems.append(
                    Problem("unknown_target", f"refers to {field.target!r}", field.name)
                )
            if field.type is FieldType.CHOICE and not field.choices:
                problems.append(Problem("no_choices", "has no choices", field.name))
    if problems:
        raise Refused(problems)
    return entities


def _add_fields(entities: dict[str, Entity], model: CustomerModel, problems: list[Problem]) -> None:
    """Put the customer's fields into the entities; formulas last, for they read the others."""
    wrong: set[tuple[str, str]] = set()
    for faulty, problem in find_field_problems(model, entities):
        problems.append(problem)
        wrong.add((faulty.entity, faulty.name))
    right = [
        custom
        for custom in model.fields
        if not custom.retired
        and custom.entity in entities
        and (custom.entity, custom.name) not in wrong
    ]
    added: dict[str, list[Field]] = {}
    for custom in right:
        if not custom.formula:
            added.setdefault(custom.entity, []).extend(fields_of(custom))
    for name, fields in added.items():
        entities[name] = replace(entities[name], fields=(*entities[name].fields, *fields))
    _add_formulas(entities, [custom for custom in right if custom.formula], problems)


def _add_formulas(
    entities: dict[str, Entity], formulas: list[CustomField], problems: list[Problem]
) -> None:
    """Formulas read what is stored: so their order does not matter, and there is no circle."""
    added: dict[str, list[Field]] = {}
    for custom in formulas:
        (declared,) = fields_of(custom)
        field, found = computed_field(declared, entities[custom.entity], entities)
        problems += found
        if field is not None:
            added.setdefault(custom.entity, []).append(field)
    for name, fields in added.items():
        entities[name] = replace(entities[name], fields=(*entities[name].fields, *fields))
