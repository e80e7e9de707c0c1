"""The paths of the dialect: ``/rest/2.0/…`` and ``/auth/1.0/authenticate``, with an organisation's
name before them or without."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm import collecting, sessions, writing
from counterfoil.interfaces.brm.answers import Collection, rows_answer, told, written_answer
from counterfoil.interfaces.brm.children import read_children, take_children
from counterfoil.interfaces.brm.extracts import run_request
from counterfoil.interfaces.brm.files import read_files, write_file
from counterfoil.interfaces.brm.reading import read_query
from counterfoil.interfaces.brm.records import Row
from counterfoil.interfaces.brm.translating import listing, translate
from counterfoil.interfaces.brm.words import dialect_of, plain_name
from counterfoil.interfaces.brm.writing import Work, Written, write_each
from counterfoil.interfaces.http.doors import Door
from counterfoil.interfaces.http.exchange import Answer, Call, Desk
from counterfoil.interfaces.http.notation import decode_json
from counterfoil.platform.access.callers import Caller
from counterfoil.platform.records.unit_of_work import UnitOfWork

PATHS = re.compile(
    r"(?:/[\w.~-]{1,100})?/(?P<api>rest/2\.[01]|auth/1\.0)(?P<rest>/[^?]*)?", re.ASCII
)


MOST_REQUESTS = 10
"""Bulk requests at once."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call of someone known, and the parts of its path."""

    desk: Desk
    call: Call
    caller: Caller
    parts: tuple[str, ...]

    def run(self, act: Callable[[UnitOfWork], list[Written]]) -> list[Written]:
        """Something in a transaction of its own."""
        organisation = self.desk.organisation
        with organisation.database.transaction(
            now=organisation.clock(), access=self.caller.access
        ) as uow:
            return act(uow)

    def parameter(self, name: str) -> str | None:
        """A parameter of the query string, whatever its case."""
        found = (text for key, text in self.call.query if key.lower() == name.lower())
        return next(found, None)


def handle(desk: Desk, call: Call) -> Answer:
    """The answer to a request at one of our paths."""
    found = PATHS.fullmatch(call.path)
    parts = tuple(part for part in ((found and found["rest"]) or "").split("/") if part)
    if found is None or not parts:
        raise nothing_here(call)
    now = desk.organisation.clock()
    if found["api"].startswith("auth"):
        return sessions.authenticate(desk.entrance, call, parts, now)
    if parts[0].lower() == "login" and len(parts) == 1:
        return sessions.login(desk.entrance, call, now)
    caller = sessions.caller_of(desk.entrance, call, now)
    desk.pace(caller)
    acting = desk.acting(replace(call, caller=caller), sessions.SOURCE)
    if parts[0].lower() == "logout" and len(parts) == 1:
        return sessions.logout(acting, caller)
    return respond(Request(acting, call, caller, parts))


DOOR = Door(paths=PATHS, handler=handle, told=told, session=sessions.session_of)
"""The dialect as an interface beside REST."""


def respond(request: Request) -> Answer:
    """The answer to a request of someone known."""
    parts, method = request.parts, request.call.method
    named = _NAMED.get(parts[0].lower())
    if named is not None:
        handler = named.get(method)
        if handler is None:
            raise not_possible(request.call, tuple(named))
        return handler(request)
    if len(parts) > 2:
        raise nothing_here(request.call)
    if method == "GET":
        return retrieve(request)
    if method not in _WRITES:
        raise not_possible(request.call, ("GET", *_WRITES))
    return _WRITES[method](request)


# -- reading ------------------------------------------------------------------------------------


def query(request: Request) -> Answer:
    """Rows by SQL, in the query string or the body."""
    if request.call.method == "POST" and request.call.body.strip():
        found = next((v for k, v in body_of(request.call).items() if k.lower() == "sql"), None)
    else:
        found = request.parameter("sql")
    if not isinstance(found, str):
        raise Refused(Problem("required", "is required", "sql"), status=400)
    asked, children = take_children(read_query(found))
    organisation, access = request.desk.organisation, request.caller.access
    with organisation.database.transaction(now=organisation.clock(), access=access) as uow:
        dialect = dialect_of(uow.catalogue)
        made = translate(asked, dialect, uow.now)
        rows = [list(row) for row in uow.select(made.statement).rows]
        for child in children if rows else ():
            ids = [row[child.place] for row in rows]
            owned = read_children(uow, dialect, child, ids, uow.now)
            for row in rows:
                row[child.place] = Collection(owned.get(row[child.place], []))
    return rows_answer("queryResponse", made.keys, rows)


def retrieve(request: Request) -> Answer:
    """Whole records: by the id in the path, or by conditions."""
    conditions = request.parameter("queryAnsiSql")
    if len(request.parts) == 2:
        conditions = f"Id = {id_of(request.parts[1])}"

    organisation, access = request.desk.organisation, request.caller.access
    with organisation.database.transaction(now=organisation.clock(), access=access) as uow:
        dialect = dialect_of(uow.catalogue)
        wording = dialect.entity(request.parts[0])
        where = f" WHERE {conditions}" if conditions and conditions.strip() else ""
        asked = read_query(f"SELECT Id FROM {wording.name}{where}")
        made = listing(wording, dialect, asked, uow.now)
        rows = uow.select(made.statement).rows
    return rows_answer("retrieveResponse", made.keys, rows)


# -- writing ------------------------------------------------------------------------------------


