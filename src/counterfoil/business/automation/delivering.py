"""Events become deliveries, and deliveries are attempted until they arrive or are given up.

An attempt holds the lock of its delivery's row until its outcome is committed: nobody else makes
it meanwhile, and when the process dies in between, the delivery is due as before and the message
is sent again under the same message id. So every message arrives at least once.
"""

import logging
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import cast

from counterfoil.business.automation.entities import DELIVERY
from counterfoil.business.automation.messages import Channels, Message, Outcome
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.retries import next_attempt
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

KEPT = timedelta(days=90)
"""How long events stay after they have happened; their deliveries and keys stay with them."""

REST = timedelta(seconds=5)
"""How long a receiver that failed is left alone, whatever else is due to it."""

_STATE = DELIVERY.field("state")
STATES = _STATE.choices if _STATE else ()
"""What may have become of a delivery."""

_EVENTS_PER_ROUTING = 5000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that was made. ``subscriber`` is ``webhooks/3`` or ``mail-rules/1``."""

    delivery_id: int
    subscriber: str
    event_type: str
    outcome: Outcome
    next_attempt_at: datetime | None


def route_events(database: Database, now: datetime) -> int:
    """Make the deliveries of new events; how many events. Many processes may do so at once.

    Who has subscribed after an event happened does not hear of it.
    """
    with database.transaction(now=now, source="job") as uow:
        rows = uow.query(_NEW_EVENTS, most=_EVENTS_PER_ROUTING)
        ids = [row["id"] for row in rows]
        if ids:
            uow.execute(_ROUTE, ids=ids, now=uow.now)
            uow.execute(
                "UPDATE outgoing_event SET state = 'routed', updated_at = :now"
                " WHERE id = ANY(:ids)",
                ids=ids,
                now=uow.now,
            )
        return len(ids)


_NEW_EVENTS = """
SELECT id FROM outgoing_event WHERE state = 'new' ORDER BY occurred_at, id LIMIT :most
FOR UPDATE SKIP LOCKED
"""

_ROUTE = """
WITH subscriber AS (
    SELECT id AS webhook_id, CAST(NULL AS bigint) AS mail_rule_id, event_types, created_at
    FROM webhook WHERE active
    UNION ALL
    SELECT NULL, id, event_types, created_at FROM mail_rule WHERE active
)
INSERT INTO delivery (created_at, updated_at, row_version, event_id, subscriber, webhook_id,
                      mail_rule_id, state, attempts, failures, next_attempt_at)
SELECT :now, :now, 1, e.id,
       coalesce('webhooks/' || s.webhook_id, 'mail-rules/' || s.mail_rule_id), s.webhook_id,
       s.mail_rule_id, 'pending', 0, 0, :now
FROM outgoing_event e JOIN subscriber s ON s.created_at <= e.occurred_at
     AND (jsonb_exists(s.event_types, e.type) OR jsonb_exists(s.event_types, '*'))
