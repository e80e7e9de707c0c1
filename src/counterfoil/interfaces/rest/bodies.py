"""The bodies of commands: declared as fields like records, and checked by the same code."""

from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.rest.exchange import JSON, Call
from counterfoil.interfaces.rest.records import json_object
from counterfoil.interfaces.rest.schemas import Schema, create_schema
from counterfoil.platform.metadata import Entity, Record, check_values


def command_body(call: Call, shape: Entity) -> Record:
    """The typed values of the call's JSON object; refuses what ``shape`` does not declare."""
    return checked(json_object(call), shape)


def checked(values: Record, shape: Entity) -> Record:
    """The typed values; refuses (422) with every problem."""
    typed, problems = check_values(shape, values)
    if problems:
        raise Refused(problems)
    return typed


def checked_rows(call: Call, shape: Entity) -> list[Record]:
    """The typed values of one object, or of all under the plural name; all problems at once."""
    body = json_object(call)
    if body.keys() != {shape.plural}:
        return [checked(body, shape)]
    rows = body[shape.plural]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", shape.plural))
    typed: list[Record] = []
    problems: list[Problem] = []
    for number, row in enumerate(rows, start=1):
        values, wrong = check_values(shape, row)
        typed.append(values)
        problems += [
            Problem(one.code, one.message, one.field, one.allowed, line=number) for one in wrong
        ]
    if problems:
        raise Refused(problems)
    return typed


def whole_numbers(value: object, field: str) -> list[int] | None:
    """A list of ids, or None when it was not given."""
    if value is None:
        return None
    if isinstance(value, list) and all(type(one) is int for one in value):
        return cast("list[int]", value)
    raise Refused(Problem("wrong_type", "has to be a list of ids", field))


def body_schema(shape: Entity) -> dict[str, Schema]:
    """The schema of a command's JSON body, by media type."""
    return {JSON: create_schema(shape)}


def rows_schema(shape: Entity) -> dict[str, Schema]:
    """The schema of a body of one object or many under the plural name."""
    one = create_schema(shape)
    many: Schema = {
        "type": "object",
        "properties": {shape.plural: {"type": "array", "items": one}},
        "required": [shape.plural],
        "additionalProperties": False,
    }
    return {JSON: {"anyOf": [one, many]}}
