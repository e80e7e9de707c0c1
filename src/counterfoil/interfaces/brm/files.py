"""``files/{ENTITY}/{id}/{Field}``: contents that belong to a record, as base64 in JSON."""

import base64
import binascii
from collections.abc import Mapping, Sequence

from counterfoil.bootstrap import Organisation
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.answers import answer
from counterfoil.interfaces.brm.extracts import requester
from counterfoil.interfaces.brm.records import demand_shown, refuse_derived
from counterfoil.interfaces.brm.values import written
from counterfoil.interfaces.brm.words import Word, Wording, dialect_of, plain_name
from counterfoil.interfaces.brm.writing import Written
from counterfoil.interfaces.http.exchange import Answer
from counterfoil.interfaces.http.writable import refuse_made_by_command
from counterfoil.platform.access.callers import Caller
from counterfoil.platform.extracts.requests import batches_of
from counterfoil.platform.files.store import record_file
from counterfoil.platform.metadata import Access, FieldType
from counterfoil.platform.metadata.customer import STORED_FILE
from counterfoil.platform.records.unit_of_work import UnitOfWork

RESULT = "bulkapirequest"
"""The entity whose files are the results of bulk requests, whatever its case."""


def read_files(
    organisation: Organisation, caller: Caller, parts: Sequence[str], record_id: int
) -> Answer:
    """The content of a field: one, or all batches of a bulk request's result."""
    entity, name, now = parts[0], parts[2], organisation.clock()
    with organisation.database.transaction(now=now, access=caller.access) as uow:
        if plain_name(entity) == RESULT:
            found = [
                (f"{record_id}-{row['position']}", row["sha256"])
                for row in batches_of(uow, record_id, requester(caller))
            ]
        else:
            wording = dialect_of(uow.catalogue).entity(entity)
            word = file_field(wording, name)
            file_id = uow.get(wording.entity.name, record_id)[word.field.name]
            if file_id is None:
                message = "there is no file in this field"
                raise Refused(Problem("no_content", message, word.name), status=404)
            record = uow.get(STORED_FILE, file_id)
            found = [(record["name"], record["sha256"])]
    elements = [
        {
            "Id": written(record_id),
            "EntityName": entity.upper(),
            "FieldName": name,
            "FileName": file_name,
            "Data": base64.b64encode(organisation.files.read(sha256)).decode(),
        }
        for file_name, sha256 in found
    ]
    return answer({"retrieveResponse": elements})


def write_file(
    organisation: Organisation,
    access: Access,
    parts: Sequence[str],
    record_id: int,
    body: Mapping[str, object],
) -> list[Written]:
    """Keep the content in ``Data`` and let the record's field point to it."""
    given = {plain_name(key): value for key, value in body.items()}
    try:
        content = base64.b64decode(written(given.get("data")), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Problem("wrong_type", "has to be base64", "Data"), status=400) from None
    access.demand_command("keep_files")
    with organisation.database.transaction(now=organisation.clock(), access=access) as uow:
        wording = dialect_of(uow.catalogue).entity(parts[0])
        word = file_field(wording, parts[2])
        refuse_derived(wording)
        # A document that was sent is not replaced by another one.
        refuse_made_by_command(wording.entity, [word.field.name], shown=wording.name)
        demand_shown(uow, wording, [record_id])
        uow.get(wording.entity.name, record_id)
        file_id = _kept(organisation, uow, written(given.get("filename")) or "file", content)
        uow.update(wording.entity.name, record_id, {word.field.name: file_id})
    return [Written(record_id)]


def _kept(organisation: Organisation, uow: UnitOfWork, name: str, content: bytes) -> int:
    kept = organisation.files.keep([content])
    return record_file(uow, name.replace("/", "_")[:255], "application/octet-stream", kept)


def file_field(wording: Wording, name: str) -> Word:
    """A field that points to a file; refuses others."""
    word = wording.demand(name)
    if word.field.type is not FieldType.REFERENCE or word.field.target != STORED_FILE:
        allowed = tuple(one.name for one in wording.listed() if one.field.target == STORED_FILE)
        raise Refused(Problem("no_file_field", "holds no file", word.name, allowed), status=400)
    return word
