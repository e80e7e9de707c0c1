"""Declarations of the products room."""

from counterfoil.core.rating.layers import LAYER_NAMES
from counterfoil.platform.metadata import Entity, RareIndex
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    boolean,
    choice,
    date,
    decimal,
    document,
    integer,
    reference,
    text,
)

AGGREGATIONS = ("sum", "count", "max", "latest", "unique_count", "weighted_sum", "percentile")
"""How the events of a cycle become one quantity."""

MODELS = (
    *("flat", "per_unit", "graduated", "volume", "package", "stairstep"),
    *("percentage", "graduated_percentage", "dynamic", "formula"),
)
"""How a price becomes an amount: business.products.tiers says what each allows."""

PRODUCT = Entity(
    name="product",
    plural="products",
    help="What is sold.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
    ),
)

METER = Entity(
    name="meter",
    plural="meters",
    help="How usage events become a quantity.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
        text("unit", required=True, help="Unit of an event's quantity, e.g. second."),
        choice("aggregation", AGGREGATIONS, required=True, default="sum"),
        text(
            "quantity_attribute",
            help="Attribute that is the quantity of an event, in place of its own: an amount of "
            "money for a dynamic price.",
        ),
        text("property", help="Attribute whose different values unique_count counts."),
        decimal(
            "percentile",
            6,
            3,
            help="Above 0, at most 100: the smallest reading that so many percent of all readings "
            "do not exceed (nearest rank).",
        ),
        document(
            "filter",
            help="Attributes and their values: an event counts when each attribute has one of "
            "them.",
        ),
        boolean(
            "carried_over",
            required=True,
            default=False,
            help="What a cycle ends with is there when the next begins, as seats and stored "
            "volumes are.",
        ),
    ),
)

RATE_PLAN = Entity(
    name="rate_plan",
    plural="rate_plans",
    help="A named set of charges under which a product is sold.",
    fields=(
        EXTERNAL_ID,
        reference("product", required=True, indexed=True),
        text("name", required=True),
        integer(
            "trial_days",
            minimum=1,
            maximum=3660,
            help="How long a new subscription is on trial, unless it says otherwise.",
        ),
    ),
)

CHARGE = Entity(
    name="charge",
    plural="charges",
    help="One priced component of a rate plan.",
    unique=(("rate_plan_id", "name"),),
    fields=(
        EXTERNAL_ID,
        reference("rate_plan", required=True, immutable=True),
        text("name", required=True, help="Text of the invoice line."),
        choice("kind", ("one_time", "recurring", "usage"), required=True, immutable=True),
        choice(
            "timing",
            ("in_advance", "in_arrears"),
            required=True,
            default="in_arrears",
            immutable=True,
            help="Usage is always in arrears, a one-time charge is due on its start date.",
        ),
        integer(
            "periods_ahead",
            required=True,
            default=1,
            minimum=1,
            maximum=24,
            help="How many cycles are billed in advance: with 2 a cycle is due when the one before "
            "it begins. Of a recurring charge in advance.",
        ),
        choice(
            "period_unit",
            ("day", "week", "month", "year"),
            required=True,
            default="month",
            immutable=True,
        ),
        integer(
            "period_count",
            required=True,
            default=1,
            minimum=1,
            maximum=120,
            immutable=True,
            help="Cycle length in period units: 3 months is a quarter.",
        ),
        choice(
            "alignment",
            ("calendar", "anniversary"),
            required=True,
            default="calendar",
            immutable=True,
            help="calendar: cycles begin on the billing profile's cycle day (weeks on Monday); "
            "anniversary: cycles begin on the subscription's start (or anchor) date.",
        ),
        choice(
            "proration",
            ("by_day", "none"),
            required=True,
            default="by_day",
            help="How a partial cycle of a recurring charge is priced, and units of a meter that "
            "carries over: the share of the days, or in full.",
        ),
        reference("meter", immutable=True, help="Required for a usage charge."),
        choice(
            "in_trial",
            ("free", "charged"),
            help="free: begins at the end of a subscription's trial. Empty: a recurring charge is "
            "free, others are charged.",
        ),
        decimal(
            "event_minimum", 38, 15, minimum=0, help="Least quantity of one event, in meter units."
        ),
        decimal(
            "event_increment",
            38,
            15,
            minimum=0,
            help="Each event is rounded up to a multiple of this, in meter units.",
        ),
        text(
            "unit",
            required=True,
            default="unit",
            help="Unit the price is per, as it stands on the invoice.",
        ),
        integer(
            "unit_size",
            required=True,
            default=1,
            minimum=1,
            help="Meter units in one priced unit: 60 for seconds priced per minute.",
        ),
        choice(
            "unit_rounding",
            ("exact", "up", "half_up", "down"),
            required=True,
            default="exact",
            help="How the priced units a cycle has come to are rounded to whole ones.",
        ),
        choice(
            "pooled_over",
            ("subscription", "site", "account", "subtree", "root"),
            required=True,
            default="subscription",
            immutable=True,
            help="Whose usage counts together in tiers and included quantities: subtree is the "
            "nearest account at or above that is a pool node.",
        ),
        text(
            "group_by",
            max_length=255,
            immutable=True,
            help="An attribute of the usage events: each of its values is counted and priced by "
            "itself.",
        ),
        text(
            "condition",
            max_length=4000,
            help="A formula; where it is not met, the charge makes no line.",
        ),
        text(
            "quantity_formula",
            max_length=4000,
            help="A formula for the priced units of a cycle, in place of those held or used.",
        ),
    ),
)

