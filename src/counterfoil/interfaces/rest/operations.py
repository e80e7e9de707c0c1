"""One operation of the OpenAPI description, and what all of them have in common."""

from collections.abc import Iterable, Mapping

from counterfoil.interfaces.rest.exchange import JSON, Parameter
from counterfoil.interfaces.rest.schemas import Schema

IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    help="Up to 200 characters of your choice. The same key with the same request is answered as "
    "the first time (Idempotency-Replayed: true); with another request it is refused (422).",
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
