"""Approvals: a new value of a field waits until somebody else has decided.

The field keeps what it had. Once approved, the value is written like any other, and the rule lets
it pass because there is an approval of just this value that was not applied yet.
"""

from collections.abc import Sequence

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.metadata.rules import Rule
from counterfoil.platform.outbox.emitting import EventType, Happening, emit_many
from counterfoil.platform.records.exact_json import decode_json, encode_json, plain
from counterfoil.platform.records.unit_of_work import UnitOfWork

APPROVAL_REQUESTED = EventType(
    "approval.requested", "A new value waits until somebody approves it."
)

ASKED = " asked"
"""Under this name, which no field has, a row carries what has to be approved until it is kept."""

_OPEN = """
SELECT record_id, state, requested FROM approval
WHERE rule = :rule AND entity = :entity AND field = :field AND record_id = ANY(:ids)
  AND (state = 'pending' OR (state = 'approved' AND NOT applied))
"""


def hold_back(uow: UnitOfWork, rule: Rule, rows: Sequence[tuple[Record, Record | None]]) -> None:
    """Take new values that nobody has approved out of the rows, each with its old row."""
    stated = rule.stated
    name = stated.field
    changed = [
        (row, None if old is None else old[name])
        for row, old in rows
        if row[name] is not None and (old is None or row[name] != old[name])
    ]
    if not changed:
        return
    ids = [row["id"] for row, _ in changed]
    found = uow.query(_OPEN, rule=stated.name, entity=stated.entity, field=name, ids=ids)
    known = {(one["record_id"], one["state"], encode_json(one["requested"])) for one in found}
    for row, before in changed:
        requested = encode_json(_requested(row[name]))
        if (row["id"], "approved", requested) in known:
            continue
        if (row["id"], "pending", requested) not in known:
            row.setdefault(ASKED, []).append(
                {
                    "rule": stated.name,
                    "entity": stated.entity,
                    "record_id": row["id"],
                    "field": name,
                    "requested": _requested(row[name]),
                    "requested_by": uow.actor,
                    "state": "pending",
                }
            )
        row[name] = before


def _requested(value: object) -> object:
    """The value as the document that keeps it."""
    return decode_json(encode_json({"value": plain(value)}))


def ask(uow: UnitOfWork, requests: Sequence[Record]) -> None:
    """Keep what has to be approved, and tell of it."""
    if not requests:
        return
    ids = uow.create_many("approval", requests, by_command=True)
    happenings = [
        Happening(
            key=str(made),
            subject=f"approvals/{made}",
            data={
                "approval_id": made,
                "rule": request["rule"],
                "entity": request["entity"],
                "id": request["record_id"],
                "field": request["field"],
                "value": request["requested"]["value"],
                "requested_by": request["requested_by"],
            },
        )
        for made, request in zip(ids, requests, strict=True)
    ]
    emit_many(uow, APPROVAL_REQUESTED, happenings)


def decide(
    uow: UnitOfWork, approval_id: int, *, approved: bool, comment: str | None = None
) -> Record:
    """Approve or reject; what is approved is written at once, and the whole answer is refused
    when that is.

    Refused: 404 unknown, 409 decided already, 403 who has asked decides nothing.
    """
    whole = uow.unrestricted()
    whole.query("SELECT id FROM approval WHERE id = :id FOR UPDATE", id=approval_id)
    kept = whole.get("approval", approval_id)
    if kept["state"] != "pending":
        raise Refused(Problem("decided_already", f"is {kept['state']} already", "state"), 409)
    if kept["requested_by"] == uow.actor:
        message = "somebody else than who has asked for it has to decide"
        raise Refused(Problem("not_granted", message, "requested_by"), 403)
    decision: Record = {
        "state": "approved" if approved else "rejected",
        "decided_by": uow.actor,
        "decided_at": uow.now,
        "comment": comment,
    }
    whole.update_many("approval", [(approval_id, decision)], by_command=True)
    if approved:
        requested: Record = {kept["field"]: kept["requested"]["value"]}
        whole.by_rule().update_many(
            kept["entity"], [(kept["record_id"], requested)], by_command=True
        )
        whole.update_many("approval", [(approval_id, {"applied": True})], by_command=True)
    return whole.get("approval", approval_id)