def write(names: Sequence[str], work: Work) -> Callable[[Request], Answer]:
    """The handler that writes the records of the body, each told under the names."""

    def handle(request: Request) -> Answer:
        entity = entity_of(request)
        if plain_name(entity) == collecting.ENTITY:
            return usage_request(request)
        if request.call.method == "POST" and entity == request.parts[0] and request.parts[1:]:
            raise not_possible(request.call, ("GET", "PUT", "PATCH", "DELETE"))
        rows = rows_of(request.call, request.parts[1:] if entity == request.parts[0] else ())
        # Of one record by its path, a client reads the answer of an upsert.
        by_path = len(request.parts) == 2 and names == ("updateResponse",)
        shown = (*names, "upsertResponse") if by_path else names
        return written_answer(shown, write_each(request.run, entity, rows, work))

    return handle


def upsert(request: Request) -> Answer:
    """New records or changes, by the unique field the body names."""
    body = body_of(request.call)
    field = next((v for k, v in body.items() if k.lower() == "externalidfieldname"), None)
    if len(request.parts) == 2:
        field = "Id"
    if not isinstance(field, str):
        message = "is required: the field that tells which record is meant"
        raise Refused(Problem("required", message, "externalIDFieldName"), status=400)
    rows = rows_of(request.call, request.parts[1:])
    run = writing.again(request.run)
    results = write_each(run, request.parts[0], rows, writing.upsert(field))
    return written_answer(("upsertResponse",), results)


def bulk_request(request: Request) -> Answer:
    """A query whose result is kept; what became of one stands in its record."""
    if len(request.parts) > 1:
        raise not_possible(request.call, ("GET",))
    rows = rows_of(request.call, ())
    if len(rows) > MOST_REQUESTS:
        message = f"at most {MOST_REQUESTS} bulk requests are taken at once"
        raise Refused(Problem("too_many_records", message, "brmObjects"), status=400)
    results = [run_request(request.desk.organisation, request.caller, row) for row in rows]
    return written_answer(("createResponse",), results)


def usage_request(request: Request) -> Answer:
    """Usage records; they are taken in and neither changed nor deleted here."""
    if request.call.method != "POST" or len(request.parts) > 1:
        raise not_possible(request.call, ("POST",))
    rows = rows_of(request.call, ())
    results = collecting.collect(request.desk, request.caller.access, rows)
    return written_answer(("createResponse",), results)


def file_request(request: Request) -> Answer:
    """A file of a record, read or written."""
    parts = request.parts[1:]
    if len(parts) != 3:
        raise nothing_here(request.call)
    organisation, caller, record_id = request.desk.organisation, request.caller, id_of(parts[1])
    if request.call.method == "GET":
        return read_files(organisation, caller, parts, record_id)
    results = write_file(organisation, caller.access, parts, record_id, body_of(request.call))
    return written_answer(("createResponse",), results)


def entity_of(request: Request) -> str:
    """The entity in the path: behind ``delete`` and ``undelete``, or first."""
    if request.parts[0].lower() not in ("delete", "undelete"):
        return request.parts[0]
    if len(request.parts) != 2:
        raise nothing_here(request.call)
    return request.parts[1]


def rows_of(call: Call, path_id: Sequence[str]) -> list[Row]:
    """The records of the body, one or many; an id in the path is that of the one."""
    if path_id and not call.body.strip():
        return [{"Id": id_of(path_id[0])}]
    found = next((v for k, v in body_of(call).items() if k.lower() == "brmobjects"), None)
    given = found if isinstance(found, list) else [found]
    rows: list[Row] = [row for row in given if isinstance(row, dict)]
    if not rows or len(rows) < len(given):
        message = "has to be an object or a list of objects"
        raise Refused(Problem("not_an_object", message, "brmObjects"), status=400)
    if len(rows) > writing.MOST_RECORDS:
        message = f"holds {len(rows):,} records; at most {writing.MOST_RECORDS:,} are possible"
        raise Refused(Problem("too_many_records", message, "brmObjects"), status=400)
    return [{**row, "Id": id_of(path_id[0])} for row in rows] if path_id else rows


def body_of(call: Call) -> Mapping[str, object]:
    """The JSON object of a body, whatever its content type says."""
    body = decode_json(call.body)
    if not isinstance(body, dict):
        raise Refused(Problem("not_an_object", "the body has to be a JSON object"), status=400)
    return body


def id_of(text: str) -> int:
    """The id in a path; what is none is not found (404)."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise Refused(Problem("unknown_record", f"there is no record {text[:60]!r}", "Id"), status=404)


def nothing_here(call: Call) -> Refused:
    """The refusal (404) of a path that is not ours."""
    return Refused(Problem("not_found", f"there is nothing at {call.path[:200]}"), status=404)


def not_possible(call: Call, allowed: tuple[str, ...]) -> Refused:
    """The refusal of a method."""
    message = f"{call.method} is not possible here"
    return Refused(Problem("method_not_allowed", message, allowed=allowed), status=405)


_DELETE = write(("deleteResponse",), writing.delete)
# Clients differ in which of the two they read.
_UNDELETE = write(("undeleteResponse", "deleteResponse"), writing.undelete)

_NAMED: Mapping[str, Mapping[str, Callable[[Request], Answer]]] = {
    "query": {"GET": query, "POST": query},
    "delete": {"DELETE": _DELETE, "POST": _DELETE},
    "undelete": {"DELETE": _UNDELETE, "POST": _UNDELETE},
    "bulk_api_request": {"GET": retrieve, "POST": bulk_request},
    "files": {"GET": file_request, "POST": file_request},
}
"""What stands first in a path and is no entity, with its methods."""

_WRITES: Mapping[str, Callable[[Request], Answer]] = {
    "POST": write(("createResponse",), writing.create),
    "PUT": write(("updateResponse",), writing.update),
    "PATCH": upsert,
    "DELETE": _DELETE,
}
