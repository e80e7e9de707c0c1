"""Bulk requests: a query whose result is kept in batches, and fetched as files."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlglot import exp

from counterfoil.bootstrap import Organisation
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.reading import Query, read_query
from counterfoil.interfaces.brm.translating import Translated, listing, translate
from counterfoil.interfaces.brm.values import written
from counterfoil.interfaces.brm.words import Dialect, dialect_of, plain_name
from counterfoil.interfaces.brm.writing import Written
from counterfoil.interfaces.http.exchange import MEGABYTE
from counterfoil.platform.access.callers import Caller
from counterfoil.platform.extracts.entities import LONGEST_STATEMENT
from counterfoil.platform.extracts.requests import (
    Batch,
    begin_extract,
    complete_extract,
    fail_extract,
)
from counterfoil.platform.metadata import Access, Record

MOST_PER_BATCH = 10_000
MOST_BATCHES = 100
LARGEST_RESULT = 64 * MEGABYTE
"""Bytes of all batches: they are fetched in one answer."""

KNOWN = (
    *("RequestName", "RequestMethod", "RequestBody", "RetrieveEntityName", "Columns"),
    *("ResponseFormat", "RequestsPerBatch", "RecordsPerBatch"),
    *("CSVDelimiter", "CSVQualifier", "CSVEndLineFormat"),
)
"""What a request can say; an Id is left aside."""

_LINE_ENDS = {"CR": "\r", "LF": "\n", "CRLF": "\r\n"}

Rows = Sequence[tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A bulk request as it came, checked."""

    name: str
    method: str
    statement: str
    entity: str
    columns: tuple[str, ...]
    per_batch: int
    format: str
    delimiter: str
    qualifier: str
    line_end: str

    def record(self) -> Record:
        """What is kept of it."""
        return {
            "name": self.name,
            "method": self.method,
            "statement": self.statement,
            "entity": self.entity or None,
            "columns": list(self.columns) or None,
            "format": self.format,
            "records_per_batch": self.per_batch,
        }


def read_request(row: Mapping[str, object]) -> Asked:
    """The request in a JSON object; refuses what is wrong in it."""
    given = {plain_name(name): value for name, value in row.items()}
    known = {"id", *(one.lower() for one in KNOWN)}
    for name, value in row.items():
        if plain_name(name) not in known and value not in (None, "", " "):
            message = "BULK_API_REQUEST has no such field"
            raise Refused(Problem("unknown_field", message, name[:100], KNOWN))

    def text(name: str, default: str) -> str:
        value = given.get(name.lower())
        return default if value in (None, "") else written(value)

    method, shape = text("RequestMethod", "QUERY").upper(), text("ResponseFormat", "JSON").upper()
    ends = text("CSVEndLineFormat", "CRLF").upper()
    _one_of(method, ("QUERY", "RETRIEVE"), "RequestMethod")
    _one_of(shape, ("JSON", "CSV"), "ResponseFormat")
    _one_of(ends, tuple(_LINE_ENDS), "CSVEndLineFormat")
    statement = text("RequestBody", "")
    if len(statement) > LONGEST_STATEMENT or (method == "QUERY" and not statement.strip()):
        message = f"has to have 1 to {LONGEST_STATEMENT} characters"
        raise Refused(Problem("wrong_length", message, "RequestBody"))
    entity = text("RetrieveEntityName", "")
    if method == "RETRIEVE" and not entity:
        raise Refused(Problem("required", "is required", "RetrieveEntityName"))
    columns = given.get("columns") or []
    if not isinstance(columns, list) or not all(isinstance(one, str) for one in columns):
        raise Refused(Problem("wrong_type", "has to be a list of names", "Columns"))
    per_batch = given.get("requestsperbatch") or given.get("recordsperbatch") or MOST_PER_BATCH
    delimiter, qualifier = text("CSVDelimiter", ","), text("CSVQualifier", '"')
    if len({delimiter, qualifier} - {"\r", "\n", "\x00"}) < 2 or len(delimiter + qualifier) > 2:
        message = "and CSVQualifier have to be one character each, not the same and no line's end"
        raise Refused(Problem("wrong_value", message, "CSVDelimiter"))
    return Asked(
        name=text("RequestName", "bulk request")[:255],
        method=method.lower(),
        statement=statement or "1=1",
        entity=entity,
        columns=tuple(columns),
        per_batch=_batch_size(per_batch),
        format=shape.lower(),
        delimiter=delimiter,
        qualifier=qualifier,
        line_end=_LINE_ENDS[ends],
    )


def _one_of(word: str, allowed: tuple[str, ...], field: str) -> None:
    if word not in allowed:
        raise Refused(Problem("unknown_choice", f"{word[:60]!r} is not possible", field, allowed))