WHERE e.id = ANY(:ids)
ORDER BY e.occurred_at, e.id
ON CONFLICT DO NOTHING
"""


class Courier:
    """Makes the attempts that are due, from any number of threads and processes.

    Within a process at most one attempt to a subscriber is under way, so that a slow receiver
    holds up nobody else and gets its messages in their order, those apart that are tried again.
    """

    def __init__(
        self, database: Database, channels: Channels, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._claiming = Lock()
        self._busy: set[str] = set()
        self._resting: dict[str, datetime] = {}

    def deliver_next(self, avoiding: Collection[str] = ()) -> Attempt | None:
        """Make the attempt that has been due for longest, or None when nothing is due.

        ``avoiding`` names subscribers that get nothing now.
        """
        # The subscriber stays busy until the outcome is committed.
        with ExitStack() as release, ExitStack() as transaction:
            with self._claiming:
                now = self._clock()
                uow = transaction.enter_context(
                    self._database.transaction(now=now, source="job", actor="outbox")
                )
                due = _claim(uow, {*avoiding, *self._avoided(now)})
                if due is None:
                    return None
                subscriber = str(due["subscriber"])
                self._busy.add(subscriber)
                release.callback(self._busy.discard, subscriber)
            attempt = _attempt(uow, self._channels, due)
            if attempt.outcome.error:
                with self._claiming:
                    self._resting[subscriber] = now + REST
            return attempt

    def deliver_due(self) -> list[Attempt]:
        """Make everything that is due now; a receiver that fails is tried once."""
        made: list[Attempt] = []
        failed: set[str] = set()
        while route_events(self._database, self._clock()):
            pass
        while (attempt := self.deliver_next(failed)) is not None:
            made.append(attempt)
            if attempt.outcome.error:
                failed.add(attempt.subscriber)
        return made

    def step(self) -> bool:
        """Route what is new, or make one attempt; False when there is nothing to do."""
        if self.deliver_next() is not None:
            return True
        return route_events(self._database, self._clock()) > 0

    def _avoided(self, now: datetime) -> set[str]:
        self._resting = {who: until for who, until in self._resting.items() if until > now}
        return self._busy | self._resting.keys()


# One look into the index per subscriber, however much waits for each.
_DUE_SUBSCRIBERS = """
SELECT s.* FROM (
    SELECT 'webhooks/' || id AS subscriber, url, secret, CAST(NULL AS text) AS email
    FROM webhook WHERE active
    UNION ALL
    SELECT 'mail-rules/' || id, NULL, NULL, email FROM mail_rule WHERE active
) s CROSS JOIN LATERAL (
    SELECT d.next_attempt_at, d.id FROM delivery d
    WHERE d.subscriber = s.subscriber AND d.state = 'pending' AND d.next_attempt_at <= :now
    ORDER BY d.next_attempt_at, d.id LIMIT 1
) due
WHERE s.subscriber <> ALL(CAST(:avoided AS text[]))
ORDER BY due.next_attempt_at, due.id
"""

_CLAIM = """
SELECT d.id, d.failures, d.webhook_id, e.type, e.message_id, e.subject, e.occurred_at, e.data
FROM delivery d JOIN outgoing_event e ON e.id = d.event_id
WHERE d.subscriber = :subscriber AND d.state = 'pending' AND d.next_attempt_at <= :now
ORDER BY d.next_attempt_at, d.id LIMIT 1
FOR UPDATE OF d SKIP LOCKED
"""


def _claim(uow: UnitOfWork, avoided: Collection[str]) -> Record | None:
    """The delivery that has been due for longest, locked, with its event and its subscriber."""
    subscribers = uow.query(_DUE_SUBSCRIBERS, now=uow.now, avoided=sorted(avoided))
    # Mostly the first one answers; others are asked when another process has all that is due.
    for subscriber in subscribers:
        rows = uow.query(_CLAIM, now=uow.now, subscriber=subscriber["subscriber"])
        if rows:
            return subscriber | rows[0]
    return None


def _attempt(uow: UnitOfWork, channels: Channels, due: Record) -> Attempt:
    message = Message(
        due["message_id"], due["type"], due["subject"], due["occurred_at"], due["data"]
    )
    began = time.monotonic()
    try:
        if due["webhook_id"] is None:
            outcome = channels.mail.mail(due["email"], message, uow.now)
        else:
            outcome = channels.webhooks.post(due["url"], due["secret"], message, uow.now)
    except Exception as fault:  # noqa: BLE001 - one message must not stop all others
        # Only the kind of the fault: its text may hold what was sent.
        log.error("delivery %s failed by %s", due["id"], type(fault).__name__)  # noqa: TRY400
        outcome = Outcome(f"failed here by {type(fault).__name__}")
    milliseconds = round((time.monotonic() - began) * 1000)
    failures = cast("int", due["failures"]) + bool(outcome.error)
    again = None
    if outcome.error and not outcome.gone:
        again = next_attempt(failures, uow.now)
    _record(uow, due, outcome, failures, milliseconds, again)
    return Attempt(due["id"], str(due["subscriber"]), due["type"], outcome, again)


def _record(
    uow: UnitOfWork,
    due: Record,
    outcome: Outcome,
    failures: int,
    milliseconds: int,
    again: datetime | None,
) -> None:
    state = "pending" if again else "failed" if outcome.error else "delivered"
    uow.execute(
        _RECORD,
        id=due["id"],
        now=uow.now,
        state=state,
        failures=failures,
        again=again,
        delivered=None if outcome.error else uow.now,
        status=outcome.status_code,
        error=outcome.error or None,
        response=outcome.response or None,
        milliseconds=milliseconds,
    )
    if outcome.gone:
        uow.execute(
            "UPDATE webhook SET active = false, updated_at = :now, row_version = row_version + 1"
            " WHERE id = :id",
            id=due["webhook_id"],
            now=uow.now,
        )


_RECORD = """
WITH recorded AS (
    UPDATE delivery SET state = :state, attempts = attempts + 1, failures = :failures,
           next_attempt_at = :again, status_code = :status, error = :error,
           delivered_at = coalesce(CAST(:delivered AS timestamptz), delivered_at),
           updated_at = :now, row_version = row_version + 1
    WHERE id = :id
    RETURNING id, attempts, next_attempt_at
)
INSERT INTO delivery_attempt (created_at, updated_at, row_version, delivery_id, attempt,
    attempted_at, milliseconds, status_code, error, response, next_attempt_at)
