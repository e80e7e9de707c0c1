"""Enqueuing: a job is there if and only if the transaction that has asked for it is committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from counterfoil.core.periods.zones import zone
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Access, JobKind, Record
from counterfoil.platform.records.exact_json import decode_json, encode_json, plain
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Request:
    """One job that is asked for: its payload, its key, and when it may be done at the earliest.

    ``origin`` tells what has asked (``rules/won``), else it is the source of the unit of work;
    ``time_zone`` says which calendar the job goes by.

    While a job of the kind with the ``key`` waits, there is no second one: that one is due at the
    earlier of both times. While it runs, it is run once more afterwards. The newest payload holds.
    """

    kind: JobKind | str
    payload: Mapping[str, object]
    key: str | None = None
    not_before: datetime | None = None
    origin: str | None = None
    time_zone: str = "UTC"


KEPT_KEYS = ("rules/", "job-schedules/")
"""How the keys of jobs begin that rules and schedules ask for."""

# Taking hold of a job that waits keeps workers from it until the caller's changes are there.
_ENQUEUE = """
INSERT INTO job (id, created_at, updated_at, row_version, kind, key, open_key, payload, state,
                 due_at, time_zone, origin, enqueued_by, depth, attempts, failures)
SELECT given.id, :now, :now, 1, given.kind, given.key, given.key, given.payload, 'waiting',
       given.due_at, given.time_zone, given.origin, :actor, :depth, 0, 0
FROM jsonb_to_recordset(CAST(:rows AS jsonb))
     AS given(id bigint, kind text, key text, payload jsonb, due_at timestamptz, time_zone text,
              origin text)
ORDER BY given.kind, given.key
ON CONFLICT (kind, open_key) DO UPDATE SET
    due_at = CASE job.state WHEN 'waiting' THEN least(job.due_at, excluded.due_at)
                            ELSE job.due_at END,
    again_at = CASE job.state WHEN 'running' THEN least(job.again_at, excluded.due_at) END,
    payload = excluded.payload, time_zone = excluded.time_zone, origin = excluded.origin,
    enqueued_by = excluded.enqueued_by, depth = greatest(job.depth, excluded.depth),
    updated_at = :now, row_version = job.row_version + 1
WHERE :replacing OR (job.payload, job.time_zone, job.origin, job.enqueued_by)
                  = (excluded.payload, excluded.time_zone, excluded.origin, excluded.enqueued_by)
RETURNING id, kind, open_key
"""


def enqueue(
    uow: UnitOfWork,
    kind: JobKind | str,
    payload: Mapping[str, object],
    *,
    key: str | None = None,
    not_before: datetime | None = None,
    origin: str | None = None,
    time_zone: str = "UTC",
) -> int:
    """Ask for a job in the caller's transaction; its id, or that of the open one with the key.

    The parameters are those of :class:`Request`. Refused (422): an unknown kind or time zone, and
    everything that is wrong with the payload.
    """
    return enqueue_many(uow, [Request(kind, payload, key, not_before, origin, time_zone)])[0]


def ask_for_job(uow: UnitOfWork, request: Request, access: Access) -> int:
    """Ask for a job as somebody with this access does; its id, or that of the same one.

    Refused: 403 a kind whose command is not granted, 409 the key of an open job that was asked for
    otherwise or by somebody else, which stays as it is; and what :func:`enqueue` refuses.
    """
    kind = _kind_of(uow, request)
    if not access.may_run(kind.command):
        raise Refused(not_granted(kind), 403)
    if request.key and request.key.startswith(KEPT_KEYS):
        message = f"keys that begin with {' or '.join(KEPT_KEYS)} are kept for rules and schedules"
        raise Refused(Problem("kept_key", message, "key"))
    return enqueue_many(uow, [request], replacing=False)[0]


def not_granted(kind: JobKind) -> Problem:
    """That somebody may not have such jobs done."""
    message = f"your roles do not let you ask for {kind.name}"
    return Problem("not_granted", message, "kind")


def enqueue_many(
    uow: UnitOfWork, requests: Sequence[Request], *, replacing: bool = True
) -> list[int]:
    """Ask for many jobs with one statement; their ids in order of the requests.

    Unless ``replacing``, refused (409): the key of an open job that was asked for otherwise.
    """
    if not requests:
        return []
    whole = uow.unrestricted()
    ids = whole.allocate_ids("job", len(requests))
    rows: dict[object, Record] = {}
    places: list[object] = []
    for fresh, request in zip(ids, requests, strict=True):
        row = {**_row(whole, request), "id": fresh}
        place = (row["kind"], row["key"]) if row["key"] else fresh
        if place in rows:
            row["due_at"] = min(row["due_at"], rows[place]["due_at"])
        rows[place] = row
        places.append(place)
    found = whole.query(
        _ENQUEUE,
        now=whole.now,
        actor=uow.actor,
        depth=uow.depth,
        rows=encode_json(list(rows.values())),
        replacing=replacing,
    )
    kept = {(row["kind"], row["open_key"]): cast("int", row["id"]) for row in found}
    for asked in rows.values():
        if asked["key"] and (asked["kind"], asked["key"]) not in kept:
            raise _another_stands(whole, asked)
    return [
        kept[place] if isinstance(place, tuple) else fresh
        for place, fresh in zip(places, ids, strict=True)
    ]


_OPEN = """
SELECT id, payload, time_zone, origin = :origin AND enqueued_by = :actor AS own
FROM job WHERE kind = :kind AND open_key = :key
"""


def _another_stands(uow: UnitOfWork, row: Record) -> Refused:
    """Why a job is left as it is that has the key of one that is asked for now."""
    names = {"kind": row["kind"], "key": row["key"], "origin": row["origin"], "actor": uow.actor}
    (stands,) = uow.query(_OPEN, **names)
    payload = decode_json(encode_json(row["payload"]))
    differs = {
        "who has asked for it": not stands["own"],
        "payload": stands["payload"] != payload,
        "time_zone": stands["time_zone"] != row["time_zone"],
    }
    what = ", ".join(name for name, so in differs.items() if so)
    message = f"job {stands['id']} with this key is still open, and differs by: {what}"
    return Refused(Problem("other_job", message, "key"), 409)


def _kind_of(uow: UnitOfWork, request: Request) -> JobKind:
    stated = request.kind
    return uow.catalogue.job_kind(stated if isinstance(stated, str) else stated.name)


def _row(uow: UnitOfWork, request: Request) -> Record:
    kind = _kind_of(uow, request)
    payload = kind.read_payload(request.payload)
    return {
        "kind": kind.name,
        "key": request.key or None,
        "payload": {name: plain(value) for name, value in payload.items() if value is not None},
        "due_at": max(request.not_before or uow.now, uow.now),
        "time_zone": zone(request.time_zone).key,
        "origin": request.origin or uow.source,
    }
