"""An extract is pending, then complete or failed, and its result is for who asked for it."""

from datetime import UTC, datetime

import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.extracts.requests import (
    Batch,
    batches_of,
    begin_extract,
    complete_extract,
    fail_extract,
)
from counterfoil.platform.metadata.access import NO_ACCESS
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ASKED = {"name": "all", "method": "query", "statement": "SELECT Id FROM ACCOUNT"}


def refused(database: Database, extract: int, actor: str) -> tuple[str, int]:
    with database.transaction(now=NOW, actor=actor, access=NO_ACCESS) as uow:
        with pytest.raises(Refused) as caught:
            batches_of(uow, extract, actor)
        return caught.value.problems[0].code, caught.value.status


def test_a_result_in_two_batches(database: Database) -> None:
    with database.transaction(now=NOW, actor="ann", access=NO_ACCESS) as uow:
        extract = begin_extract(uow, ASKED, "ann")
    assert refused(database, extract, "ann") == ("not_complete", 409)
    with database.transaction(now=NOW, actor="ann", access=NO_ACCESS) as uow:
        complete_extract(uow, extract, [Batch(3, "a" * 64), Batch(1, "b" * 64)])
        found = batches_of(uow, extract, "ann")
    assert [(row["position"], row["records"], row["sha256"][0]) for row in found] == [
        (1, 3, "a"),
        (2, 1, "b"),
    ]
    with database.transaction(now=NOW) as uow:
        record = uow.get("extract", extract)
        assert (record["status"], record["records"], record["requested_by"]) == (
            "complete",
            4,
            "ann",
        )
        assert len(batches_of(uow, extract, "admin")) == 2


def test_to_others_it_is_not_there(database: Database) -> None:
    with database.transaction(now=NOW, actor="ann", access=NO_ACCESS) as uow:
        extract = begin_extract(uow, ASKED, "ann")
        complete_extract(uow, extract, [])
    assert refused(database, extract, "bob") == ("unknown_record", 404)
    assert refused(database, extract + 1, "bob") == ("unknown_record", 404)


def test_why_it_failed_is_kept(database: Database) -> None:
    with database.transaction(now=NOW, actor="ann") as uow:
        extract = begin_extract(uow, ASKED, "ann")
        fail_extract(uow, extract, "x" * 3000)
        assert uow.get("extract", extract)["message"] == "x" * 2000
    assert refused(database, extract, "ann") == ("not_complete", 409)
