"""Every declared entity over HTTP: created, read, listed and changed, from its declaration."""

from decimal import Decimal

import httpx
import pytest

from counterfoil.bootstrap import CATALOGUE
from counterfoil.interfaces.rest.app import ENDPOINTS
from counterfoil.platform.metadata import Entity, Field, FieldType

WRITABLE = [entity for entity in CATALOGUE.entities.values() if not entity.created_by_command]
BY_COMMAND = [entity for entity in CATALOGUE.entities.values() if entity.created_by_command]

BY_NAME: dict[str, object] = {
    "country": "DE",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "p_code": "DE-10115",
    "email": "billing@acme.example",
    "brand_color": "#1f4e79",
    "logo_svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "up_to": "1000",
    "valid_to": "2027-01-01",
    "end_date": "2027-01-01",
    "expiry_date": "2027-01-01",
    "invoice_template": "standard",
}
BY_TYPE: dict[FieldType, object] = {
    FieldType.INTEGER: 1,
    FieldType.DECIMAL: "0.25",
    FieldType.BOOLEAN: True,
    FieldType.DATE: "2026-02-01",
    FieldType.INSTANT: "2026-02-01T12:30:00Z",
    FieldType.DOCUMENT: {},
}
ABSENT = {
    # They belong to a unique count and to a percentile; the meter made here is a sum.
    "meter": {"property", "percentile"},
    # A list price has no owner, and only a package price a package.
    "price": {
        "subscription_external_id",
        "contract_external_id",
        "package_size",
        "event_amount_minimum",
        "event_amount_maximum",
        "condition",
        "formula",
    },
    # What follows describes usage charges; the one made here is charged once.
    "charge": {"event_minimum", "event_increment", "condition", "quantity_formula", "group_by"},
    # A percentage has no amount, and a coupon is not for everyone.
    "discount": {"amount", "code", "condition", "percent_formula"},
    "discount_target": {"minimum_quantity", "minimum_amount", "subscription_external_id"},
    # The one made here is a checklist's.
    "provisioning_step": {"url", "secret", "days"},
    # Unique, and the one address of these tests is given to contacts already.
    "access_user": {"email"},
}
BESIDE = {
    "discount_target": {"product_id"},
    "entitlement_target": {"product_id"},
    "provisioning_step": {"product_id"},
}
"""References that are not required by the declaration, but one of several is by the rules."""
CHOSEN: dict[str, dict[str, object]] = {
    "collector": {"definition": {"format": "cloudevents"}},
    "webhook": {
        "url": "https://crm.acme.example/hooks",
        "event_types": ["*"],
        "secret": "whsec_bW9yZSB0aGFuIHR3ZW50eS1mb3VyIHJhbmRvbSBieXRlcw==",
    },
    "price_cell": {
        "conditions": {"region": ["eu"]},
        "days": "mon,tue",
        "from_time": "08:00",
        "to_time": "18:00",
    },
    "mail_rule": {"event_types": ["invoice.finalized"]},
    "job_schedule": {"kind": "clean_up", "at": "30 2 * * *"},
    "access_role": {"commands": ["run_bills"]},
    "access_grant": {
        "entity": "contact",
        "row_filter": [{"field": "account_id.name", "op": "contains", "value": "Acme"}],
    },
    "field_rule": {"entity": "contact", "field": "email"},
}
"""Values that the rules of a room ask for beyond the declaration."""


def path_of(entity: Entity) -> str:
    return "/" + entity.plural.replace("_", "-")


def valid_value(api: httpx.Client, entity: Entity, field: Field, suffix: str) -> object:
    if field.name in CHOSEN.get(entity.name, {}):
        return CHOSEN[entity.name][field.name]
    if field.type is FieldType.REFERENCE:
        return create(api, CATALOGUE.entity(field.target), suffix)["id"]
    if field.type is FieldType.CHOICE:
        return field.default or field.choices[0]
    if field.type is FieldType.TEXT:
        text = str(field.default or f"{field.name} {suffix}")
        return BY_NAME.get(field.name, text[: field.max_length])
    if field.name in BY_NAME:
        return BY_NAME[field.name]
    return BY_TYPE[field.type] if field.default is None else str_if_decimal(field)


def str_if_decimal(field: Field) -> object:
    return str(field.default) if field.type is FieldType.DECIMAL else field.default


def valid_record(api: httpx.Client, entity: Entity, suffix: str) -> dict[str, object]:
    """All fields of the entity that a request may set, but references that are not required."""
    return {
        field.name: valid_value(api, entity, field, suffix)
        for field in entity.fields
        if not field.computed
        and field.name not in ABSENT.get(entity.name, set())
        and (
            field.required
            or field.type is not FieldType.REFERENCE
            or field.name in BESIDE.get(entity.name, set())
        )
    }


