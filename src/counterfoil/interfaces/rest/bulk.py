"""Many records in one call: created, changed, created or changed, deleted, put back.

All or none, or each that can be: then every record is answered with what became of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import decode_json, json_answer
from counterfoil.interfaces.http.problem_answers import described_error
from counterfoil.interfaces.rest.entity_paths import BULK_LIMIT
from counterfoil.interfaces.rest.exchange import Answer, Call
from counterfoil.interfaces.rest.queries import refuse_other_keys
from counterfoil.interfaces.rest.records import entity_asked_for, json_object
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.validation import BIGINT_MAX
from counterfoil.platform.records.each import Outcome, write_each
from counterfoil.platform.records.unit_of_work import UnitOfWork
from counterfoil.platform.records.upserting import key_field, read_keys

NDJSON = "application/x-ndjson"
OPERATIONS = ("create", "update", "upsert", "delete", "undelete")
MODES = ("all_or_nothing", "per_record")
KEYS = ("operation", "mode", "by", "records")


@dataclass(frozen=True, slots=True)
class Bulk:
    """A bulk request: what to do with which records; ``by`` is the field that tells which."""

    operation: str
    mode: str
    by: str
    records: list[Record]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one record."""

    id: int
    action: str


def write_bulk(uow: UnitOfWork, call: Call) -> Answer:
    """Write the records of the body; answers one result each, in order."""
    entity = entity_asked_for(uow.catalogue, call)
    bulk = read_bulk(call)
    write = WRITERS[bulk.operation](uow, entity, bulk)
    if bulk.mode == "all_or_nothing":
        with uow.savepoint():
            outcomes: list[Outcome[Done]] = [Outcome(done) for done in write(bulk.records)]
    else:
        outcomes = write_each(uow, bulk.records, write)
    return bulk_answer(outcomes, call)


def bulk_answer(outcomes: Sequence[Outcome[Done]], call: Call) -> Answer:
    """The results with their counts; as lines of JSON where those are asked for."""
    results = [told(outcome) for outcome in outcomes]
    if NDJSON in call.headers.get("accept", ""):
        lines = b"\n".join(msgspec.json.encode(result) for result in results)
        return Answer(200, lines + b"\n" if results else b"", NDJSON)
    refused = sum(outcome.result is None for outcome in outcomes)
    return json_answer(
        {"results": results, "saved": len(results) - refused, "refused": refused},
    )


def told(outcome: Outcome[Done]) -> dict[str, object]:
    """One result: id and action, or status and errors."""
    if outcome.result is not None:
        return {"id": outcome.result.id, "action": outcome.result.action}
    errors = [described_error(problem) for problem in outcome.problems]
    return {"action": "refused", "status": outcome.status, "errors": errors}


def read_bulk(call: Call) -> Bulk:
    """The request from a JSON object, or from lines of JSON and the query string."""
    if call.media_type == NDJSON:
        given: Record = {**dict(call.query), "records": read_lines(call.body)}
    else:
        given = {**dict(call.query), **json_object(call)}
    refuse_other_keys(given, KEYS, "")
    operation, mode = given.get("operation"), given.get("mode", MODES[0])
    by, records = given.get("by", ""), given.get("records")
    problems = []
    if operation not in OPERATIONS:
        problems.append(Problem("unknown_choice", "says what to do", "operation", OPERATIONS))
    if mode not in MODES:
        problems.append(Problem("unknown_choice", f"{mode!r} is not allowed", "mode", MODES))
    if not isinstance(by, str):
        problems.append(Problem("wrong_type", "has to name a unique field", "by"))
    if not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
        problems.append(Problem("not_a_list", "has to be a list of JSON objects", "records"))
    elif len(records) > BULK_LIMIT:
        message = f"holds {len(records):,} records; at most {BULK_LIMIT:,} are written at once"
        raise Refused(Problem("too_many_records", message, "records"), status=413)
    if problems:
        raise Refused(problems)
    return Bulk(str(operation), str(mode), str(by), list(records or ()))


def read_lines(body: bytes) -> list[object]:
    """The values of lines of JSON, empty ones left out; refuses (400) naming the line."""
    values = []
    for line, text in enumerate(body.split(b"\n"), start=1):
        if text.strip():
            try:
                values.append(decode_json(text))
            except Refused as refused:
                message = refused.problems[0].message.replace("line 1,", f"line {line},")
                raise Refused(Problem("malformed_json", message, line=line), 400) from refused
    return values


Writer = Callable[[list[Record]], list[Done]]
"""Writes records all or none; one result each."""


