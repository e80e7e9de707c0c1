"""What there is, for programs: entities, their fields, and what the caller may do with them."""

from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.exchange import API, JSON, Answer, Call, Endpoint
from counterfoil.interfaces.rest.idempotency import reading
from counterfoil.interfaces.rest.schemas import collection_name, default_value
from counterfoil.platform.metadata import Entity, Field, FieldType
from counterfoil.platform.metadata.access import OPERATIONS
from counterfoil.platform.records.including import relations
from counterfoil.platform.records.unit_of_work import UnitOfWork


def describe_all(uow: UnitOfWork, _call: Call) -> Answer:
    """Every entity that the caller sees, without its fields."""
    entities = [described_entity(uow, entity) for entity in uow.catalogue.entities.values()]
    return json_answer({"entities": entities})


def describe_one(uow: UnitOfWork, call: Call) -> Answer:
    """One entity with its fields and the related records that can be included."""
    name = call.variables["entity"].replace("-", "_")
    entity = uow.catalogue.entities.get(name) or uow.catalogue.by_plural(name)
    related = [
        {"name": one.name, "entity": one.entity.name, "field": one.field, "many": one.many}
        for one in relations(uow.catalogue, entity)
    ]
    fields = [described_field(entity, field) for field in entity.readable]
    secrets = [described_field(entity, field) for field in entity.fields if field.secret]
    described = described_entity(uow, entity)
    return json_answer({**described, "fields": fields + secrets, "related": related})


def described_entity(uow: UnitOfWork, entity: Entity) -> dict[str, object]:
    """What an entity is, where it is, and what the caller may do."""
    allowed = [one for one in OPERATIONS if may(uow, entity, one)]
    return {
        "entity": entity.name,
        "label": entity.label or entity.name.replace("_", " "),
        "help": entity.help,
        "path": f"{API}/{collection_name(entity)}",
        "custom": entity.custom,
        "operations": allowed,
    }


def may(uow: UnitOfWork, entity: Entity, operation: str) -> bool:
    """Whether the caller may do this with some records; what commands make is only read."""
    granted = any(one == operation and uow.access.may(entity.name, one) for one in OPERATIONS)
    if operation == "update":
        return granted and bool(entity.changeable)
    return granted and (operation == "read" or not entity.created_by_command)


def described_field(entity: Entity, field: Field) -> dict[str, object]:
    """One field; what is not so is left out."""
    described: dict[str, object] = {
        "name": field.name,
        "type": field.type.value,
        "label": field.label or field.name.replace("_", " "),
        "required": field.required,
        "writable": not field.computed,
        "changeable": field in entity.changeable,
    }
    optional: dict[str, object] = {
        "help": field.help,
        "unique": field.unique,
        "secret": field.secret,
        "choices": list(field.choices),
        "target": field.target,
        "formula": field.formula,
        "currency_field": field.currency_field,
        "max_length": field.max_length if field.type is FieldType.TEXT else None,
        "precision": field.precision if field.type is FieldType.DECIMAL else None,
        "scale": field.scale if field.type is FieldType.DECIMAL else None,
    }
    described |= {name: value for name, value in optional.items() if value}
    bounds = {"minimum": field.minimum, "maximum": field.maximum}
    described |= {name: value for name, value in bounds.items() if value is not None}
    return described | ({} if field.default is None else {"default": default_value(field)})


ENTITY_SCHEMA = {
    "type": "object",
    "properties": {
        "entity": {"type": "string"},
        "label": {"type": "string"},
        "help": {"type": "string"},
        "path": {"type": "string"},
        "custom": {"type": "boolean"},
        "operations": {"type": "array", "items": {"enum": list(OPERATIONS)}},
        "fields": {"type": "array", "items": {"type": "object"}},
        "related": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["entity", "label", "path", "operations"],
}

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/describe",
        handler=reading(describe_all),
        summary="The kinds of records there are, and what you may do with them",
        answers={
            JSON: {
                "type": "object",
                "properties": {"entities": {"type": "array", "items": ENTITY_SCHEMA}},
                "required": ["entities"],
            }
        },
        audience="signed_in",
    ),
    Endpoint(
        method="GET",
        path="/describe/{entity}",
        handler=reading(describe_one),
        summary="One kind of record: fields, types, choices, related records",
        answers={JSON: ENTITY_SCHEMA},
        audience="signed_in",
    ),
)
