"""The generic endpoints of every declared entity: list, read, create, change, delete."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlencode

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import decode_json, json_answer
from counterfoil.interfaces.rest.entity_paths import BULK_LIMIT
from counterfoil.interfaces.rest.exchange import API, Answer, Call
from counterfoil.interfaces.rest.list_queries import ListQuery, parse_list_query
from counterfoil.interfaces.rest.schemas import collection_name
from counterfoil.platform.metadata import Catalogue, Entity, Record
from counterfoil.platform.records.pages import Page
from counterfoil.platform.records.paths import All
from counterfoil.platform.records.querying import Query
from counterfoil.platform.records.unit_of_work import UnitOfWork

ENTITY_TAG = re.compile(r'^(?:W/)?"(\d{1,18})"$')


def list_records(uow: UnitOfWork, call: Call) -> Answer:
    """One page of records, with the cursor of the next."""
    entity = entity_asked_for(uow.catalogue, call)
    asked = parse_list_query(call.query)
    page = page_of(uow, entity.name, asked)
    headers = {}
    if page.next_cursor is not None:
        others = [(name, text) for name, text in call.query if name != "cursor"]
        query = urlencode([*others, ("cursor", page.next_cursor)])
        headers["link"] = f'<{call.path}?{query}>; rel="next"'
    return json_answer({"records": page.records, "next_cursor": page.next_cursor}, 200, headers)


def page_of(uow: UnitOfWork, entity: str, asked: ListQuery) -> Page:
    """The page that a list request asks for."""
    if asked.related:
        query = Query(
            fields=asked.fields,
            where=All(asked.filters),
            sort=asked.sort,
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return uow.query_records(entity, query, asked.include)
    return uow.list(
        entity, filters=asked.filters, sort=asked.sort, cursor=asked.cursor, limit=asked.limit
    )


def read_record(uow: UnitOfWork, call: Call) -> Answer:
    """One record; 304 when the caller has this version already."""
    entity = entity_asked_for(uow.catalogue, call)
    record = uow.get(entity.name, record_id(call))
    if call.headers.get("if-none-match") == entity_tag(record):
        return Answer(304, headers={"etag": entity_tag(record)})
    return record_answer(record)


def create_records(uow: UnitOfWork, call: Call, commands: Mapping[str, str]) -> Answer:
    """Create one record, or all or none of ``{"records": [...]}``.

    ``commands`` says for entities made by a command where that command is.
    """
    entity = writable_entity(uow.catalogue, call, commands)
    body = json_object(call)
    if body.keys() != {"records"}:
        record = uow.create(entity.name, body)
        location = f"{API}/{collection_name(entity)}/{record['id']}"
        return record_answer(record, 201, {"location": location})
    rows = body["records"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Refused(Problem("not_a_list", "has to be a list of JSON objects", "records"))
    if len(rows) > BULK_LIMIT:
        message = f"holds {len(rows):,} records; at most {BULK_LIMIT:,} can be created at once"
        raise Refused(Problem("too_many_records", message, "records"), status=413)
    ids = uow.create_many(entity.name, rows)
    return json_answer({"created": len(ids), "ids": ids}, 201)


def update_record(uow: UnitOfWork, call: Call, commands: Mapping[str, str]) -> Answer:
    """Change the fields in the body; refused when the record is no longer the version meant.

    The version is named by ``If-Match`` (412 when it differs) or by ``row_version`` in the body
    (409).
    """
    entity = changeable_entity(uow.catalogue, call, commands)
    body = json_object(call)
    key = record_id(call)
    stated = body.pop("row_version", None)
    if stated is not None and type(stated) is not int:
        raise Refused(Problem("wrong_type", "has to be a whole number", "row_version"))
    matched = version_to_match(call)
    expected = stated if matched is None else matched
    with precondition(matched):
        return record_answer(uow.update(entity.name, key, body, expected_version=expected))


def delete_record(uow: UnitOfWork, call: Call, commands: Mapping[str, str]) -> Answer:
    """Delete the record, unless something refers to it or it is not of the version meant."""
    entity = writable_entity(uow.catalogue, call, commands)
    key, matched = record_id(call), version_to_match(call)
    with precondition(matched):
        expected = None if matched is None else {key: matched}
        uow.delete_many(entity.name, [key], expected_versions=expected)
    return Answer(204)


@contextmanager
def precondition(version: int | None) -> Iterator[None]:
    """Tell another version than that of ``If-Match`` as a failed precondition (412)."""
    try:
        yield
    except Refused as refused:
        if version is not None and refused.problems[0].code == "version_conflict":
            raise Refused(refused.problems, status=412) from refused
        raise


def entity_asked_for(catalogue: Catalogue, call: Call) -> Entity:
    """The entity whose collection stands in the path, with hyphens or underscores."""
    return catalogue.by_plural(call.variables["collection"].replace("-", "_"))


def changeable_entity(catalogue: Catalogue, call: Call, commands: Mapping[str, str]) -> Entity:
    """The entity in the path; of records made by a command only custom fields can be changed."""
    entity = entity_asked_for(catalogue, call)
    if entity.created_by_command:
        custom = {field.name for field in entity.changeable}
        if not custom or json_object(call).keys() - {*custom, "row_version"}:
            return writable_entity(catalogue, call, commands)
    return entity


def writable_entity(catalogue: Catalogue, call: Call, commands: Mapping[str, str]) -> Entity:
    """The entity in the path; refuses (405) one whose records are made by a command."""
    entity = entity_asked_for(catalogue, call)
    if entity.created_by_command:
        command = commands.get(entity.name)
        message = f"records of {entity.plural} are made by a command and never written directly"
        if command:
            message += f"; use {command}"
        problem = Problem("made_by_command", message, allowed=(command,) if command else ())
        raise Refused(problem, status=405)
    return entity


def json_object(call: Call) -> Record:
    """The call's body as an object; refuses (415) what is not JSON, (400) what is no object."""
    if call.media_type != "application/json" and not call.media_type.endswith("+json"):
        message = f"the body is {call.media_type}"
        problem = Problem("unsupported_media_type", message, "Content-Type", ("application/json",))
        raise Refused(problem, status=415)
    body = decode_json(call.body)
    if not isinstance(body, dict):
        raise Refused(Problem("not_an_object", "the body has to be a JSON object"), status=400)
    return body


def record_id(call: Call) -> int:
    """The id in the path; what is no id is not found (404)."""
    text = call.variables["id"]
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    message = f"{text!r} is not an id; ids are whole numbers (find others with ?external_id=…)"
    raise Refused(Problem("not_found", message, "id"), status=404)


def version_to_match(call: Call) -> int | None:
    """The version in ``If-Match``; refuses (400) what is not an entity tag of ours."""
    header = call.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    found = ENTITY_TAG.match(header.strip())
    if found is None:
        message = f'{header!r} is not an ETag answered here, such as "3"'
        raise Refused(Problem("invalid_etag", message, "If-Match"), status=400)
    return int(found[1])


def entity_tag(record: Record) -> str:
    """The ETag of a record: its version."""
    return f'"{record["row_version"]}"'


def record_answer(
    record: Record, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """One record with its ETag."""
    return json_answer(record, status, {"etag": entity_tag(record), **(headers or {})})