def creating(uow: UnitOfWork, entity: Entity, _bulk: Bulk) -> Writer:
    """New records."""
    refuse_made_by_command(entity)
    return lambda rows: [Done(one, "created") for one in uow.create_many(entity.name, rows)]


def upserting(uow: UnitOfWork, entity: Entity, bulk: Bulk) -> Writer:
    """New records and changes to known ones, told apart by a unique field."""
    refuse_made_by_command(entity)
    by = bulk.by or "external_id"
    return lambda rows: [Done(one.id, one.action) for one in uow.upsert_many(entity.name, by, rows)]


def updating(uow: UnitOfWork, entity: Entity, bulk: Bulk) -> Writer:
    """Changes to records, named by id or a unique field; ``row_version`` is the one expected."""

    def write(rows: list[Record]) -> list[Done]:
        ids, versions = named_records(uow, entity, bulk.by, rows)
        left_out = {"row_version", bulk.by or "id"}
        if entity.created_by_command:
            refuse_other_fields(entity, rows, left_out)
        changes = [
            (one, {name: value for name, value in row.items() if name not in left_out})
            for one, row in zip(ids, rows, strict=True)
        ]
        differing = uow.update_many(entity.name, changes, expected_versions=versions)
        return [Done(one, "updated" if one in differing else "unchanged") for one in ids]

    if not entity.changeable:
        refuse_made_by_command(entity)
    return write


def deleting(uow: UnitOfWork, entity: Entity, bulk: Bulk) -> Writer:
    """Records gone, named by id or a unique field; ``row_version`` is the one expected."""

    def write(rows: list[Record]) -> list[Done]:
        ids, versions = named_records(uow, entity, bulk.by, rows)
        uow.delete_many(entity.name, ids, expected_versions=versions)
        return [Done(one, "deleted") for one in ids]

    refuse_made_by_command(entity)
    return write


def undeleting(uow: UnitOfWork, entity: Entity, _bulk: Bulk) -> Writer:
    """Deleted records as they were, named by id."""

    def write(rows: list[Record]) -> list[Done]:
        ids, _ = named_records(uow, entity, "", rows)
        uow.undelete_many(entity.name, ids)
        return [Done(one, "undeleted") for one in ids]

    refuse_made_by_command(entity)
    return write


WRITERS: dict[str, Callable[[UnitOfWork, Entity, Bulk], Writer]] = {
    "create": creating,
    "update": updating,
    "upsert": upserting,
    "delete": deleting,
    "undelete": undeleting,
}


def refuse_made_by_command(entity: Entity) -> None:
    """Refuse (405) to write records that commands make."""
    if entity.created_by_command:
        message = f"records of {entity.plural} are made by a command and never written directly"
        raise Refused(Problem("made_by_command", message), status=405)


def refuse_other_fields(entity: Entity, rows: Sequence[Record], left_out: set[str]) -> None:
    """Of records that commands make only what the customer added can be changed."""
    known = {field.name for field in entity.changeable} | left_out
    if any(row.keys() - known for row in rows):
        refuse_made_by_command(entity)


def named_records(
    uow: UnitOfWork, entity: Entity, by: str, rows: Sequence[Record]
) -> tuple[list[int], dict[int, int]]:
    """The ids of the records that the rows name, each once, and the versions they expect."""
    name = by or "id"
    ids: list[object] = [row.get("id") for row in rows]
    if by:
        keys, wrong = read_keys(key_field(entity, by), rows)
        if wrong:
            raise Refused(wrong)
        found = uow.ids_by(entity.name, by, keys)
        ids = [found.get(key) for key in keys]
    problems: list[Problem] = []
    seen: dict[object, int] = {}
    versions: dict[int, int] = {}
    known: list[int] = []
    for line, (row, one) in enumerate(zip(rows, ids, strict=True), start=1):
        version = row.get("row_version")
        if type(one) is not int or not 0 < one <= BIGINT_MAX:
            missing = row.get(name) is None
            message = (
                "is required: it tells which record is meant"
                if missing
                else (f"there is no {entity.name.replace('_', ' ')} {row[name]!r}")
            )
            code = "required" if missing else "unknown_record"
            problems.append(Problem(code, message, name, line=line))
        elif one in seen:
            message = f"stands in line {seen[one]} already"
            problems.append(Problem("double_key", message, name, line=line))
        elif version is not None and type(version) is not int:
            message = "has to be a whole number"
            problems.append(Problem("wrong_type", message, "row_version", line=line))
        else:
            seen[one] = line
            known.append(one)
            versions |= {} if version is None else {one: version}
    if problems:
        raise Refused(problems)
    return known, versions
