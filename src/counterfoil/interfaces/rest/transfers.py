"""Records in and out of table files over HTTP: the body is the file, the answer is the file."""

import tempfile
from pathlib import Path

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import named_file
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.http.problem_answers import described_error, problem_answer
from counterfoil.interfaces.rest.exchange import Answer, Call, Desk
from counterfoil.interfaces.rest.list_queries import parse_list_query
from counterfoil.interfaces.rest.queries import refuse_other_keys
from counterfoil.interfaces.rest.records import entity_asked_for
from counterfoil.platform.records.paths import All
from counterfoil.platform.transfer.exporting import Export, export_records
from counterfoil.platform.transfer.importing import Import, Imported, import_records

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
MODES = ("per_record", "all_or_nothing")
KEYS = ("by", "mode", "dry_run", "clear_empty", "delimiter", "name", "map")
LARGEST_FILE = 1 << 30


def post_import(desk: Desk, call: Call) -> Answer:
    """Import the file in the body; answers what became of its rows."""
    if call.upload is None or not call.upload.stat().st_size:
        raise Refused(Problem("empty_body", "a CSV or XLSX file is expected"), status=400)
    organisation = desk.organisation
    entity = entity_asked_for(organisation.database.catalogue, call)
    done = import_records(
        organisation.database,
        call.upload,
        read_import(call, entity.name),
        now=organisation.clock(),
        access=call.caller.access,
    )
    if done.refused and dict(call.query).get("mode") == "all_or_nothing":
        return problem_answer(done.problems, 422, call.path)
    return json_answer(imported(done))


def read_import(call: Call, entity: str) -> Import:
    """What the query string says about the import."""
    given = dict(call.query)
    refuse_other_keys(given, KEYS, "")
    mode = given.get("mode", MODES[0])
    if mode not in MODES:
        raise Refused(Problem("unknown_choice", f"{mode!r} is not allowed", "mode", MODES))
    delimiter = given.get("delimiter", "")
    if len(delimiter) > 1 or delimiter in ('"', "\r", "\n", "\0"):
        raise Refused(Problem("wrong_value", "has to be one character", "delimiter"))
    mapping: dict[str, str | None] = {}
    for name, text in call.query:
        if name == "map":
            column, colon, path = text.rpartition(":")
            if not colon:
                raise Refused(Problem("wrong_value", f"{text!r} is not column:field", "map"))
            mapping[column] = path or None
    return Import(
        entity=entity,
        by=given.get("by", ""),
        mapping=mapping,
        delimiter=delimiter,
        all_or_nothing=mode == "all_or_nothing",
        dry_run=flag(given, "dry_run"),
        clear_empty=flag(given, "clear_empty"),
        name=given.get("name", "") or "the file",
    )


def flag(given: dict[str, str], name: str) -> bool:
    """A yes or no of the query string; no when it is absent."""
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(Problem("wrong_type", "must be true or false", name, ("true", "false")))
    return text == "true"


def imported(done: Imported) -> dict[str, object]:
    """The counts of an import and its problems."""
    return {
        "dry_run": done.dry_run,
        "read": done.read,
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
        "refused": done.refused,
        "ignored_columns": done.ignored_columns,
        "problems": [described_error(problem) for problem in done.problems],
    }


def get_export(desk: Desk, call: Call) -> Answer:
    """The records that the query string asks for, as a file; it is made first and sent then."""
    organisation = desk.organisation
    kind = dict(call.query).get("as", "csv")
    asked = parse_list_query([one for one in call.query if one[0] != "as"])
    folder = Path(tempfile.mkdtemp(prefix="export-", dir=organisation.home))
    try:
        with organisation.database.rehearsal(
            now=organisation.clock(), access=call.caller.access
        ) as uow:
            entity = entity_asked_for(uow.catalogue, call)
            wanted = Export(
                entity=entity.name, fields=asked.fields, where=All(asked.filters), sort=asked.sort
            )
            path = folder / entity.plural
            export_records(uow, wanted, path, kind)
    except BaseException:
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()
        raise
    headers = named_file(f"{entity.plural}.{kind}")
    return Answer(200, b"", MEDIA_TYPES[kind], headers, file=path)
