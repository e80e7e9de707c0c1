"""The chain of the history: what was sealed cannot be changed, deleted or added to unnoticed."""

from collections.abc import Callable

import pytest
from tests.platform.records.conftest import NOW

from counterfoil.platform.records.database import Database
from counterfoil.platform.records.sealing import Verification, seal_history, verify_history


@pytest.fixture
def sealed(customers: Database) -> Database:
    """A history of seven sealed changes."""
    with customers.transaction(now=NOW) as uow:
        uow.execute("TRUNCATE history_link, history_seal RESTART IDENTITY")
        ids = uow.create_many("customer", [{"external_id": str(one)} for one in range(5)])
    with customers.transaction(now=NOW) as uow:
        uow.update_many("customer", [(one, {"name": "Acme"}) for one in ids[:2]])
    assert seal(customers) == 7
    return customers


def seal(database: Database) -> int:
    with database.transaction(now=NOW) as uow:
        return seal_history(uow)


def verified(database: Database, head: str | None = None) -> Verification:
    with database.transaction(now=NOW) as uow:
        return verify_history(uow, head)


def tamper(database: Database, sql: str) -> Verification:
    with database.transaction(now=NOW) as uow:
        uow.execute(sql)
    return verified(database)


def test_an_untouched_history_is_whole(sealed: Database) -> None:
    found = verified(sealed)
    assert (found.sealed, found.broken, found.fault) == (7, None, "")
    assert seal(sealed) == 0
    assert verified(sealed) == found
    assert verified(sealed, found.head) == found


@pytest.mark.parametrize(
    "change",
    [
        "changes = jsonb_set(changes, '{name,1}', '\"Other\"')",
        "actor = 'nobody'",
        "at = at + interval '1 second'",
        "source = 'ui'",
        "request_id = 'x'",
        "record_id = 1",
        "row_version = 7",
        "transaction_id = 7",
    ],
)
def test_a_changed_row_is_named(sealed: Database, change: str) -> None:
    found = tamper(sealed, f"UPDATE record_change SET {change} WHERE id = 7")
    assert (found.sealed, found.broken, found.fault) == (6, 7, "it was changed")


def test_a_deleted_row_is_named(sealed: Database) -> None:
    found = tamper(sealed, "DELETE FROM record_change WHERE id = 4")
    assert (found.broken, found.fault) == (4, "it was deleted")


def test_a_row_deleted_with_its_link_is_noticed(sealed: Database) -> None:
    found = tamper(
        sealed,
        "WITH gone AS (DELETE FROM record_change WHERE id = 4)"
        " DELETE FROM history_link WHERE change_id = 4",
    )
    assert (found.broken, found.fault) == (5, "the link before it is gone")


def test_the_last_rows_cannot_go_with_their_links(sealed: Database) -> None:
    found = tamper(
        sealed,
        "WITH gone AS (DELETE FROM record_change WHERE id >= 6)"
        " DELETE FROM history_link WHERE change_id >= 6",
    )
    assert found.fault == "the last links are gone"


def test_an_inserted_row_is_named(sealed: Database) -> None:
    """The id is one that was given to a transaction that was rolled back."""
    with sealed.transaction(now=NOW) as uow:
        uow.query("SELECT nextval('record_change_id_seq') AS id")
        uow.execute("SELECT pg_current_xact_id()")
    for number in range(3):
        with sealed.transaction(now=NOW) as uow:
            uow.create("customer", {"external_id": f"later {number}"})
        seal(sealed)
    assert verified(sealed).broken is None
    found = tamper(
        sealed,
        "INSERT INTO record_change (id, at, actor, source, entity, record_id, action, row_version,"
        " catalogue_version, changes)"
        " SELECT 8, at, 'ada', source, entity, record_id, action, 3, catalogue_version, changes"
        " FROM record_change WHERE id = 7",
    )
    assert (found.broken, found.fault) == (8, "it was inserted later")
    assert seal(sealed) == 0, "and it is never sealed"
    assert verified(sealed).broken == 8


def test_a_chain_made_anew_is_told_from_the_one_known_elsewhere(sealed: Database) -> None:
    head = verified(sealed).head
    with sealed.transaction(now=NOW) as uow:
        uow.execute("UPDATE record_change SET actor = 'nobody' WHERE id = 3")
        uow.execute("TRUNCATE history_link, history_seal RESTART IDENTITY")
    seal(sealed)
    assert verified(sealed).broken is None
    assert verified(sealed, head).fault == "the whole chain was made anew"


def test_who_commits_late_is_sealed_late(sealed: Database) -> None:
    with sealed.transaction(now=NOW) as slow:
        slow.create("customer", {"external_id": "slow"})
        with sealed.transaction(now=NOW) as fast:
            fast.create("customer", {"external_id": "fast"})
        assert seal(sealed) == 0, "the one before it has not ended"
        assert verified(sealed).broken is None
    assert seal(sealed) == 2
    assert (verified(sealed).sealed, verified(sealed).broken) == (9, None)


def test_what_is_rolled_back_is_not_missed(sealed: Database, undone: Callable) -> None:  # type: ignore[type-arg]
    with undone(sealed) as uow:
        uow.create("customer", {"external_id": "undone"})
    with sealed.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "done"})
    assert seal(sealed) == 1
    assert (verified(sealed).sealed, verified(sealed).broken) == (8, None)


def test_a_seal_goes_on_in_a_server_that_numbers_transactions_anew(sealed: Database) -> None:
    """As in a copy that was restored elsewhere: the horizon lies in a future that never was."""
    with sealed.transaction(now=NOW) as uow:
        uow.execute("UPDATE history_seal SET horizon = horizon + 1000000000")
        uow.create("customer", {"external_id": "restored"})
    assert seal(sealed) == 1
    assert (verified(sealed).sealed, verified(sealed).broken) == (8, None)
