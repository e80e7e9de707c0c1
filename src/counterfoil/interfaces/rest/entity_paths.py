"""The paths that every entity has, as OpenAPI describes them: made from its declaration."""

from counterfoil.interfaces.rest.exchange import API, JSON, Parameter
from counterfoil.interfaces.rest.operations import IDEMPOTENCY_KEY, answer, operation, ref
from counterfoil.interfaces.rest.schemas import (
    Schema,
    collection_name,
    create_schema,
    page_schema,
    read_schema,
    schema_name,
    update_schema,
)
from counterfoil.platform.metadata import Entity, FieldType
from counterfoil.platform.records.pages import LONGEST_PAGE, OPERATORS
from counterfoil.platform.records.querying import FUNCTIONS

BULK_LIMIT = 10_000
"""Most records in one POST."""

RECORD_ID = Parameter(name="id", place="path", required=True, kind="integer", help="The record.")
LIST_PARAMETERS = (
    Parameter(name="sort", help="Fields, comma-separated; a minus descends: -created_at,id."),
    Parameter(name="limit", kind="integer", help="Records per page, 1 to 1000; 50 by default."),
    Parameter(name="cursor", help="next_cursor of the page before."),
    Parameter(name="fields", help="Only these fields and paths, comma-separated: account.name."),
    Parameter(name="include", help="Related records to put in: account,contacts.site."),
)
IF_MATCH = Parameter(name="If-Match", place="header", help="Refused (412) when changed.")

_NAMES: Schema = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "string", "description": "With commas."},
    ]
}
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE}

_ROW_COUNTS = ("read", "created", "updated", "unchanged", "refused")

TABLE_TYPES = (
    "text/csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)

SHARED_SCHEMAS: dict[str, object] = {
    "Condition": {
        "description": "A field or path with op and value; or and, or, not of conditions; or a "
        "list of which all are met.",
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "field": {"type": "string"},
                    "op": {"enum": [*OPERATORS, "lte", "gte"], "default": "eq"},
                    "value": {},
                },
                "required": ["field"],
                "additionalProperties": False,
            },
            *(
                {
                    "type": "object",
                    "properties": {word: {"type": "array", "items": ref("Condition")}},
                    "required": [word],
                    "additionalProperties": False,
                }
                for word in ("and", "or")
            ),
            {
                "type": "object",
                "properties": {"not": ref("Condition")},
                "required": ["not"],
                "additionalProperties": False,
            },
            {"type": "array", "items": ref("Condition")},
        ],
    },
    "RecordQuery": {
        "type": "object",
        "properties": {
            "fields": _NAMES,
            "include": _NAMES,
            "where": ref("Condition"),
            "sort": _NAMES,
            "limit": _LIMIT | {"default": 50},
            "cursor": {"type": ["string", "null"]},
        },
        "additionalProperties": False,
    },
    "Grouping": {
        "type": "object",
        "properties": {
            "group_by": _NAMES,
            "aggregates": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "function": {"enum": list(FUNCTIONS)},
                        "field": {"type": "string", "description": "Count may do without."},
                        "as": {"type": "string", "minLength": 1, "maxLength": 60},
                    },
                    "required": ["function"],
                    "additionalProperties": False,
                },
            },
            "where": ref("Condition"),
            "sort": _NAMES,
            "limit": _LIMIT,
        },
        "required": ["aggregates"],
        "additionalProperties": False,
    },
    "Bulk": {
        "type": "object",
        "properties": {
            "operation": {"enum": ["create", "update", "upsert", "delete", "undelete"]},
            "mode": {"enum": ["all_or_nothing", "per_record"], "default": "all_or_nothing"},
            "by": {
                "type": "string",
                "description": "The unique field that names records: external_id of an upsert "
                "when not told; of update and delete the id.",
            },
            "records": {
                "type": "array",
                "items": {"type": "object"},
                "maxItems": BULK_LIMIT,
                "description": "Fields as in a POST; of update and delete also row_version, the "
                "version expected.",
            },
        },
        "required": ["operation", "records"],
        "additionalProperties": False,
    },
    "ImportedRows": {
        "type": "object",
        "properties": {
            "dry_run": {"type": "boolean"},
            **{name: {"type": "integer"} for name in _ROW_COUNTS},
            "ignored_columns": {"type": "array", "items": {"type": "string"}},
            "problems": {"type": "array", "items": {"type": "object"}},
        },
        "required": [*_ROW_COUNTS, "problems"],
    },
    "BulkResults": {
        "type": "object",
        "properties": {
            "saved": {"type": "integer"},
            "refused": {"type": "integer"},
            "results": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "integer"},
                        "action": {
                            "enum": [
                                *("created", "updated", "unchanged"),
                                *("deleted", "undeleted", "refused"),
                            ]
                        },
                        "status": {"type": "integer"},
                        "errors": {"type": "array", "items": {"type": "object"}},
                    },
                    "required": ["action"],
                },
            },
        },
        "required": ["saved", "refused", "results"],
    },
}
"""What the paths of all entities have in common."""


