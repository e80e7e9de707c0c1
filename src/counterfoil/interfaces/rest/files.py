"""Files over HTTP: uploaded once, pointed to by records, downloaded as they came."""

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import named_file
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.exchange import (
    JSON,
    MEGABYTE,
    Answer,
    Call,
    Desk,
    Endpoint,
    Parameter,
)
from counterfoil.interfaces.rest.records import record_id
from counterfoil.platform.files.store import record_file

ANY = "application/octet-stream"
LARGEST_FILE = 100 * MEGABYTE


def post_file(desk: Desk, call: Call) -> Answer:
    """Keep the body as a file; answers its record, whose id goes into a field of kind file."""
    if call.upload is None:
        raise Refused(Problem("no_file", "a file is expected as the body"), status=400)
    organisation = desk.organisation
    kept = organisation.files.keep_file(call.upload)
    with organisation.database.transaction(now=organisation.clock()) as uow:
        made = record_file(uow, call.upload.name, call.media_type[:255], kept)
        return json_answer(uow.get("stored_file", made), 201)


def get_content(desk: Desk, call: Call) -> Answer:
    """The content of a file."""
    organisation = desk.organisation
    with organisation.database.transaction(
        now=organisation.clock(), access=call.caller.access
    ) as uow:
        record = uow.get("stored_file", record_id(call))
    path = organisation.files.place(str(record["sha256"]))
    # What a browser would run is not told to be that.
    return Answer(200, b"", ANY, named_file(str(record["name"])), file=path, kept=True)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/files",
        command="keep_files",
        handler=post_file,
        summary="Upload a file",
        help="The same content is kept once. Put the id of the record into a field of kind file.",
        parameters=(Parameter(name="name", help="The file's name."),),
        bodies={ANY: {"type": "string", "format": "binary"}},
        answers={JSON: {"$ref": "#/components/schemas/StoredFile"}},
        status=201,
        makes=("stored_file",),
        streamed=True,
        largest=LARGEST_FILE,
    ),
    Endpoint(
        method="GET",
        path="/stored-files/{id}/content",
        audience="signed_in",
        handler=get_content,
        summary="Download a file",
        answers={ANY: {"type": "string", "format": "binary"}},
    ),
)
