"""A company to bill, made set-based: accounts, prices in three layers, subscriptions, usage.

The month measured is not the company's first: everything before October 2026 is billed, rooms in
advance to the end of October, so that a run has to look for late usage as it does every month.
"""

from datetime import UTC, date, datetime

import pyarrow as pa

from counterfoil.bootstrap import Organisation
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.usage.collectors import load_collector
from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.store import EVENT_SCHEMA, save_events
from counterfoil.platform.engine.duck import Engine, open_engine
from counterfoil.platform.records.unit_of_work import UnitOfWork

BILLING_DATE = date(2026, 11, 1)
NOW = datetime(2026, 11, 1, 6, tzinfo=UTC)
EVENTS_PER_ACCOUNT = 180
METERS = ("premier_dial_out", "premier_toll_free", "premier_toll")

_EVENTS_AT_ONCE = 1_000_000
_CHARGE = """
      - id: {id}
        name: {name}
        kind: usage
        meter: {meter}
        event_increment: 60
        unit: minute
        unit_size: 60
        prices:
          - {{currency: USD, valid_to: 2026-10-16, model: per_unit, amount: {amount}}}
          - currency: USD
            valid_from: 2026-10-16
            model: graduated
            included: 30
            tiers: [{{up_to: 200, amount: {amount}}}, {{amount: 0.11}}]
"""
_PRICE_BOOK = """
products: [{id: conferencing, name: Conferencing}]
meters:
  - {id: premier_dial_out, name: Dial-out, unit: second}
  - {id: premier_toll_free, name: Toll-free, unit: second}
  - {id: premier_toll, name: Toll, unit: second}
rate_plans:
  - id: rooms
    product: conferencing
    name: Rooms
    charges:
      - id: room
        name: Managed room
        kind: recurring
        timing: in_advance
        unit: room
        prices: [{currency: USD, model: per_unit, amount: 249.95}]
  - id: minutes
    product: conferencing
    name: Minutes
    charges:""" + "".join(
    _CHARGE.format(id=meter.replace("_", "-"), meter=meter, name=name, amount=amount)
    for meter, name, amount in zip(
        METERS,
        ("Premier dial-out", "Premier toll-free meet-me", "Premier toll meet-me"),
        ("0.2200", "0.1950", "0.1750"),
        strict=True,
    )
)
_TEMPLATES = """
pricing_templates:
  - id: reseller
    name: Reseller
    prices:
      - {charge: premier-dial-out, currency: USD, model: per_unit, amount: 0.20}
      - {charge: premier-toll-free, currency: USD, model: per_unit, amount: 0.18}
"""

# Trees of one parent and two children; every third account has the template, every tenth a price
# of its own. Ids begin with 1, in a new organisation.
_ROWS = {
    "account": """
        SELECT n AS id, printf('A%07d', n) AS external_id, 'Customer ' || n AS name,
               CASE WHEN n % 3 <> 1 THEN n - (n + 2) % 3 END AS parent_id,
               n - (n + 2) % 3 AS root_id, 'active' AS status,
               CASE WHEN n % 3 = 0 THEN {template}::BIGINT END AS pricing_template_id
        FROM number""",
    "billing_profile": """
        SELECT n AS account_id, 'required' AS invoice_at_this_level, 'USD' AS currency,
               CASE n % 2 WHEN 0 THEN 'America/Denver' ELSE 'Europe/Oslo' END AS time_zone,
               1::BIGINT AS cycle_day, 30::BIGINT AS payment_terms_days,
               'standard' AS invoice_template, 'a4' AS paper, n || ' Harbor Street' AS street,
               'Portland' AS city, 'ME' AS region, '04101' AS postal_code, 'US' AS country,
               'billing@example.com' AS email FROM number""",
    "subscription": """
        SELECT n + k * {accounts} AS id, printf('S%07d-%d', n, k) AS external_id, n AS account_id,
               CASE k WHEN 0 THEN {minutes} ELSE {rooms} END::BIGINT AS rate_plan_id,
               DATE '2026-01-01' AS start_date FROM number, (VALUES (0), (1)) v(k)""",
    "subscription_charge": """
        SELECT n AS subscription_id, c AS charge_id, 1::DECIMAL(18,6) AS quantity,
               DATE '2026-01-01' AS start_date, DATE '2026-10-01' AS billed_through
        FROM number, unnest({charges}::BIGINT[]) v(c)
        UNION ALL
        SELECT n + {accounts}, {room}::BIGINT, (n % 4 + 1)::DECIMAL(18,6), DATE '2026-01-01',
               DATE '2026-11-01' FROM number""",
    "usage_identifier": """
        SELECT (4100003 + 7 * n)::VARCHAR AS identifier, n AS subscription_id FROM number""",
    "price": """
        SELECT {price} + row_number() OVER () AS id, c AS charge_id, 'account' AS layer,
               n AS account_id, 'USD' AS currency, false AS partial, 'per_unit' AS model,
               0::DECIMAL(38,15) AS included_quantity
        FROM number, unnest({charges}::BIGINT[]) v(c) WHERE n % 10 = 0""",
    "price_tier": """
        SELECT {price} + row_number() OVER () AS price_id, 0::DECIMAL(28,6) AS from_quantity,
               (0.15 + n % 50 * 0.001)::DECIMAL(28,10) AS unit_amount,
               0::DECIMAL(28,10) AS flat_amount
        FROM number, unnest({charges}::BIGINT[]) v(c) WHERE n % 10 = 0""",
}