def entity_schemas(entity: Entity) -> dict[str, object]:
    """The component schemas of one entity."""
    name = schema_name(entity)
    schemas: dict[str, object] = {name: read_schema(entity), f"{name}Page": page_schema(entity)}
    if not entity.created_by_command:
        schemas[f"{name}Create"] = create_schema(entity)
    if entity.changeable:
        schemas[f"{name}Update"] = update_schema(entity)
    return schemas


def entity_paths(entity: Entity, allowed: frozenset[str]) -> dict[str, dict[str, object]]:
    """The paths of one entity; ``allowed`` are the operations that the caller has."""
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
    if "create" in allowed and not entity.created_by_command:
        collection["post"] = create_operation(entity, record)
    if "update" in allowed and entity.changeable:
        one["patch"] = operation(
            tag,
            f"update_{entity.name}",
            f"Change one {words(entity)}",
            (RECORD_ID, IF_MATCH, IDEMPOTENCY_KEY),
            {"200": record},
            body={JSON: {"schema": ref(f"{name}Update")}},
        )
    if "delete" in allowed and not entity.created_by_command:
        one["delete"] = operation(
            tag,
            f"delete_{entity.name}",
            f"Delete one {words(entity)}",
            (RECORD_ID, IF_MATCH, IDEMPOTENCY_KEY),
            {"204": {"description": "Deleted; the history keeps what it was."}},
            description="Refused (409) with the names of what still refers to it.",
        )
    path = f"{API}/{tag}"
    paths: dict[str, dict[str, object]] = {
        path: collection,
        f"{path}/query": {"post": query_operation(entity)},
        f"{path}/export": {"get": export_operation(entity)},
        f"{path}/{{id}}": one,
    }
    if allowed - {"read"} and not entity.created_by_command:
        paths[f"{path}/bulk"] = {"post": bulk_operation(entity)}
        paths[f"{path}/import"] = {"post": import_operation(entity)}
    return paths


def query_operation(entity: Entity) -> Schema:
    """POST of a query or of aggregates."""
    page: Schema = {
        "type": "object",
        "properties": {
            "records": {"type": "array", "items": {"type": "object"}},
            "next_cursor": {"type": ["string", "null"]},
            "groups": {"type": "array", "items": {"type": "object"}},
        },
    }
    return operation(
        collection_name(entity),
        f"query_{entity.plural}",
        f"Query {entity.plural.replace('_', ' ')} with what they refer to, or aggregates of them",
        (),
        {"200": answer("One page of records, or one row per group.", page)},
        body={JSON: {"schema": {"anyOf": [ref("RecordQuery"), ref("Grouping")]}}},
        description="Fields are named by path: account.parent.name, through at most 5 references.",
    )


def export_operation(entity: Entity) -> Schema:
    """GET of records as a file."""
    kind = Parameter(name="as", help="csv, which is the default, or xlsx.")
    asked = (one for one in LIST_PARAMETERS if one.name in ("sort", "fields"))
    files = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TABLE_TYPES}
    return operation(
        collection_name(entity),
        f"export_{entity.plural}",
        f"Export {entity.plural.replace('_', ' ')} as a file that an import reads",
        (*filter_parameters(entity), *asked, kind),
        {"200": {"description": "The file.", "content": files}},
        description="References are told by external id. No text begins like a formula.",
    )


def import_operation(entity: Entity) -> Schema:
    """POST of a file of records."""
    parameters = (
        Parameter(name="name", help="The file's name, for problems."),
        Parameter(name="by", help="The unique field that tells records apart."),
        Parameter(name="mode", help="per_record, which is the default, or all_or_nothing."),
        Parameter(name="dry_run", kind="boolean", help="true saves nothing and tells all."),
        Parameter(name="clear_empty", kind="boolean", help="true: empty cells empty fields."),
        Parameter(name="delimiter", help="Of CSV; found out when not told."),
        Parameter(name="map", help="column:field or column:account.external_id; several times."),
    )
    file = {"schema": {"type": "string", "format": "binary"}}
    return operation(
        collection_name(entity),
        f"import_{entity.plural}",
        f"Import {entity.plural.replace('_', ' ')} from a CSV or XLSX file",
        parameters,
        {"200": answer("What became of the rows.", ref("ImportedRows"))},
        body=dict.fromkeys((*TABLE_TYPES, "application/octet-stream"), file),
        description="The same file a second time changes nothing.",
    )


def bulk_operation(entity: Entity) -> Schema:
    """POST of many records to be written."""
    lines = {"schema": {"type": "string", "description": "One record a line."}}
    parameters = (
        Parameter(name="operation", help="For lines of JSON: as in a JSON body."),
        Parameter(name="mode", help="For lines of JSON: all_or_nothing or per_record."),
        Parameter(name="by", help="For lines of JSON: the unique field that names records."),
    )
    return operation(
        collection_name(entity),
        f"bulk_{entity.plural}",
        f"Create, change, delete or put back many {entity.plural.replace('_', ' ')}",
        (*parameters, IDEMPOTENCY_KEY),
        {"200": answer("What became of each record, in order.", ref("BulkResults"))},
        body={JSON: {"schema": ref("Bulk")}, "application/x-ndjson": lines},
        description="per_record saves the good records and answers the others with their errors.",
    )


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


def words(entity: Entity) -> str:
    """The entity as people call it."""
    return entity.label or entity.name.replace("_", " ")
