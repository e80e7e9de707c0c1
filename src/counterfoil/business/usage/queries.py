"""Read models of the usage room."""

from counterfoil.business.usage.entities import REJECTED_USAGE
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_STATUS = REJECTED_USAGE.field("status")
STATUSES = _STATUS.choices if _STATUS else ()
"""What may have become of a rejected record."""


def list_batches(uow: UnitOfWork, limit: int = 50) -> list[Record]:
    """The newest batches with the external id of their collector."""
    return uow.query(
        "SELECT b.*, c.external_id AS collector FROM usage_batch b "
        "JOIN collector c ON c.id = b.collector_id ORDER BY b.id DESC LIMIT :limit",
        limit=limit,
    )


def list_rejected(
    uow: UnitOfWork,
    *,
    status: str = "open",
    reason: str | None = None,
    batch_id: int | None = None,
    limit: int = 50,
) -> list[Record]:
    """Rejected records with the name of the file they came in, in order of their ids.

    Refuses (422) an unknown status, naming the allowed ones.
    """
    if status not in STATUSES:
        problem = Problem("unknown_value", f"unknown status {status!r}", "status", STATUSES)
        raise Refused(problem)
    conditions = ["r.status = :status"]
    chosen: dict[str, object] = {"status": status}
    if reason is not None:
        conditions.append("r.reason = :reason")
        chosen["reason"] = reason
    if batch_id is not None:
        conditions.append("r.batch_id = :batch")
        chosen["batch"] = batch_id
    return uow.query(
        "SELECT r.*, b.file_name FROM rejected_usage r JOIN usage_batch b ON b.id = r.batch_id "
        f"WHERE {' AND '.join(conditions)} ORDER BY r.id LIMIT :limit",
        **chosen,
        limit=limit,
    )
