"""The events of a charge that counts with others, each with what it added.

What an event of a pool costs follows from where it stands in the line of all its events, so the
whole cycle is rated again, at the prices it was billed at, and one charge's events are shown.
"""

from datetime import timedelta

import pyarrow as pa

from counterfoil.business.billing.formula_levels import look_at_level
from counterfoil.business.billing.rating import find_needs
from counterfoil.business.billing.window import Window, rate_window
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.rating.quantities import EventSource
from counterfoil.platform.engine.duck import small_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

# Events are numbered here as core.rating.events numbers them.
_EVENTS = """
WITH line AS (
    SELECT e.item_id, u.source, u.event_id, u.time, u.batch_id, u.line, u.quantity,
           row_number() OVER (ORDER BY u.time, u.source, u.event_id) AS event_no
    FROM {events}
    WHERE e.by_event
)
SELECT l.source, l.event_id, l.time, l.batch_id, l.line, w.attributes, l.quantity,
       p.list_after - p.list_before AS billed_quantity,
       c.gross + coalesce(x.amount, 0) AS exact_amount,
       coalesce(c.list_gross, c.gross) + coalesce(x.amount, 0) AS list_amount
FROM line l
JOIN position p ON p.event_no = l.event_no AND p.item_id = l.item_id
JOIN priced c USING (position_id)
LEFT JOIN event_amount x USING (position_id)
JOIN due_item i ON i.item_id = l.item_id
JOIN usage w ON w.source = l.source AND w.event_id = l.event_id
ORDER BY l.event_no
"""


def pooled_events(
    uow: UnitOfWork, store: UsageStore, rated_charge: Record, invoice: Record
) -> pa.Table:
    """Every usage event of the cycle of a rated charge that goes by event.

    ``invoice`` is the one it was billed with. Columns: source, event_id, time TIMESTAMP
    (UTC), batch_id, line, attributes, quantity DECIMAL(38,15) in meter units, billed_quantity
    DECIMAL(38,15) in priced units, exact_amount and list_amount, in order of time.
    """
    start, end = rated_charge["cycle_start"], rated_charge["cycle_end"]
    item = (
        f"subscription_charge_id = {int(rated_charge['subscription_charge_id'])} "
        f"AND cycle_start = DATE '{start.isoformat()}'"
    )
    with small_engine() as engine:
        rate_window(
            uow,
            engine,
            store,
            [invoice["account_id"]],
            Window(start, end),
            today=end + timedelta(days=1),
            items=item,
            as_billed=True,
            as_of=invoice["usage_segment_seen"],
        )
        look_at_level(engine, rated_charge["subscription_charge_id"])
        source = EventSource(attributes=bool(find_needs(engine).attributes))
        return engine.arrow(_EVENTS.format(events=source.events_in_epochs))
