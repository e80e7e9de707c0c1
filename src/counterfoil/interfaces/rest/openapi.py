"""The OpenAPI 3.1 description, made from the catalogue and the endpoints; pure."""

import re
from collections.abc import Iterable

from counterfoil import __version__
from counterfoil.interfaces.rest.entity_paths import (
    SHARED_SCHEMAS,
    entity_paths,
    entity_schemas,
)
from counterfoil.interfaces.rest.exchange import API, PROBLEM_JSON, Endpoint, Parameter
from counterfoil.interfaces.rest.operations import IDEMPOTENCY_KEY, answer, operation, ref
from counterfoil.interfaces.rest.schemas import Schema
from counterfoil.platform.metadata import FULL_ACCESS, Access, Catalogue
from counterfoil.platform.metadata.access import OPERATIONS

ABOUT = f"""Order-to-cash in which every amount can explain itself.

Every declared entity is a collection below `{API}`. Lists take filters (`field=value`,
`field__gte=…` with ne, lt, lte, gt, gte, in, contains, is_null), `sort=-name,id`, `limit`,
`cursor`, `fields` and `include` of related records; `POST …/query` takes conditions of any shape
and aggregates, `POST …/bulk` writes up to 10,000 records. Decimals are text, exact to the last
digit; instants are RFC 3339 in UTC. Errors are problem documents (RFC 9457). Every change takes an
`Idempotency-Key`: the same request sent again is answered as before and changes nothing."""

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


def describe_api(
    catalogue: Catalogue, endpoints: Iterable[Endpoint], access: Access = FULL_ACCESS
) -> Schema:
    """The OpenAPI document of every entity and endpoint, as far as the access goes.

    ``catalogue`` is what the caller sees.
    """
    paths: dict[str, dict[str, object]] = {}
    schemas: dict[str, object] = {"Problem": PROBLEM_SCHEMA, **SHARED_SCHEMAS}
    for entity in catalogue.entities.values():
        allowed = frozenset(one for one in OPERATIONS if access.may(entity.name, one))
        paths |= entity_paths(entity, allowed)
        schemas |= entity_schemas(entity)
    for endpoint in endpoints:
        if endpoint.audience == "granted" and not access.may_run(endpoint.command):
            continue
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
