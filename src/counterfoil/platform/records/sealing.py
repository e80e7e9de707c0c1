"""The seal on the history: a chain of hashes that makes tampering evident.

Writers know nothing of it, so they never wait for each other. What they have committed is sealed
later, in batches: each change gets a link, the SHA-256 of the link before it and of the change.
Transactions end in another order than their changes have ids. So a seal takes the changes of all
transactions before the oldest one still running, and remembers which ids were given by then: no
smaller id can come any more, and one that does was not written by this program.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from counterfoil.platform.metadata import Record
from counterfoil.platform.records.arrow_copy import copy_table
from counterfoil.platform.records.unit_of_work import UnitOfWork

BATCH = 20_000
"""Changes read at a time."""

BEGINNING = bytes(32)
"""What the first link is chained to."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('seal of the history', 0))"

# The sequence is read in a statement of its own, before the snapshot: see _floor.
_GIVEN = "SELECT coalesce(pg_sequence_last_value('record_change_id_seq'), 0) AS last_id"
_SNAPSHOT = """
SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS horizon,
       CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS next_transaction
"""
_CONTENT = """
CAST(jsonb_build_array(change.id, change.at, change.actor, change.source, change.request_id,
                       change.entity, change.record_id, change.action, change.row_version,
                       change.catalogue_version, change.transaction_id, change.changes) AS text)
"""
_UNSEALED = f"""
SELECT change.id, {_CONTENT} AS content FROM record_change AS change
WHERE change.id > :after
  AND (change.transaction_id < :horizon OR change.transaction_id >= :next_transaction)
  AND NOT EXISTS (SELECT 1 FROM history_link
                  WHERE change_id = change.id AND change_id > :after)
ORDER BY change.id LIMIT :batch
"""
_LINKS = f"""
SELECT link.position, link.change_id, link.hash, change.id, {_CONTENT} AS content
FROM history_link AS link LEFT JOIN record_change AS change ON change.id = link.change_id
WHERE link.position > :after ORDER BY link.position LIMIT :batch
"""
_INTRUDER = """
SELECT min(change.id) AS id FROM record_change AS change
WHERE change.id <= :floor
  AND NOT EXISTS (SELECT 1 FROM history_link WHERE change_id = change.id)
"""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found: sealed changes that are as they were, and the first that is not.

    ``head`` is the last link (hexadecimal): kept elsewhere, it proves later that what was sealed
    by then was not sealed anew. ``broken`` is the id of a change, ``fault`` says what is wrong.
    """

    sealed: int
    head: str
    broken: int | None = None
    fault: str = ""


def seal_history(uow: UnitOfWork) -> int:
    """Seal what is committed and not sealed yet; the number of changes. One at a time."""
    uow.query(_LOCK)
    seals = uow.query("SELECT * FROM history_seal ORDER BY id")
    last_id = uow.query(_GIVEN)[0]["last_id"]
    snapshot = uow.query(_SNAPSHOT)[0]
    last: Record = seals[-1] if seals else {"position": 0, "hash": BEGINNING, "horizon": 0}
    # In another server, from a copy, transactions are numbered anew: then the horizon is behind,
    # and changes have numbers that are not given yet.
    floor = _floor(seals, min(last["horizon"], snapshot["horizon"]))
    position, link = last["position"], bytes(last["hash"])
    after, sealed = floor, 0
    while rows := uow.query(_UNSEALED, after=after, batch=BATCH, **snapshot):
        links = []
        for row in rows:
            link = _next_link(link, row["content"])
            links.append(link)
        _write_links(uow, position, [row["id"] for row in rows], links)
        position, after, sealed = position + len(rows), rows[-1]["id"], sealed + len(rows)
    if sealed or _floor(seals, snapshot["horizon"]) > floor:
        uow.execute(
            "INSERT INTO history_seal"
            " (sealed_at, horizon, next_transaction, last_id, position, hash)"
            " VALUES (:now, :horizon, :next_transaction, :last_id, :position, :hash)",
            now=uow.now,
            last_id=last_id,
            position=position,
            hash=link,
            **snapshot,
        )
    return sealed


def verify_history(uow: UnitOfWork, head: str | None = None) -> Verification:
    """Go along the whole chain and name the first change that is not as it was sealed.

    ``head`` is the last link of an earlier verification, which has to be in the chain.
    """
    seals = uow.query("SELECT * FROM history_seal ORDER BY id")
    heads = {seal["position"]: bytes(seal["hash"]) for seal in seals}
    link, position = BEGINNING, 0
    is_known = head is None or head == link.hex()
    for row in _links(uow):
        position += 1
        if row["position"] != position:
            return Verification(
                position - 1, link.hex(), row["change_id"], "the link before it is gone"
            )
        if row["id"] is None:
            return Verification(position - 1, link.hex(), row["change_id"], "it was deleted")
        link = _next_link(link, row["content"])
        if link != bytes(row["hash"]) or heads.get(position, link) != link:
            return Verification(position - 1, link.hex(), row["change_id"], "it was changed")
        is_known = is_known or link.hex() == head
    found = Verification(position, link.hex())
    if seals and seals[-1]["position"] != position:
        return Verification(position, link.hex(), None, "the last links are gone")
    if seals:
        last = seals[-1]
        intruder = uow.query(_INTRUDER, floor=_floor(seals, last["horizon"]))[0]["id"]
        if intruder is not None:
            return Verification(position, link.hex(), intruder, "it was inserted later")
    if not is_known:
        return Verification(position, link.hex(), None, "the whole chain was made anew")
    return found


def _floor(seals: list[Record], horizon: int) -> int:
    """The id up to which all changes are sealed, when all transactions before that have ended.

    A seal that was made before any transaction from the horizon on began knows all ids that could
    have been given to others: a transaction has its number before its changes get their ids.
    """
    return max(
        (seal["last_id"] for seal in seals if seal["next_transaction"] <= horizon), default=0
    )


def _links(uow: UnitOfWork) -> Iterator[Record]:
    after = 0
    while rows := uow.query(_LINKS, after=after, batch=BATCH):
        yield from rows
        after = rows[-1]["position"]


def _next_link(link: bytes, content: str) -> bytes:
    return hashlib.sha256(link + content.encode()).digest()


def _write_links(uow: UnitOfWork, position: int, ids: list[int], links: list[bytes]) -> None:
    table = pa.table(
        {
            "position": pa.array(range(position + 1, position + 1 + len(ids)), pa.int64()),
            "change_id": pa.array(ids, pa.int64()),
            "hash": pa.array(["\\x" + link.hex() for link in links], pa.string()),
        }
    )
    copy_table(uow.driver, "history_link", table)
