"""Commands of extracts: begun, finished, and their batches found by who asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Batch:
    """A part of a result: how many records, and the SHA-256 of the kept content."""

    records: int
    sha256: str


def begin_extract(uow: UnitOfWork, values: Record, requester: str) -> int:
    """Note down what was asked for, and by whom: only the same gets the result; its id."""
    row = {**values, "requested_by": requester}
    return uow.unrestricted().create_many("extract", [row], by_command=True)[0]


def complete_extract(uow: UnitOfWork, extract: int, batches: Sequence[Batch]) -> None:
    """Note down where the result is."""
    trusted = uow.unrestricted()
    rows = [
        {
            "extract_id": extract,
            "position": place,
            "records": one.records,
            "sha256": one.sha256,
        }
        for place, one in enumerate(batches, start=1)
    ]
    trusted.create_many("extract_batch", rows, by_command=True)
    done = {"status": "complete", "records": sum(one.records for one in batches)}
    trusted.update("extract", extract, {**done, "finished_at": uow.now}, by_command=True)


def fail_extract(uow: UnitOfWork, extract: int, message: str) -> None:
    """Note down why there is no result."""
    failed = {"status": "failed", "message": message[:2000], "finished_at": uow.now}
    uow.unrestricted().update("extract", extract, failed, by_command=True)


def batches_of(uow: UnitOfWork, extract: int, requester: str) -> list[Record]:
    """The batches of an extract, for who asked for it; to others (404) it is not there."""
    trusted = uow.unrestricted()
    found = trusted.find("extract", id=extract)
    mine = found is not None and found["requested_by"] == requester
    if found is None or not (mine or uow.access.unrestricted):
        raise Refused(Problem("unknown_record", f"there is no extract {extract}", "id"), status=404)
    if found["status"] != "complete":
        message = f"is {found['status']}" + (f": {found['message']}" if found["message"] else "")
        raise Refused(Problem("not_complete", message, "id"), status=409)
    filters = [Filter("extract_id", "eq", extract)]
    return trusted.list("extract_batch", filters=filters, sort=("position",), limit=1000).records
