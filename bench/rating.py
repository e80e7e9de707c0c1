"""Events rated per second, against bare SQL written by hand for the same job.

One month of call records of many subscriptions: per-event minimum and rounding up to the minute,
three price layers that change inside the month, 100 included minutes, graduated tiers, amounts
rounded half-up to the cent. Both sides read the same Parquet files and must arrive at the same
totals.
"""

import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from counterfoil.core.rating.relations import BILLED_USAGE
from counterfoil.core.rating.statements import Needs, price_statements, rating_statements
from counterfoil.platform.engine.duck import Engine, open_engine

EVENTS_PER_SUBSCRIPTION = 200
METERS = 4

_EVENTS = """
COPY (
    SELECT 'bench' AS source, 'e' || i AS event_id,
           TIMESTAMP '2026-10-01' + to_seconds(CAST(hash(i, 1) % 2678400 AS BIGINT)) AS time,
           CAST(i * 7919 % {subscriptions} + 1 AS BIGINT) AS subscription_id,
           CAST(i // {subscriptions} % {meters} + 1 AS BIGINT) AS meter_id,
           CAST(hash(i, 4) % 3600 + 1 AS DECIMAL(38,15)) AS quantity,
           1::BIGINT AS batch_id, i AS line, '{{}}' AS attributes,
           CAST(quantity * 1000000 AS BIGINT) AS millionths
    FROM range({start}, {end}) t(i) ORDER BY subscription_id, time
) TO '{path}' (FORMAT parquet, COMPRESSION zstd)
"""

_ITEMS = """
CREATE TABLE charge_item AS
SELECT row_number() OVER () AS item_id, row_number() OVER () AS subscription_charge_id,
       s AS subscription_id, s AS account_id, m AS charge_id, 'usage' AS kind,
       'USD' AS currency, 2 AS minor_digits, 'UTC' AS time_zone,
       DATE '2026-10-01' AS cycle_start, DATE '2026-11-01' AS cycle_end,
       DATE '2026-10-01' AS service_start, DATE '2026-11-01' AS service_end,
       DATE '2026-11-01' AS pricing_end, 1::DECIMAL(18,6) AS quantity, false AS prorated,
       m AS meter_id, 'sum' AS aggregation, 90::DECIMAL(38,15) AS event_minimum,
       60::DECIMAL(38,15) AS event_increment, 60::BIGINT AS unit_size,
       NULL::BIGINT AS price_region_id, NULL::BIGINT AS site_id, NULL::BIGINT AS contact_id,
       NULL::BIGINT AS contract_id,
       false AS by_event, NULL::BIGINT AS pool_id, false AS counted_only
FROM range(1, {subscriptions} + 1) a(s), range(1, {meters} + 1) b(m)
"""

# The list price changes in mid-month, every third account has a template, every tenth a price of
# its own from the tenth on: so both sides have to look at which price holds when.
_PRICES = """
CREATE TABLE price AS
SELECT row_number() OVER () AS price_id, * FROM (
    SELECT m AS charge_id, 'USD' AS currency, 'list' AS layer, 0::BIGINT AS owner_id,
           NULL::DATE AS valid_from, DATE '2026-10-16' AS valid_to
    FROM range(1, {meters} + 1) t(m)
    UNION ALL
    SELECT m, 'USD', 'list', 0, DATE '2026-10-16', NULL FROM range(1, {meters} + 1) t(m)
    UNION ALL
    SELECT m, 'USD', 'template', t, NULL, NULL
    FROM range(1, {meters} + 1) a(m), range(1, 4) b(t)
    UNION ALL
    SELECT m, 'USD', 'account', s, DATE '2026-10-10', NULL
    FROM range(1, {meters} + 1) a(m), range(1, {subscriptions} + 1) b(s) WHERE s % 10 = 0)
CROSS JOIN (SELECT 'graduated' AS model, NULL::DECIMAL(28,6) AS package_size,
                   100::DECIMAL(38,15) AS included_quantity);
CREATE TABLE price_tier AS
SELECT price_id, 0::BIGINT AS cell_no, f::DECIMAL(28,6) AS from_quantity, u::DECIMAL(28,6) AS up_to,
       CAST((0.2200 - 0.0125 * n - 0.0005 * (price_id % 7)) AS DECIMAL(28,10)) AS unit_amount,
       0::DECIMAL(28,10) AS flat_amount
FROM price, (VALUES (0, 0, 500), (1, 500, 1000), (2, 1000, NULL)) t(n, f, u);
CREATE TABLE price_layer AS
SELECT s AS account_id, 'list' AS layer, 0::BIGINT AS owner_id, 10000 AS specificity,
       NULL::DATE AS valid_from, NULL::DATE AS valid_to
FROM range(1, {subscriptions} + 1) t(s)
UNION ALL SELECT s, 'template', s % 3 + 1, 30000, NULL, NULL
FROM range(1, {subscriptions} + 1) t(s) WHERE s % 3 = 0
UNION ALL SELECT s, 'account', s, 40000, NULL, NULL
FROM range(1, {subscriptions} + 1) t(s) WHERE s % 10 = 0;
"""

