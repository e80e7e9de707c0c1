"""Which subscription an identifier stands for, by meter and time.

A usage identifier leads to its subscriptions; a subscription takes usage of the meters of its
usage charges, of each from the start of its ``start_date`` to the start of its ``end_date``
in the time zone of the billing profile by which it is invoiced (UTC where there is none).
"""

from dataclasses import dataclass

import pyarrow as pa

from counterfoil.business.subscriptions.invoicing import invoiced
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.records.unit_of_work import UnitOfWork

_ROUTES = f"""
WITH RECURSIVE {invoiced()},
served AS (
    SELECT DISTINCT sc.subscription_id, m.id AS meter_id, m.external_id AS meter, sc.end_date,
           CASE WHEN sc.start_date IN (s.trial_end, s.billing_start) THEN s.start_date
                ELSE sc.start_date END AS start_date
    FROM subscription_charge sc
    JOIN subscription s ON s.id = sc.subscription_id
    JOIN charge c ON c.id = sc.charge_id AND c.kind = 'usage'
    JOIN meter m ON m.id = c.meter_id
    WHERE sc.end_date IS NULL OR sc.end_date > sc.start_date
)
SELECT i.identifier, s.id AS subscription_id, m.meter_id, m.meter,
       d.start_date, d.end_date, coalesce(p.time_zone, 'UTC') AS time_zone,
       d.start_date::timestamp AT TIME ZONE coalesce(p.time_zone, 'UTC') AS start_time,
       d.end_date::timestamp AT TIME ZONE coalesce(p.time_zone, 'UTC') AS end_time
FROM usage_identifier i
JOIN subscription s ON s.id = i.subscription_id
LEFT JOIN invoiced n ON n.subscription_id = s.id
LEFT JOIN billing_profile p ON p.account_id = n.billed_account_id
LEFT JOIN served m ON m.subscription_id = s.id
CROSS JOIN LATERAL (
    SELECT CASE WHEN m.meter IS NULL THEN s.start_date ELSE m.start_date END AS start_date,
           CASE WHEN m.meter IS NULL THEN s.end_date ELSE m.end_date END AS end_date
) d
WHERE s.end_date IS NULL OR s.end_date > s.start_date
"""

# Where a level is counted, usage may also take something away.
_METERS = """
SELECT id, external_id,
       carried_over OR aggregation IN ('unique_count', 'weighted_sum') AS takes_back
FROM meter
"""

_INTERVALS = """
CREATE OR REPLACE TABLE routes AS
    SELECT identifier, subscription_id, meter_id, meter, start_date, end_date, time_zone,
           start_time::TIMESTAMP AS start_time,
           coalesce(end_time::TIMESTAMP, TIMESTAMP '9999-12-31') AS end_time
    FROM routes_read;
CREATE OR REPLACE TABLE route_identifier AS SELECT DISTINCT identifier FROM routes;
CREATE OR REPLACE TABLE route_meter AS
    SELECT external_id AS meter, id AS meter_id, takes_back FROM meters_read;
CREATE OR REPLACE TABLE route_key AS
    SELECT identifier, meter, min(start_time) AS first_time, max(end_time) AS last_time,
           arg_min(start_date, start_time) AS first_date, arg_max(end_date, end_time) AS last_date,
           any_value(time_zone) AS time_zone
    FROM routes WHERE meter IS NOT NULL GROUP BY ALL;
CREATE OR REPLACE TABLE route_interval AS
    WITH edges AS (
        SELECT identifier, meter, start_time AS edge FROM routes WHERE meter IS NOT NULL
        UNION SELECT identifier, meter, end_time FROM routes WHERE meter IS NOT NULL
    ),
    pieces AS (
        SELECT *, lead(edge) OVER (PARTITION BY identifier, meter ORDER BY edge) AS next_edge
        FROM edges
    )
    SELECT p.identifier, p.meter, p.edge AS start_time, p.next_edge AS end_time,
           min(r.subscription_id) AS subscription_id, min(r.meter_id) AS meter_id,
           count(DISTINCT r.subscription_id) AS subscriptions
    FROM pieces p JOIN routes r ON r.identifier = p.identifier AND r.meter = p.meter
        AND r.start_time <= p.edge AND r.end_time >= p.next_edge
    GROUP BY ALL;
DROP TABLE routes;
"""


@dataclass(frozen=True, slots=True)
class Routing:
    """The routes of all identifiers, as two tables read in one unit of work."""

    routes: pa.Table
    meters: pa.Table


def load_routing(uow: UnitOfWork) -> Routing:
    """Read all routes: two queries, whatever their number."""
    return Routing(uow.read_arrow(_ROUTES), uow.read_arrow(_METERS))


def place_routing(engine: Engine, routing: Routing) -> None:
    """Make the routes the relations that the mapping joins.

    ``route_interval`` has disjoint intervals per (identifier, meter); more than one subscription
    in an interval is an ambiguity the mapping reports.
    """
    engine.register("routes_read", routing.routes)
    engine.register("meters_read", routing.meters)
    engine.run(_INTERVALS)
    engine.unregister("routes_read")
    engine.unregister("meters_read")
