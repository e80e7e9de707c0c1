"""The OpenAPI 3.1 description, made from the catalogue and the endpoints; pure."""

import re
from collections.abc import Iterable, Mapping

from counterfoil import __version__
from counterfoil.interfaces.rest.exchange import API, JSON, PROBLEM_JSON, Endpoint, Parameter
from counterfoil.interfaces.rest.schemas import (
    Schema,
    collection_name,
    create_schema,
    page_schema,
    read_schema,
    schema_name,
    update_schema,
)
from counterfoil.platform.metadata import Catalogue, Entity, FieldType

BULK_LIMIT = 10_000
"""Most records in one POST."""

ABOUT = f"""Order-to-cash in which every amount can explain itself.

Every declared entity is a collection below `{API}`. Lists take filters (`field=value`,
`field__gte=…` with ne, lt, lte, gt, gte, in, contains, is_null), `sort=-name,id`, `limit` and
`cursor`. Decimals are text, exact to the last digit; instants are RFC 3339 in UTC. Errors are
problem documents (RFC 9457). Every POST and PATCH takes an `Idempotency-Key`: the same request
sent again is answered as before and changes nothing."""

PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "properties": {
        "type": {"type": "string", "examples": ["urn:counterfoil:problem:unknown_field"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "field": {"type": "string"},
                    "allowed": {"type": "array", "items": {"type": "string"}},
                    "file": {"type": "string"},
                    "line": {"type": "integer", "description": "From 1; of a bulk, the record."},
                },
                "required": ["code", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "instance", "errors"],
}

IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    help="Up to 200 characters of your choice. The same key with the same request is answered as "
    "the first time (Idempotency-Replayed: true); with another request it is refused (422).",
)
RECORD_ID = Parameter(name="id", place="path", required=True, kind="integer", help="The record.")
LIST_PARAMETERS = (
    Parameter(name="sort", help="Fields, comma-separated; a minus descends: -created_at,id."),
    Parameter(name="limit", kind="integer", help="Records per page, 1 to 1000; 50 by default."),
    Parameter(name="cursor", help="next_cursor of the page before."),
)


def describe_api(catalogue: Catalogue, endpoints: Iterable[Endpoint]) -> Schema:
    """The OpenAPI document of every entity of the catalogue and every endpoint."""
    paths: dict[str, dict[str, object]] = {}
    schemas: dict[str, object] = {"Problem": PROBLEM_SCHEMA}
    for entity in catalogue.entities.values():
        paths |= entity_paths(entity)
        schemas |= entity_schemas(entity)
    for endpoint in endpoints:
        operations = paths.setdefault(API + endpoint.path, {})
        operations[endpoint.method.lower()] = endpoint_operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Counterfoil",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
            "responses": {
                "Problem": answer("Refused; nothing was changed.", ref("Problem"), PROBLEM_JSON)
            },
        },
    }


def entity_schemas(entity: Entity) -> dict[str, object]:
    """The component schemas of one entity."""
    name = schema_name(entity)
    schemas: dict[str, object] = {name: read_schema(entity), f"{name}Page": page_schema(entity)}
    if not entity.created_by_command:
        schemas[f"{name}Create"] = create_schema(entity)
    if entity.changeable:
        schemas[f"{name}Update"] = update_schema(entity)
    return schemas


