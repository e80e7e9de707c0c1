"""JSON schemas (2020-12, as in OpenAPI 3.1) of entities and fields, from their declarations."""

from counterfoil.platform.metadata import Entity, Field, FieldType

Schema = dict[str, object]

EXACT_DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"

BASE_SCHEMAS: dict[FieldType, Schema] = {
    FieldType.TEXT: {"type": "string"},
    FieldType.INTEGER: {"type": "integer", "format": "int64"},
    FieldType.DECIMAL: {"type": "string", "format": "decimal", "pattern": EXACT_DECIMAL},
    FieldType.BOOLEAN: {"type": "boolean"},
    FieldType.DATE: {"type": "string", "format": "date"},
    FieldType.INSTANT: {"type": "string", "format": "date-time"},
    FieldType.CHOICE: {"type": "string"},
    FieldType.REFERENCE: {"type": "integer", "format": "int64", "minimum": 1},
    FieldType.DOCUMENT: {"type": ["object", "array"]},
    FieldType.MULTI_CHOICE: {"type": "array", "uniqueItems": True},
}

EXAMPLES_BY_NAME: dict[str, object] = {
    "external_id": "ACME-01",
    "name": "Acme Conferencing",
    "currency": "EUR",
    "country": "DE",
    "time_zone": "Europe/Berlin",
    "kind": "clean_up",
    "at": "30 2 * * *",
    "email": "billing@acme.example",
    "brand_color": "#1f4e79",
    "unit": "minute",
    "from_time": "08:00",
    "to_time": "18:00",
    "url": "https://crm.acme.example/hooks",
    "event_types": ["invoice.finalized"],
    "secret": "whsec_bW9yZSB0aGFuIHR3ZW50eS1mb3VyIHJhbmRvbSBieXRlcw==",
}

EXAMPLES_BY_TYPE: dict[FieldType, object] = {
    FieldType.TEXT: "text",
    FieldType.INTEGER: 1,
    FieldType.DECIMAL: "0.22",
    FieldType.BOOLEAN: True,
    FieldType.DATE: "2026-02-01",
    FieldType.INSTANT: "2026-02-01T00:00:00Z",
    FieldType.REFERENCE: 1,
}


def schema_name(entity: Entity) -> str:
    """``billing_profile`` as ``BillingProfile``."""
    return "".join(word.capitalize() for word in entity.name.split("_"))


def collection_name(entity: Entity) -> str:
    """The entity's plural as it stands in a path: ``billing_profiles`` as ``billing-profiles``."""
    return entity.plural.replace("_", "-")


def writable_fields(entity: Entity) -> tuple[Field, ...]:
    """The fields a request may set."""
    return tuple(field for field in entity.fields if not field.computed)


def field_schema(field: Field, *, writing: bool = False) -> Schema:
    """The schema of one field's values; when writing, decimals may also be JSON numbers."""
    schema = dict(BASE_SCHEMAS[field.type])
    if field.type is FieldType.CHOICE:
        schema["enum"] = list(field.choices)
    if field.type is FieldType.MULTI_CHOICE:
        schema["items"] = {"type": "string", "enum": list(field.choices)}
    if field.type is FieldType.TEXT and field.stored:
        schema["maxLength"] = field.max_length
    if field.type is FieldType.INTEGER:
        bounds = {"minimum": field.minimum, "maximum": field.maximum}
        schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    if field.type is FieldType.DECIMAL and writing:
        schema["type"] = ["string", "number"]
    if field.custom or not field.required:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema["type"] = [*kinds, "null"]
        if "enum" in schema:
            schema["enum"] = [*field.choices, None]
    described = description(field)
    if described:
        schema["description"] = described
    if writing and field.default is not None:
        schema["default"] = default_value(field)
    schema["examples"] = [example_value(field)]
    if field.secret:
        schema["writeOnly"] = True
    return schema


def default_value(field: Field) -> object:
    """The declared default in JSON notation (decimals as text)."""
    return str(field.default) if field.type is FieldType.DECIMAL else field.default


def description(field: Field) -> str:
    """The field's help and what its type alone does not say."""
    parts = [field.help]
    if field.type is FieldType.REFERENCE:
        parts.append(f"Id of a record of {field.target}.")
    if field.type is FieldType.DECIMAL:
        parts.append(
            f"Exact decimal of {field.precision} digits, {field.scale} after the point; answered "
            "as text."
        )
    if field.formula:
        parts.append(f"Computed when read: {field.formula}")
    if field.currency_field:
        parts.append(f"An amount in {field.currency_field}.")
    if field.unique:
        parts.append("Unique.")
    if field.immutable:
        parts.append("Set on create, never changed.")
    return " ".join(part for part in parts if part)


def example_value(field: Field) -> object:
    """A value of that field as a reader may expect it, in JSON notation."""
    if field.type is FieldType.CHOICE:
        return field.choices[0]
    if field.type in {FieldType.INTEGER, FieldType.DECIMAL} and field.default is not None:
        return default_value(field)
    if field.type is FieldType.MULTI_CHOICE:
        return list(field.choices[:1])
    if field.type is FieldType.DOCUMENT:
        return EXAMPLES_BY_NAME.get(field.name, {})
    if field.type is FieldType.TEXT:
        return EXAMPLES_BY_NAME.get(field.name, field.default or f"{field.name} text")
    return EXAMPLES_BY_TYPE[field.type]


def read_schema(entity: Entity) -> Schema:
    """A record as it is answered."""
    fields = entity.readable
    return {
        "type": "object",
        "description": entity.help,
        "properties": {field.name: field_schema(field) for field in fields},
        "required": [field.name for field in fields],
    }


def create_schema(entity: Entity) -> Schema:
    """What a POST takes."""
    fields = writable_fields(entity)
    required = [field.name for field in fields if field.required and field.default is None]
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {field.name: field_schema(field, writing=True) for field in fields},
        "examples": [{f.name: example_value(f) for f in fields if f.name in required}],
    }
    return schema | ({"required": required} if required else {})


def update_schema(entity: Entity) -> Schema:
    """What a PATCH takes: any of the fields that may change."""
    properties = {field.name: field_schema(field, writing=True) for field in entity.changeable}
    for schema in properties.values():
        schema.pop("default", None)
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties
        | {"row_version": {"type": "integer", "description": "Refused when it differs (409)."}},
    }


def page_schema(entity: Entity) -> Schema:
    """One page of a list."""
    return {
        "type": "object",
        "properties": {
            "records": {
                "type": "array",
                "items": {"$ref": f"#/components/schemas/{schema_name(entity)}"},
            },
            "next_cursor": {"type": ["string", "null"], "description": "Null on the last page."},
        },
        "required": ["records", "next_cursor"],
    }