# What an engineer who knows the data would write for the same columns, the trace included: sums
# per price first, so that only the sums go through allowance and tiers; a stretch costs
# G(after) - G(before).
_BARE = """
WITH event AS (
    SELECT u.subscription_id, u.meter_id, coalesce(a.price_id, p.price_id, l.price_id) AS price_id,
           greatest(u.quantity, 90) + 60::DECIMAL(38,15)
             - coalesce(nullif(greatest(u.quantity, 90) % 60::DECIMAL(38,15), 0),
                        60::DECIMAL(38,15)) AS seconds,
           u.time
    FROM usage u
    LEFT JOIN price a ON a.charge_id = u.meter_id AND a.layer = 'account'
         AND a.owner_id = u.subscription_id AND u.time >= a.valid_from
    LEFT JOIN price p ON p.charge_id = u.meter_id AND p.layer = 'template'
         AND p.owner_id = u.subscription_id % 3 + 1 AND u.subscription_id % 3 = 0
    JOIN price l ON l.charge_id = u.meter_id AND l.layer = 'list'
         AND (l.valid_from IS NULL OR u.time >= l.valid_from)
         AND (l.valid_to IS NULL OR u.time < l.valid_to)
    WHERE u.time >= TIMESTAMP '2026-10-01' AND u.time < TIMESTAMP '2026-11-01'
), summed AS (
    SELECT subscription_id, meter_id, price_id, min(time) AS first,
           CAST(CAST(sum(seconds) AS BIGINT) // 60 AS DECIMAL(38,15)) AS minutes
    FROM event GROUP BY subscription_id, meter_id, price_id
), placed AS (
    SELECT *, CAST(sum(minutes) OVER w AS DECIMAL(38,15)) AS upto,
           CAST(sum(minutes) OVER w - minutes AS DECIMAL(38,15)) AS before
    FROM summed WINDOW w AS (PARTITION BY subscription_id, meter_id ORDER BY first)
), band AS (
    SELECT p.subscription_id, p.meter_id, p.price_id, p.minutes, r.from_quantity, r.up_to,
           r.unit_amount,
           CAST(greatest(least(upto - 100, coalesce(r.up_to, upto)) - r.from_quantity, 0)
                - greatest(least(before - 100, coalesce(r.up_to, before)) - r.from_quantity, 0)
                AS DECIMAL(38,15)) AS units,
           CAST(greatest(least(upto, coalesce(r.up_to, upto)) - r.from_quantity, 0)
                - greatest(least(before, coalesce(r.up_to, before)) - r.from_quantity, 0)
                AS DECIMAL(38,15)) AS list_units
    FROM placed p JOIN price_tier r ON r.price_id = p.price_id
), priced AS (
    SELECT *, units * unit_amount AS amount, list_units * unit_amount AS list_amount FROM band
)
SELECT subscription_id, meter_id, price_id, any_value(minutes) AS quantity,
       CAST(sum(list_amount) AS DECIMAL(38,15)) AS list_amount,
       CAST(sum(amount) AS DECIMAL(38,15)) AS exact_amount,
       CAST(round(sum(amount), 2) AS DECIMAL(20,4)) AS amount,
       list_sort(list(struct_pack("from" := from_quantity, up_to := up_to, quantity := units,
                                  unit_amount := unit_amount, amount := amount))
                 FILTER (units <> 0)) AS steps
FROM priced
GROUP BY subscription_id, meter_id, price_id
"""


