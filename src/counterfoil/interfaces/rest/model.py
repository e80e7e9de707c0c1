"""Change sets over HTTP: drafted, planned, applied, and the model exported for elsewhere."""

from typing import cast

from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import body_schema, command_body
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Desk, Endpoint
from counterfoil.interfaces.rest.idempotency import in_transaction, once, reading
from counterfoil.interfaces.rest.price_books import YAML, price_book_text
from counterfoil.interfaces.rest.records import record_id
from counterfoil.platform.metadata import Entity, Field
from counterfoil.platform.model.applying import (
    apply_change_set,
    apply_draft,
    draft_change_set,
    export_model,
    plan_change_set,
    retiring,
)
from counterfoil.platform.records.unit_of_work import UnitOfWork

EXAMPLE = """change_set: Regions and site surveys
entities:
  x_site_survey: {plural: x_site_surveys, label: Site survey}
fields:
  account:
    x_region: {kind: choice, choices: [emea, apac, amer], label: Region, on_invoice: true}
  x_site_survey:
    x_site: {kind: master_detail, target: site}
    x_score: {kind: number, minimum: 0, maximum: 100}
"""

RETIREMENT = Entity(
    name="retirement",
    plural="retirements",
    fields=(
        Field(name="entity", required=True, help="The entity, that of the field, or: rule."),
        Field(
            name="field",
            help="The custom field, or the rule's name; without it the custom entity is retired.",
        ),
    ),
)

PLAN_ANSWER = {
    JSON: {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "steps": {"type": "array", "items": {"type": "string"}},
            "sql": {"type": "array", "items": {"type": "string"}},
        },
    }
}
APPLIED_ANSWER = {
    JSON: {
        "type": "object",
        "properties": {
            "change_set_id": {"type": "integer"},
            "version": {"type": "integer"},
            "steps": {"type": "array", "items": {"type": "string"}},
        },
    }
}
CHANGE_SET_BODY = {YAML[0]: {"type": "string"}, JSON: {"type": "object"}}


def post_draft(uow: UnitOfWork, call: Call) -> Answer:
    """Keep the change set in the body as a draft."""
    made = draft_change_set(uow.unrestricted(), price_book_text(call))
    record = uow.get("change_set", made)
    return json_answer(record, 201)


def get_plan(uow: UnitOfWork, call: Call) -> Answer:
    """What a kept change set would do now."""
    kept = uow.get("change_set", record_id(call))
    return json_answer(plan_change_set(uow.unrestricted(), str(kept["content"])))


def post_plan(uow: UnitOfWork, call: Call) -> Answer:
    """What the change set in the body would do now; nothing is kept."""
    return json_answer(plan_change_set(uow.unrestricted(), price_book_text(call)))


def post_apply(desk: Desk, call: Call) -> Answer:
    """Apply the change set in the body."""
    return _applied(desk, price_book_text(call))


def post_apply_draft(desk: Desk, call: Call) -> Answer:
    """Apply a kept change set; one that was applied already is answered as then."""
    organisation = desk.organisation
    done = apply_draft(organisation.database, record_id(call), now=organisation.clock())
    return json_answer(done)


def post_retire(desk: Desk, call: Call) -> Answer:
    """Hide a custom field or entity everywhere; its values are kept."""
    body = command_body(call, RETIREMENT)
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        content = retiring(
            uow.unrestricted(), str(body["entity"]), cast("str | None", body["field"])
        )
    return _applied(desk, content)


def get_export(uow: UnitOfWork, _call: Call) -> Answer:
    """Everything added to the data model, as one change set in YAML."""
    return Answer(200, export_model(uow.unrestricted(), "Exported").encode(), YAML[0])


def _applied(desk: Desk, content: str) -> Answer:
    organisation = desk.organisation
    done = apply_change_set(organisation.database, content, now=organisation.clock())
    return json_answer(done)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/model/change-sets",
        handler=in_transaction(post_draft),
        summary="Keep a change set of the data model as a draft",
        bodies=CHANGE_SET_BODY,
        examples={YAML[0]: EXAMPLE},
        answers={JSON: {"$ref": "#/components/schemas/ChangeSet"}},
        status=201,
        makes=("change_set",),
    ),
    Endpoint(
        method="GET",
        path="/model/change-sets/{id}/plan",
        handler=reading(get_plan),
        summary="What a kept change set would do now, in words and in SQL",
        answers=PLAN_ANSWER,
    ),
    Endpoint(
        method="POST",
        path="/model/change-sets/{id}/apply",
        handler=once(post_apply_draft),
        summary="Apply a kept change set: all of it or nothing",
        answers=APPLIED_ANSWER,
    ),
    Endpoint(
        method="POST",
        path="/model/plan",
        handler=reading(post_plan),
        summary="What a change set would do now; nothing is kept",
        bodies=CHANGE_SET_BODY,
        examples={YAML[0]: EXAMPLE},
        answers=PLAN_ANSWER,
    ),
    Endpoint(
        method="POST",
        path="/model/apply",
        handler=once(post_apply),
        summary="Add custom fields and entities: all of a change set or nothing",
        help="From the next request on they are in lists, filters, OpenAPI and formulas. Refused "
        "(503) when the tables are busy for half a minute; nothing is changed then.",
        bodies=CHANGE_SET_BODY,
        examples={YAML[0]: EXAMPLE},
        answers=APPLIED_ANSWER,
        makes=("custom_entity", "custom_field", "rule", "rule_firing"),
    ),
    Endpoint(
        method="POST",
        path="/model/retire",
        handler=once(post_retire),
        summary="Hide a custom field or entity; its values are kept",
        bodies=body_schema(RETIREMENT),
        examples={JSON: {"entity": "account", "field": "x_region"}},
        answers=APPLIED_ANSWER,
    ),
    Endpoint(
        method="GET",
        path="/model/export",
        handler=reading(get_export),
        summary="Everything added to the data model, as one change set for elsewhere",
        answers={YAML[0]: {"description": "A change set in YAML."}},
    ),
)