WITH_FORMULA = "formula IS NOT NULL OR condition IS NOT NULL"
"""Of a price, in SQL: as below, what few of them have and all accounts ask for."""
SAYS_WHAT_EVENTS_COST = (
    "event_amount <> 0 OR free_events > 0"
    " OR event_amount_minimum IS NOT NULL OR event_amount_maximum IS NOT NULL"
)

PRICE = Entity(
    name="price",
    plural="prices",
    help="The price of a charge in one layer, currency and validity. The most specific layer that "
    "has one wins: list < region < pricing template < account (nearest first) < site < contact < "
    "contract < subscription.",
    indexes=(("charge_id", "layer"),),
    rare_indexes=(
        RareIndex("formula", "charge_id", WITH_FORMULA),
        RareIndex("event", "charge_id", SAYS_WHAT_EVENTS_COST),
    ),
    fields=(
        reference("charge", required=True, immutable=True),
        choice("layer", LAYER_NAMES, required=True, immutable=True),
        reference("price_region", immutable=True, indexed=True),
        reference("pricing_template", immutable=True, indexed=True),
        reference("account", immutable=True, indexed=True),
        reference("site", immutable=True, indexed=True),
        reference("contact", immutable=True, indexed=True),
        text(
            "contract_external_id",
            immutable=True,
            indexed=True,
            help="External id of the contract the price is for; may be set before the contract "
            "exists. It holds while the contract runs.",
        ),
        text(
            "subscription_external_id",
            immutable=True,
            indexed=True,
            help="External id of the subscription the price is for; may be set before the "
            "subscription exists.",
        ),
        text("currency", required=True, max_length=3, immutable=True),
        date("valid_from", help="First day, local to the billed account; empty: always."),
        date("valid_to", help="First day no longer valid."),
        boolean(
            "partial",
            required=True,
            default=False,
            immutable=True,
            help="Sets its tiers only: all else comes from the most specific price below it that "
            "is not partial.",
        ),
        choice(
            "model",
            MODELS,
            required=True,
        ),
        text(
            "formula",
            max_length=4000,
            help="Of the model formula: what a cycle's quantity costs, in the price's currency.",
        ),
        text(
            "condition",
            max_length=4000,
            help="A formula; where it is not met, the next less specific price is asked.",
        ),
        decimal(
            "package_size",
            28,
            6,
            help="Priced units in a package; a started package counts in full. Tiers count "
            "packages. Of the models package, graduated and volume.",
        ),
        decimal(
            "included_quantity",
            38,
            15,
            required=True,
            default=0,
            minimum=0,
            help="Priced units per cycle that cost nothing.",
        ),
        decimal(
            "minimum_amount",
            20,
            4,
            minimum=0,
            help="Least the charge costs in a full cycle; prorated with the days served.",
        ),
        decimal(
            "maximum_amount",
            20,
            4,
            minimum=0,
            help="Most the charge costs in a full cycle; prorated with the days served.",
        ),
        decimal(
            "event_amount",
            28,
            10,
            required=True,
            default=0,
            minimum=0,
            help="Due for every usage event, beside what its quantity costs.",
        ),
        decimal("event_amount_minimum", 28, 10, minimum=0, help="Least a usage event costs."),
        decimal("event_amount_maximum", 28, 10, minimum=0, help="Most a usage event costs."),
        integer(
            "free_events",
            required=True,
            default=0,
            minimum=0,
            help="The first so many usage events of a cycle cost nothing.",
        ),
    ),
)

PRICE_TIER = Entity(
    name="price_tier",
    plural="price_tiers",
    help="A quantity band (from, up to] of a price. Every pricing model has at least one tier.",
    unique=(("price_id", "cell_no", "from_quantity"),),
    fields=(
        reference("price", required=True, immutable=True, on_delete="cascade"),
        integer(
            "cell_no",
            required=True,
            default=0,
            minimum=0,
            help="The price cell the tier belongs to; 0: everything else.",
        ),
        decimal("from_quantity", 28, 6, required=True, default=0, minimum=0),
        decimal("up_to", 28, 6, help="Inclusive upper bound; empty in the last tier."),
        decimal("unit_amount", 28, 10, required=True, default=0, minimum=0),
        decimal(
            "flat_amount",
            28,
            10,
            required=True,
            default=0,
            minimum=0,
            help="Due once when the tier is reached; of the first tier also at quantity zero.",
        ),
    ),
)

PRICE_CELL = Entity(
    name="price_cell",
    plural="price_cells",
    help="A cell of a matrix price: what usage must be like to have the cell's tiers. The most "
    "specific cell wins; what no cell holds has the tiers of cell 0.",
    unique=(("price_id", "cell_no"),),
    fields=(
        reference("price", required=True, immutable=True, on_delete="cascade"),
        integer(
            "cell_no",
            required=True,
            minimum=1,
            immutable=True,
            help="Stands for the same conditions in all prices of a charge.",
        ),
        text("name", help="As it stands in explanations; empty: the conditions in words."),
        text("label", max_length=1000, computed=True, help="The name, or the conditions in words."),
        document(
            "conditions",
            required=True,
            help='Attributes and lists of values, or of prefixes: {"destination": {"prefix": '
            '["44"]}}. All must hold.',
        ),
        text("days", help="Days of the week, such as mon,tue; empty: all."),
        text("from_time", max_length=5, help="Such as 08:00, in the time zone of the site."),
        text("to_time", max_length=5, help="Such as 18:00, no longer in it; may be past midnight."),
    ),
)

ENTITIES = (PRODUCT, METER, RATE_PLAN, CHARGE, PRICE, PRICE_CELL, PRICE_TIER)