def entity_paths(entity: Entity) -> dict[str, dict[str, object]]:
    """The collection and the record path of one entity."""
    name, tag = schema_name(entity), collection_name(entity)
    record = answer("The record.", ref(name))
    record["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "row_version"}}
    collection: dict[str, object] = {
        "get": operation(
            tag,
            f"list_{entity.plural}",
            f"List {entity.plural.replace('_', ' ')}",
            (*filter_parameters(entity), *LIST_PARAMETERS),
            {"200": answer("One page.", ref(f"{name}Page"))},
            description=entity.help,
        )
    }
    if_none_match = Parameter(name="If-None-Match", place="header", help="An ETag seen before.")
    one: dict[str, object] = {
        "get": operation(
            tag,
            f"get_{entity.name}",
            f"Read one {words(entity)}",
            (RECORD_ID, if_none_match),
            {"200": record, "304": {"description": "Unchanged."}},
        )
    }
    if not entity.created_by_command:
        collection["post"] = create_operation(entity, record)
    if entity.changeable:
        if_match = Parameter(name="If-Match", place="header", help="Refused (412) when changed.")
        one["patch"] = operation(
            tag,
            f"update_{entity.name}",
            f"Change one {words(entity)}",
            (RECORD_ID, if_match, IDEMPOTENCY_KEY),
            {"200": record},
            body={JSON: {"schema": ref(f"{name}Update")}},
        )
        one["delete"] = operation(
            tag,
            f"delete_{entity.name}",
            f"Delete one {words(entity)}",
            (RECORD_ID, if_match, IDEMPOTENCY_KEY),
            {"204": {"description": "Deleted; the history keeps what it was."}},
            description="Refused (409) with the names of what still refers to it.",
        )
    path = f"{API}/{tag}"
    return {path: collection, f"{path}/{{id}}": one}


def create_operation(entity: Entity, record: Schema) -> Schema:
    """POST of one record, or of many at once."""
    create = ref(f"{schema_name(entity)}Create")
    many = {
        "type": "object",
        "description": "All or none of up to 10,000 records; answered with their ids, in order.",
        "properties": {"records": {"type": "array", "items": create, "maxItems": BULK_LIMIT}},
        "required": ["records"],
        "additionalProperties": False,
    }
    ids: Schema = {
        "type": "object",
        "properties": {
            "created": {"type": "integer"},
            "ids": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["created", "ids"],
    }
    created: Schema = {
        **record,
        "description": "Created: the record, or the ids of many.",
        "content": {JSON: {"schema": {"anyOf": [ref(schema_name(entity)), ids]}}},
    }
    return operation(
        collection_name(entity),
        f"create_{entity.name}",
        f"Create one {words(entity)} or many",
        (IDEMPOTENCY_KEY,),
        {"201": created},
        body={JSON: {"schema": {"anyOf": [create, many]}}},
    )


def endpoint_operation(endpoint: Endpoint) -> Schema:
    """The operation of a command or query endpoint."""
    bodies: dict[str, object] = {}
    for media_type, schema in endpoint.bodies.items():
        bodies[media_type] = {"schema": dict(schema)}
        if media_type in endpoint.examples:
            bodies[media_type] = {
                "schema": dict(schema),
                "example": endpoint.examples[media_type],
            }
    answers = {
        "description": "Done.",
        "content": {kind: {"schema": dict(schema)} for kind, schema in endpoint.answers.items()},
    }
    variables = [
        Parameter(name=name, place="path", required=True, help="Which one.")
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    idempotent = () if endpoint.method == "GET" else (IDEMPOTENCY_KEY,)
    name = re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path}").strip("_")
    return operation(
        endpoint.path.split("/")[1],
        name,
        endpoint.summary,
        (*variables, *endpoint.parameters, *idempotent),
        {str(endpoint.status): answers},
        body=bodies,
        description=endpoint.help,
    )


def operation(
    tag: str,
    name: str,
    summary: str,
    parameters: Iterable[Parameter],
    answers: Mapping[str, object],
    *,
    body: Mapping[str, object] | None = None,
    description: str = "",
) -> Schema:
    """One OpenAPI operation; every one may also answer with a problem."""
    described: Schema = {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "parameters": [parameter_schema(parameter) for parameter in parameters],
        "responses": {**answers, "default": {"$ref": "#/components/responses/Problem"}},
    }
    if description:
        described["description"] = description
    if body:
        described["requestBody"] = {"required": True, "content": dict(body)}
    return described


def filter_parameters(entity: Entity) -> tuple[Parameter, ...]:
    """One query parameter per field that a list can be filtered by."""
    kinds = {FieldType.INTEGER: "integer", FieldType.REFERENCE: "integer"}
    return tuple(
        Parameter(
            name=field.name,
            kind=kinds.get(field.type, "string"),
            help=f"Only records with this {field.name}; also {field.name}__gte and the like.",
        )
        for field in entity.readable
        if field.type is not FieldType.DOCUMENT
    )


def parameter_schema(parameter: Parameter) -> Schema:
    """A parameter in OpenAPI notation."""
    schema: Schema = {"type": parameter.kind}
    if parameter.format:
        schema["format"] = parameter.format
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.help,
        "schema": schema,
    }


def answer(description: str, schema: Schema, media_type: str = JSON) -> Schema:
    """A response with a body."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def ref(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def words(entity: Entity) -> str:
    """The entity as people call it."""
    return entity.label or entity.name.replace("_", " ")
