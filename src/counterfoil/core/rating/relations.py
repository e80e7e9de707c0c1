"""The relations rating reads and writes: their columns and types, in DuckDB's words.

Every statement of this room reads relations by these names and nothing else, so that a quote, a
preview, a bill run and a simulation differ only in where the rows come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

QUANTITY = "DECIMAL(38,15)"
"""Quantities of usage and of rated charges."""
SMALLEST_QUANTITY = "0.000000000000001"
"""One unit in the last place of a quantity."""
AMOUNT = "DECIMAL(28,10)"
"""Unit and flat amounts of a price, in major units of its currency."""
PRODUCT = "DECIMAL(38,25)"
"""Quantity times amount, exact."""


@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """A named relation: column name to DuckDB type."""

    name: str
    columns: dict[str, str]
    help: str

    @property
    def nothing(self) -> str:
        """A SELECT of no row."""
        columns = ", ".join(
            f"CAST(NULL AS {kind}) AS {name}" for name, kind in self.columns.items()
        )
        return f"SELECT {columns} WHERE false"


CHARGE_ITEM = Relation(
    "charge_item",
    {
        "item_id": "BIGINT",
        "subscription_charge_id": "BIGINT",
        "subscription_id": "BIGINT",
        "account_id": "BIGINT",
        "charge_id": "BIGINT",
        "kind": "VARCHAR",
        "currency": "VARCHAR",
        "minor_digits": "INTEGER",
        "time_zone": "VARCHAR",
        "cycle_start": "DATE",
        "cycle_end": "DATE",
        "service_start": "DATE",
        "service_end": "DATE",
        "pricing_end": "DATE",
        "quantity": "DECIMAL(18,6)",
        "prorated": "BOOLEAN",
        "by_second": "BOOLEAN",
        "meter_id": "BIGINT",
        "aggregation": "VARCHAR",
        "event_minimum": QUANTITY,
        "event_increment": QUANTITY,
        "unit_size": "BIGINT",
        "unit_rounding": "VARCHAR",
        "quantity_attribute": "VARCHAR",
        "property": "VARCHAR",
        "percentile": "DECIMAL(6,3)",
        "carried_over": "BOOLEAN",
        "stood": "BOOLEAN",
        "usage_zone": "VARCHAR",
        "counted_from": "DATE",
        "by_event": "BOOLEAN",
        "pool_id": "BIGINT",
        "counted_only": "BOOLEAN",
        "price_region_id": "BIGINT",
        "site_id": "BIGINT",
        "contact_id": "BIGINT",
        "contract_id": "BIGINT",
    },
    "One subscription charge in one cycle. service_start..service_end is the part of the cycle "
    "that is served; price changes are looked for up to pricing_end only (the day after "
    "service_start where one price holds for the whole period). kind is one_time, recurring or "
    "usage. counted_from is the first day whose usage counts: before service_start where a level "
    "is carried_over; units that are stood cost the share of the cycle's days they stood. "
    "Items by_event count event by event with the others of their pool; what is "
    "counted_only is there for the sake of its pool and is not rated. The last four, and "
    "subscription_id, own the prices of the layers of their names.",
)

PRICE = Relation(
    "price",
    {
        "price_id": "BIGINT",
        "charge_id": "BIGINT",
        "currency": "VARCHAR",
        "layer": "VARCHAR",
        "owner_id": "BIGINT",
        "valid_from": "DATE",
        "valid_to": "DATE",
        "model": "VARCHAR",
        "package_size": "DECIMAL(28,6)",
        "included_quantity": QUANTITY,
        "partial": "BOOLEAN",
        "event_amount": AMOUNT,
        "event_amount_minimum": AMOUNT,
        "event_amount_maximum": AMOUNT,
        "free_events": "BIGINT",
        "minimum_amount": "DECIMAL(20,4)",
        "maximum_amount": "DECIMAL(20,4)",
    },
    "Prices of all layers. owner_id is what the price belongs to, by its layer: a price region, "
    "pricing template, account, site, contact, contract or subscription; 0 in the list. A partial "
    "price sets some tiers only, all else comes from the most specific whole price below it.",
)

PRICE_TIER = Relation(
    "price_tier",
    {
        "price_id": "BIGINT",
        "cell_no": "BIGINT",
        "from_quantity": "DECIMAL(28,6)",
        "up_to": "DECIMAL(28,6)",
        "unit_amount": AMOUNT,
        "flat_amount": AMOUNT,
    },
    "Quantity bands (from_quantity, up_to] of the prices; up_to is null in the last. cell_no is 0 "
    "but in matrix prices.",
)

PRICE_LAYER = Relation(
    "price_layer",
    {
        "account_id": "BIGINT",
        "layer": "VARCHAR",
        "owner_id": "BIGINT",
        "specificity": "INTEGER",
        "valid_from": "DATE",
        "valid_to": "DATE",
    },
    "Which list, pricing templates and accounts an account looks into, and from when to when; the "
    "highest specificity that has a price wins (core.rating.layers). The owners of the other "
    "layers stand in charge_item.",
)

MIDNIGHT = Relation(
    "midnight",
    {"time_zone": "VARCHAR", "day": "DATE", "instant": "TIMESTAMP"},
    "First instant (UTC) of a local day, for every zone and day at which a usage epoch begins or "
    "ends.",
)

USAGE = Relation(
    "usage",
    {
        "source": "VARCHAR",
        "event_id": "VARCHAR",
        "time": "TIMESTAMP",
        "subscription_id": "BIGINT",
        "meter_id": "BIGINT",
        "quantity": QUANTITY,
        "attributes": "VARCHAR",
        "millionths": "BIGINT",
    },
    "Usage events, unique by (source, event_id); time in UTC; attributes are a JSON object. "
    "millionths is the quantity once more, as a whole number of millionths, or null.",
)

PRICE_CELL = Relation(
    "price_cell",
    {"charge_id": "BIGINT", "cell_no": "BIGINT", "label": "VARCHAR"},
    "The cells of a charge's matrix prices, from 1: a number stands for the same conditions in all "
    "of its prices. label says them in words. -1 are all groups of a charge with grouped usage.",
)

CELL_CONDITION = Relation(
    "cell_condition",
    {
        "charge_id": "BIGINT",
        "cell_no": "BIGINT",
        "attribute": "VARCHAR",
        "is_prefix": "BOOLEAN",
        "value": "VARCHAR",
    },
    "What the cells ask for: of each of a cell's attributes one of these values or prefixes. Usage "
    "is grouped by an attribute of which no value is asked for (null).",
)

CELL_WINDOW = Relation(
    "cell_window",
    {
        "charge_id": "BIGINT",
        "cell_no": "BIGINT",
        "weekday": "INTEGER",
        "from_minute": "INTEGER",
        "to_minute": "INTEGER",
    },
    "The hours cells ask for: weekday from Monday, 1, to Sunday, 7, and minutes of its day; where "
    "from_minute is not below to_minute, the hours before the one and from the other on.",
)

METER_FILTER = Relation(
    "meter_filter",
    {"meter_id": "BIGINT", "attribute": "VARCHAR", "value": "VARCHAR"},
    "The values of attributes with which events count, of meters that have a filter.",
)

EVENT = Relation(
    "usage",
    {**USAGE.columns, "batch_id": "BIGINT", "line": "BIGINT"},
    "Usage events with where they came from, for itemising.",
)

BILLED_USAGE = Relation(
    "billed_usage",
    {
        "item_id": "BIGINT",
        "service_start": "DATE",
        "service_end": "DATE",
        "price_id": "BIGINT",
        "layer": "VARCHAR",
        "partial_ids": "BIGINT[]",
        "quantity": QUANTITY,
        "exact_amount": QUANTITY,
        "list_amount": QUANTITY,
        "amount": "DECIMAL(20,4)",
    },
    "What earlier invoices billed of the same cycle, for items of late usage: priced units, "
    "amounts before and after rounding, and the price each stretch of service was billed at, with "
    "the partial prices laid over it, the most specific first.",
)

ALLOWANCE = Relation(
    "allowance",
    {"allowance_id": "BIGINT", "draw_rank": "INTEGER", "capacity": QUANTITY},
    "Quantities that cost nothing, in priced units. All allowances of the lower rank (from 1) are "
    "drawn before those of the next.",
)

ALLOWANCE_ITEM = Relation(
    "allowance_item",
    {"allowance_id": "BIGINT", "item_id": "BIGINT"},
    "Which items, all of them by_event, draw on which allowances: of one rank on one at most.",
)

INPUTS = (
    CHARGE_ITEM,
    METER_FILTER,
    PRICE_CELL,
    CELL_CONDITION,
    CELL_WINDOW,
    PRICE,
    PRICE_TIER,
    PRICE_LAYER,
    MIDNIGHT,
    USAGE,
    BILLED_USAGE,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A relation made from others. A view costs nothing until it is read, and again each time; one
    that is ``empty`` is made from none and has no row."""

    name: str
    sql: str
    view: bool = False
    empty: bool = False

    @property
    def create(self) -> str:
        """The SQL that makes the relation."""
        return f"CREATE {'VIEW' if self.view else 'TABLE'} {self.name} AS {self.sql}"


def in_one(statements: Sequence[Statement]) -> Statement:
    """Make the last relation, a plain SELECT, by one statement; those before it are there within it
    only. To make tables of a few rows takes longer than to fill them."""
    *before, last = statements
    parts = ", ".join(f"{part.name} AS MATERIALIZED ({part.sql})" for part in before)
    return Statement(last.name, f"WITH {parts} {last.sql}")