def create(api: httpx.Client, entity: Entity, suffix: str) -> dict[str, object]:
    if entity.name == "subscription":
        return activate(api, suffix)
    values = valid_record(api, entity, f"of {entity.name} {suffix}")
    if entity.name == "charge" and suffix.endswith("price_cell"):
        # Cells are asked of usage; every other charge made here is charged once.
        meter = create(api, CATALOGUE.entity("meter"), suffix)
        values |= {"kind": "usage", "meter_id": meter["id"]}
    response = api.post(path_of(entity), json=values)
    assert response.status_code == 201, response.text
    return dict(response.json())


def activate(api: httpx.Client, suffix: str) -> dict[str, object]:
    """A subscription, which only the command makes."""
    row = {
        "external_id": f"subscription {suffix}",
        "account": create(api, CATALOGUE.entity("account"), suffix)["external_id"],
        "rate_plan": create(api, CATALOGUE.entity("rate_plan"), suffix)["external_id"],
        "start_date": "2026-01-01",
    }
    response = api.post("/subscriptions/activate", json=row)
    assert response.status_code == 201, response.text
    return {"id": response.json()["ids"][0]}


def same(sent: object, answered: object) -> bool:
    if isinstance(sent, str) and isinstance(answered, str) and sent != answered:
        return Decimal(sent) == Decimal(answered)
    return sent == answered


@pytest.mark.parametrize("entity", WRITABLE, ids=lambda entity: entity.name)
def test_a_record_is_created_read_listed_and_changed(api: httpx.Client, entity: Entity) -> None:
    values = valid_record(api, entity, entity.name)
    created = api.post(path_of(entity), json=values)
    assert created.status_code == 201, created.text
    record = created.json()
    assert record["row_version"] == 1
    assert record["created_at"].endswith("Z")
    shown = values.keys() - {field.name for field in entity.fields if field.secret}
    assert {name: record[name] for name in shown if not same(values[name], record[name])} == {}
    assert record.keys() == {field.name for field in entity.readable}
    assert created.headers["location"] == f"/api/v1{path_of(entity)}/{record['id']}"

    read = api.get(f"{path_of(entity)}/{record['id']}")
    assert (read.status_code, read.json()) == (200, record)
    assert read.headers["etag"] == '"1"'
    assert api.get(path_of(entity), params={"id": record["id"]}).json()["records"] == [record]

    changeable = [field.name for field in entity.fields if not (field.immutable or field.computed)]
    changes = {name: values[name] for name in changeable if name in values}
    changed = api.patch(f"{path_of(entity)}/{record['id']}", json=changes)
    assert changed.status_code == 200, changed.text
    assert changed.json() == record, "the same values are no change"


@pytest.mark.parametrize("entity", WRITABLE, ids=lambda entity: entity.name)
def test_an_unknown_field_is_refused_with_the_ones_there_are(
    api: httpx.Client, entity: Entity
) -> None:
    refused = api.post(path_of(entity), json={"colour": "green"})
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    error = next(one for one in refused.json()["errors"] if one["field"] == "colour")
    assert error["code"] == "unknown_field"
    assert error["allowed"] == [field.name for field in entity.fields if not field.computed]


COMMAND_PATHS = {endpoint.path for endpoint in ENDPOINTS if endpoint.method == "POST"}
MADE_BY_REST = {name for endpoint in ENDPOINTS for name in endpoint.makes}
MADE_ELSEWHERE = {"extract", "extract_batch", "merged_account"} - MADE_BY_REST
"""What no command of REST makes, but one of the BillingPlatform dialect or a command line."""


@pytest.mark.parametrize("entity", BY_COMMAND, ids=lambda entity: entity.name)
def test_what_a_command_makes_can_be_read_but_not_written(
    api: httpx.Client, entity: Entity
) -> None:
    assert api.get(path_of(entity)).status_code == 200
    tried = [api.patch(path_of(entity) + "/1", json={})]
    # With hyphens, bill-runs is also where its command is; payments always is.
    if f"/{entity.plural}" not in COMMAND_PATHS:
        tried.append(api.post(f"/{entity.plural}", json={}))
    for refused in tried:
        assert refused.status_code == 405
        assert refused.headers["allow"] == "GET, HEAD"
        told = "made by a command" if entity.name in MADE_ELSEWHERE else "POST /api/v1/"
        assert told in refused.json()["detail"]


def test_collections_are_also_found_by_their_names_with_underscores(api: httpx.Client) -> None:
    assert api.get("/billing_profiles").json() == api.get("/billing-profiles").json()