_EVENTS = """
SELECT 'bench' AS source, 'e' || i AS event_id,
       TIMESTAMP '2026-10-01 08:00' + to_seconds(CAST(hash(i, 1) % 2592000 AS BIGINT)) AS time,
       CAST(i % {accounts} + 1 AS BIGINT) AS subscription_id,
       CAST([{meters}][CAST(hash(i, 3) % 3 + 1 AS BIGINT)] AS BIGINT) AS meter_id,
       CAST(hash(i, 4) % 3600 + 1 AS DECIMAL(38,15)) AS quantity,
       {batch}::BIGINT AS batch_id, i AS line, '{{}}' AS attributes
FROM range({start}, {end}) t(i)
"""


def make_company(organisation: Organisation, accounts: int) -> None:
    """Fill a new organisation with so many billed accounts and their subscriptions."""
    book, problems = parse_price_book(_PRICE_BOOK + _TEMPLATES, "bench/company.py")
    if problems:
        raise RuntimeError(f"the price book is wrong: {problems}")
    with organisation.database.transaction(now=NOW) as uow:
        save_price_book(uow, book)
        uow.create("seller", {"name": "Meridian Conferencing Inc.", "city": "Portland"})
        with open_engine() as engine:
            engine.run(f"CREATE VIEW number AS SELECT n FROM range(1, {accounts + 1}) t(n)")
            names = _names(uow, accounts)
            for entity, rows in _ROWS.items():
                _copy(uow, engine, entity, rows.format(**names))
    # What autovacuum does sooner or later; without it the planner knows of no rows.
    with organisation.database.transaction(now=NOW) as uow:
        uow.execute("ANALYZE")


def _names(uow: UnitOfWork, accounts: int) -> dict[str, object]:
    charges = uow.ids_by("charge", "external_id", [m.replace("_", "-") for m in METERS])
    plans = uow.ids_by("rate_plan", "external_id", ["rooms", "minutes"])
    return {
        "accounts": accounts,
        "charges": list(charges.values()),
        "room": uow.ids_by("charge", "external_id", ["room"])["room"],
        "price": uow.query("SELECT max(id) AS id FROM price")[0]["id"],
        "template": uow.ids_by("pricing_template", "external_id", ["reseller"])["reseller"],
        **{str(name): plan for name, plan in plans.items()},
    }


def _copy(uow: UnitOfWork, engine: Engine, entity: str, select: str) -> None:
    """COPY the rows; with ids of their own the sequence goes on behind them. What they do not say
    is as declared."""
    rows = engine.arrow(select)
    for field in uow.catalogue.entities[entity].fields:
        if field.name not in rows.column_names and field.default is not None:
            rows = rows.append_column(field.name, pa.array([field.default] * rows.num_rows))
    if "id" in rows.column_names:
        uow.allocate_ids(entity, rows.num_rows)
    uow.copy_in(entity, rows)


def add_usage(organisation: Organisation, accounts: int) -> int:
    """Store and compact October's usage of a made company; the number of events."""
    events = accounts * EVENTS_PER_ACCOUNT
    with organisation.database.transaction(now=NOW) as uow, open_engine() as engine:
        meters = uow.ids_by("meter", "external_id", METERS)
        collector = load_collector(uow, "cloudevents")
        batch = uow.create(
            "usage_batch",
            {"batch_key": "bench", "collector_id": collector.id, "file_name": "bench"},
        )
        for start in range(0, events, _EVENTS_AT_ONCE):
            select = _EVENTS.format(
                accounts=accounts,
                meters=", ".join(str(meters[name]) for name in METERS),
                batch=batch["id"],
                start=start,
                end=min(start + _EVENTS_AT_ONCE, events),
            )
            rows = engine.arrow(select).cast(EVENT_SCHEMA)
            save_events(uow, organisation.usage_store, rows, int(batch["id"]))
    compact(organisation.database, organisation.usage_store, now=NOW)
    return events
