"""Enqueuing: a job is there if and only if the transaction that has asked for it is committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from counterfoil.platform.metadata import JobKind, Record
from counterfoil.platform.records.exact_json import encode_json, plain
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Request:
    """One job that is asked for: its payload, its key, and when it may be done at the earliest.

    While a job of the kind with the ``key`` waits, there is no second one: that one is due at the
    earlier of both times. While it runs, it is run once more afterwards. The newest payload holds.
    """

    payload: Mapping[str, object]
    key: str | None = None
    not_before: datetime | None = None


# Taking hold of a job that waits keeps workers from it until the caller's changes are there.
_ENQUEUE = """
INSERT INTO job (id, created_at, updated_at, row_version, kind, key, open_key, payload, state,
                 due_at, time_zone, origin, enqueued_by, depth, attempts, failures)
SELECT given.id, :now, :now, 1, :kind, given.key, given.key, given.payload, 'waiting', given.due_at,
       :time_zone, :origin, :actor, :depth, 0, 0
FROM jsonb_to_recordset(CAST(:rows AS jsonb))
     AS given(id bigint, key text, payload jsonb, due_at timestamptz)
ORDER BY given.key
ON CONFLICT (kind, open_key) DO UPDATE SET
    due_at = CASE job.state WHEN 'waiting' THEN least(job.due_at, excluded.due_at)
                            ELSE job.due_at END,
    again_at = CASE job.state WHEN 'running' THEN least(job.again_at, excluded.due_at) END,
    payload = excluded.payload, time_zone = excluded.time_zone, origin = excluded.origin,
    enqueued_by = excluded.enqueued_by, depth = greatest(job.depth, excluded.depth),
    updated_at = :now, row_version = job.row_version + 1
RETURNING id, open_key
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

    ``origin`` tells what has asked (``rules/won``), else it is the source of the unit of work.
    Refused (422): an unknown kind, and everything that is wrong with the payload.
    """
    request = Request(payload, key, not_before)
    return enqueue_many(uow, kind, [request], origin=origin, time_zone=time_zone)[0]


def enqueue_many(
    uow: UnitOfWork,
    kind: JobKind | str,
    requests: Sequence[Request],
    *,
    origin: str | None = None,
    time_zone: str = "UTC",
) -> list[int]:
    """Ask for many jobs of a kind with one statement; their ids in order of the requests."""
    if not requests:
        return []
    whole = uow.unrestricted()
    known = whole.catalogue.job_kind(kind if isinstance(kind, str) else kind.name)
    ids = whole.allocate_ids("job", len(requests))
    rows: dict[object, Record] = {}
    for fresh, request in zip(ids, requests, strict=True):
        due_at = max(request.not_before or whole.now, whole.now)
        same = request.key or fresh
        earliest = min(due_at, rows[same]["due_at"]) if same in rows else due_at
        rows[same] = _row(known, fresh, request, earliest)
    found = whole.query(
        _ENQUEUE,
        now=whole.now,
        kind=known.name,
        time_zone=time_zone,
        origin=origin or uow.source,
        actor=uow.actor,
        depth=uow.depth,
        rows=encode_json(list(rows.values())),
    )
    kept = {row["open_key"]: cast("int", row["id"]) for row in found if row["open_key"]}
    return [
        kept[request.key] if request.key else fresh
        for fresh, request in zip(ids, requests, strict=True)
    ]


def _row(kind: JobKind, fresh: int, request: Request, due_at: datetime) -> Record:
    payload = kind.read_payload(dict(request.payload))
    stated = {name: plain(value) for name, value in payload.items() if value is not None}
    return {"id": fresh, "key": request.key or None, "payload": stated, "due_at": due_at}