SELECT :now, :now, 1, id, attempts, :now, :milliseconds, CAST(:status AS bigint),
       CAST(:error AS text), CAST(:response AS text), next_attempt_at
FROM recorded
"""


def replay_delivery(uow: UnitOfWork, delivery_id: int) -> Record:
    """Make a delivery due again, whatever became of it, under its message id; the record.

    Refuses (404) an unknown one. Waits for an attempt that is under way.
    """
    uow.get("delivery", delivery_id)
    uow.execute(
        "UPDATE delivery SET state = 'pending', failures = 0, next_attempt_at = :now,"
        " updated_at = :now, row_version = row_version + 1 WHERE id = :id",
        id=delivery_id,
        now=uow.now,
    )
    return uow.get("delivery", delivery_id)


def prune_events(database: Database, now: datetime) -> int:
    """Delete events older than KEPT with their deliveries, but none that is still to be told."""
    with database.transaction(now=now, source="job") as uow:
        return uow.execute(
            "DELETE FROM outgoing_event e WHERE state = 'routed' AND occurred_at < :before AND"
            " NOT EXISTS (SELECT 1 FROM delivery d LEFT JOIN webhook w ON w.id = d.webhook_id"
            " LEFT JOIN mail_rule m ON m.id = d.mail_rule_id WHERE d.event_id = e.id"
            " AND d.state = 'pending' AND coalesce(w.active, m.active))",
            before=now - KEPT,
        )


def list_deliveries(uow: UnitOfWork, *, state: str | None = None, limit: int = 50) -> list[Record]:
    """The newest deliveries with what they are about and who gets them.

    Refuses (422) an unknown state, naming the allowed ones.
    """
    if state is not None and state not in STATES:
        raise Refused(Problem("unknown_value", f"unknown state {state!r}", "state", STATES))
    return uow.query(
        "SELECT d.id, d.state, e.type, e.subject, coalesce(w.external_id, m.external_id) AS"
        " subscriber, d.attempts, d.status_code, d.error, d.next_attempt_at, e.message_id"
        " FROM delivery d JOIN outgoing_event e ON e.id = d.event_id"
        " LEFT JOIN webhook w ON w.id = d.webhook_id"
        " LEFT JOIN mail_rule m ON m.id = d.mail_rule_id"
        f"{'' if state is None else ' WHERE d.state = :state'} ORDER BY d.id DESC LIMIT :limit",
        **({} if state is None else {"state": state}),
        limit=limit,
    )
