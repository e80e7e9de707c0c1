"""The OpenAPI description is valid and says what the server does."""

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from counterfoil.bootstrap import CATALOGUE
from counterfoil.interfaces.rest.app import ENDPOINTS
from counterfoil.interfaces.rest.openapi import describe_api
from counterfoil.interfaces.rest.schemas import create_schema, field_schema
from counterfoil.platform.metadata.access import (
    EVERY_ROW,
    Access,
    EntityAccess,
    seen_catalogue,
)

DOCUMENT = describe_api(CATALOGUE, ENDPOINTS)


def test_the_description_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_operations_have_names_of_their_own() -> None:
    names = [
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
    ]
    assert len(names) == len(set(names))


def test_the_server_answers_with_it(api: httpx.Client) -> None:
    assert api.get("/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("entity", CATALOGUE.entities.values(), ids=lambda entity: entity.name)
def test_every_entity_has_its_paths(entity) -> None:  # type: ignore[no-untyped-def]
    path = DOCUMENT["paths"][f"/api/v1/{entity.plural.replace('_', '-')}"]
    assert "get" in path
    create = path.get("post", {}).get("operationId") == f"create_{entity.name}"
    assert create == (not entity.created_by_command)


@pytest.mark.parametrize("entity", CATALOGUE.entities.values(), ids=lambda entity: entity.name)
def test_examples_fit_their_schemas(entity) -> None:  # type: ignore[no-untyped-def]
    schemas = [create_schema(entity), *(field_schema(f, writing=True) for f in entity.fields)]
    for schema in schemas:
        for example in schema["examples"]:
            Draft202012Validator(schema).validate(example)


def test_a_role_is_told_only_what_it_may_do() -> None:
    reader = EntityAccess(rows={"read": EVERY_ROW}, unreadable=frozenset({"name"}))
    writer = EntityAccess(rows=dict.fromkeys(("read", "create"), EVERY_ROW))
    access = Access(entities={"account": reader, "site": writer})
    document = describe_api(seen_catalogue(access, CATALOGUE), ENDPOINTS, access)
    OpenAPIV31SpecValidator(document).validate()
    paths = document["paths"]
    assert "/api/v1/contacts" not in paths
    assert "/api/v1/accounts/bulk" not in paths
    assert "/api/v1/bill-runs" not in paths or "post" not in paths["/api/v1/bill-runs"]
    assert set(paths["/api/v1/accounts"]) == {"get"}
    assert set(paths["/api/v1/accounts/{id}"]) == {"get"}
    assert set(paths["/api/v1/sites"]) == {"get", "post"}
    assert set(paths["/api/v1/sites/{id}"]) == {"get"}
    assert "name" not in document["components"]["schemas"]["Account"]["properties"]