@dataclass(frozen=True)
class RatingResult:
    """Seconds of both sides, best of the rounds, for so many events; equal totals."""

    events: int
    seconds: float
    bare_seconds: float
    totals: tuple[Decimal, Decimal]


def measure_rating(folder: Path, events: int, rounds: int = 3) -> RatingResult:
    """Generate ``events`` call records below ``folder``, rate them both ways, in turn."""
    subscriptions = max(events // EVENTS_PER_SUBSCRIPTION, 1)
    paths = _write_events(folder, events, subscriptions)
    ours: list[float] = []
    bare: list[float] = []
    totals = set()
    for _ in range(rounds):
        for side, times in ((rate, ours), (_rate_bare, bare)):
            with open_engine(temp_directory=folder) as engine:
                engine.run(f"CREATE VIEW usage AS SELECT * FROM read_parquet({paths})")
                make_subscriptions(engine, subscriptions)
                begin = time.perf_counter()
                totals.add(side(engine))
                times.append(time.perf_counter() - begin)
    if len(totals) != 1:
        raise RuntimeError(f"the two sides disagree: {totals}")
    return RatingResult(events, min(ours), min(bare), totals.pop())


def _write_events(folder: Path, events: int, subscriptions: int) -> list[str]:
    paths = []
    with open_engine() as engine:
        for start in range(0, events, 1_000_000):
            path = folder / f"events-{start}.parquet"
            engine.run(
                _EVENTS.format(
                    subscriptions=subscriptions,
                    meters=METERS,
                    start=start,
                    end=min(start + 1_000_000, events),
                    path=path,
                )
            )
            paths.append(str(path))
    return paths


def make_subscriptions(engine: Engine, number: int) -> None:
    """What so many subscriptions have due, and the prices they look into."""
    engine.run(_ITEMS.format(subscriptions=number, meters=METERS))
    engine.run(_PRICES.format(subscriptions=number, meters=METERS))


_NEEDS = Needs(
    layers=frozenset({"list", "template", "account"}),
    kinds=frozenset({"usage"}),
    late=False,
    peaks=False,
    packages=False,
    bands=False,
    bounds=False,
)
"""What a bill run would find needed of these prices and items (business.billing.rating)."""


def rate(engine: Engine) -> tuple[Decimal, Decimal]:
    """Rate ``usage`` by the product's statements; what it comes to, and before what is included."""
    engine.run(f"CREATE VIEW {BILLED_USAGE.name} AS {BILLED_USAGE.nothing}")
    engine.run(
        "CREATE TABLE midnight AS SELECT 'UTC' AS time_zone, CAST(t AS DATE) AS day, t AS instant "
        "FROM range(TIMESTAMP '2026-10-01', TIMESTAMP '2026-11-02', INTERVAL 1 DAY) r(t)"
    )
    for statement in (*price_statements(_NEEDS), *rating_statements(_NEEDS)):
        engine.run(statement.create)
    return _totals(engine, "rated")


def _rate_bare(engine: Engine) -> tuple[Decimal, Decimal]:
    engine.run(f"CREATE TABLE bare AS {_BARE}")
    return _totals(engine, "bare")


def _totals(engine: Engine, relation: str) -> tuple[Decimal, Decimal]:
    row = engine.row(f"SELECT sum(amount), sum(list_amount) FROM {relation} WHERE quantity > 0")
    return Decimal(row[0]), Decimal(row[1])
