"""The outbox: what others want to hear of, written in the transaction of what has happened.

An event is there if and only if the change is. Nothing is sent from here: whoever delivers reads
the events later (``business/automation``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from counterfoil.platform.records.exact_json import plain
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class EventType:
    """A kind of event: its name, such as ``invoice.finalized``, and when it happens."""

    name: str
    help: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that has happened; of an event type's happenings with one key one is told.

    ``subject`` is the path of a record below the REST root (``invoices/17``). In ``data`` go plain
    values; decimals become text as in REST.
    """

    key: str
    subject: str
    data: Mapping[str, object]


# A message id has to be unique even after a database was restored from a copy.
_EMIT = """
INSERT INTO outgoing_event (created_at, updated_at, row_version, type, key, message_id, subject,
                            occurred_at, data, state)
SELECT :now, :now, 1, CAST(:event_type AS text), happened.key,
       'evt_' || replace(CAST(gen_random_uuid() AS text), '-', ''), happened.subject, :now,
       happened.data, 'new'
FROM ({select}) AS happened
WHERE {condition}
ON CONFLICT (type, key) DO NOTHING
"""

_GIVEN = """
SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given(key text, subject text, data jsonb)
"""

_LISTENED = """
EXISTS (SELECT 1 FROM (SELECT active, event_types FROM webhook
                       UNION ALL SELECT active, event_types FROM mail_rule) AS subscriber
        WHERE active AND (jsonb_exists(event_types, :event_type) OR jsonb_exists(event_types, '*')))
"""


def emit(
    uow: UnitOfWork, event_type: EventType, *, key: str, subject: str, data: Mapping[str, object]
) -> bool:
    """Tell that something has happened, once: False when this type and key were told before."""
    return emit_many(uow, event_type, [Happening(key, subject, data)]) > 0


def emit_many(uow: UnitOfWork, event_type: EventType, happenings: Sequence[Happening]) -> int:
    """Tell several with one statement; the number of those not told before.

    They are kept whether or not somebody listens, so that each is told once, however often and
    whenever it is found.
    """
    rows = [{"key": one.key, "subject": one.subject, "data": one.data} for one in happenings]
    encoded = msgspec.json.encode(plain(rows)).decode()
    statement = _EMIT.format(select=_GIVEN, condition="true")
    return uow.execute(statement, now=uow.now, event_type=event_type.name, rows=encoded)


def emit_from(uow: UnitOfWork, event_type: EventType, select: str, **parameters: object) -> int:
    """Tell many events at once, when somebody listens; the number of those not told before.

    ``select`` gives the columns key (text), subject (text) and data (jsonb, decimals as text);
    its ``:name`` parameters must not be ``now`` or ``event_type``. Where nobody listens nothing
    is written: who subscribes later does not hear of it anyway.
    """
    statement = _EMIT.format(select=select, condition=_LISTENED)
    return uow.execute(statement, now=uow.now, event_type=event_type.name, **parameters)