def _batch_size(value: object) -> int:
    text = written(value)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_PER_BATCH):
        message = f"has to be a whole number from 1 to {MOST_PER_BATCH:,}"
        raise Refused(Problem("wrong_type", message, "RequestsPerBatch"))
    return int(text)


def requester(caller: Caller) -> str:
    """Who asks for a result: a user, or one of his keys, which may see less than he does."""
    return caller.actor if caller.key_id is None else f"{caller.actor}, API key {caller.key_id}"


def run_request(organisation: Organisation, caller: Caller, row: Mapping[str, object]) -> Written:
    """Do what is asked for; told by its id. That the query fails stands in its record."""
    try:
        asked = read_request(row)
    except Refused as refused:
        return Written(problem=refused.problems[0])
    now, database, access = organisation.clock(), organisation.database, caller.access
    try:
        with database.transaction(now=now, access=access) as uow:
            extract = begin_extract(uow, asked.record(), requester(caller))
    except Refused as refused:
        # The requests before it stay done.
        return Written(problem=refused.problems[0])
    try:
        batches = list(_batches(organisation, access, asked, now))
    except Refused as refused:
        with database.transaction(now=organisation.clock(), access=access) as uow:
            fail_extract(uow, extract, "; ".join(map(str, refused.problems)))
    else:
        with database.transaction(now=organisation.clock(), access=access) as uow:
            complete_extract(uow, extract, batches)
    return Written(extract, created=True)


def _batches(
    organisation: Organisation, access: Access, asked: Asked, now: datetime
) -> Iterator[Batch]:
    """The result in batches, all of one moment; each is kept as a file."""
    with organisation.database.rehearsal(now=now, access=access) as uow:
        dialect = dialect_of(uow.catalogue)
        wanted, skipped = _bounds(asked, dialect, now)
        room = LARGEST_RESULT
        for start in range(0, MOST_BATCHES * asked.per_batch, asked.per_batch):
            size = min(asked.per_batch, wanted - start)
            if size <= 0:
                return
            made = _translated(asked, dialect, now)
            statement = made.statement
            statement.set("limit", exp.Limit(expression=exp.Literal.number(size)))
            statement.set("offset", exp.Offset(expression=exp.Literal.number(skipped + start)))
            rows = uow.select(statement).rows
            if rows or start == 0:
                content = _WRITERS[asked.format](asked, made.keys, rows)
                room -= len(content)
                if room < 0:
                    message = f"the result has more than {LARGEST_RESULT:,} bytes; ask for less"
                    raise Refused(Problem("too_large", message, "RequestBody"))
                sha256, _ = organisation.files.keep([content])
                yield Batch(len(rows), sha256)
            if len(rows) < size:
                return
    message = f"has more than {MOST_BATCHES} batches; ask for less, or for larger ones"
    raise Refused(Problem("too_many_batches", message, "RequestBody"))


def _translated(asked: Asked, dialect: Dialect, now: datetime) -> Translated:
    if asked.method == "query":
        return translate(read_query(asked.statement), dialect, now)
    wording = dialect.entity(asked.entity, missing=400)
    query = read_query(f"SELECT Id FROM {wording.name} WHERE {asked.statement}")
    if not asked.columns:
        return listing(wording, dialect, query, now)
    names = [wording.demand(name).name for name in asked.columns]
    chosen = [exp.column(exp.to_identifier(name, quoted=True)) for name in names]
    query.tree.set("expressions", chosen)
    return translate(Query(query.tree, asked.columns), dialect, now)


def _bounds(asked: Asked, dialect: Dialect, now: datetime) -> tuple[int, int]:
    """How many rows the query itself wants at most, and how many it leaves out first."""
    made = _translated(asked, dialect, now)
    offset = made.statement.args.get("offset")
    skipped = 0 if offset is None else int(str(offset.expression.this))
    return (MOST_BATCHES + 1) * asked.per_batch if made.wanted is None else made.wanted, skipped


def _json(_asked: Asked, keys: Sequence[str], rows: Rows) -> bytes:
    return msgspec.json.encode(
        [{key: written(one) for key, one in zip(keys, row, strict=True)} for row in rows]
    )


def _csv(asked: Asked, keys: Sequence[str], rows: Rows) -> bytes:
    text = io.StringIO()
    out = csv.writer(
        text,
        delimiter=asked.delimiter,
        quotechar=asked.qualifier,
        lineterminator=asked.line_end,
    )
    out.writerow(keys)
    out.writerows([written(one) for one in row] for row in rows)
    return text.getvalue().encode()


_WRITERS: Mapping[str, Callable[[Asked, Sequence[str], Rows], bytes]] = {"json": _json, "csv": _csv}
