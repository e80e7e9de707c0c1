"""Declarations of the products room."""

from counterfoil.platform.metadata import Entity, Field, FieldType

PRODUCT = Entity(
    name="product",
    plural="products",
    help="What is sold.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(name="name", required=True),
    ),
)

METER = Entity(
    name="meter",
    plural="meters",
    help="How usage events become a quantity.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(name="name", required=True),
        Field(name="unit", required=True, help="Unit of an event's quantity, e.g. second."),
        Field(
            name="aggregation",
            type=FieldType.CHOICE,
            choices=("sum", "count", "max"),
            required=True,
            default="sum",
        ),
    ),
)

RATE_PLAN = Entity(
    name="rate_plan",
    plural="rate_plans",
    help="A named set of charges under which a product is sold.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(
            name="product_id",
            type=FieldType.REFERENCE,
            target="product",
            required=True,
            indexed=True,
        ),
        Field(name="name", required=True),
    ),
)

CHARGE = Entity(
    name="charge",
    plural="charges",
    help="One priced component of a rate plan.",
    unique=(("rate_plan_id", "name"),),
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(
            name="rate_plan_id",
            type=FieldType.REFERENCE,
            target="rate_plan",
            required=True,
            immutable=True,
        ),
        Field(name="name", required=True, help="Text of the invoice line."),
        Field(
            name="kind",
            type=FieldType.CHOICE,
            choices=("one_time", "recurring", "usage"),
            required=True,
            immutable=True,
        ),
        Field(
            name="timing",
            type=FieldType.CHOICE,
            choices=("in_advance", "in_arrears"),
            required=True,
            default="in_arrears",
            immutable=True,
            help="Usage is always in arrears, a one-time charge is due on its start date.",
        ),
        Field(
            name="period_unit",
            type=FieldType.CHOICE,
            choices=("day", "week", "month", "year"),
            required=True,
            default="month",
            immutable=True,
        ),
        Field(
            name="period_count",
            type=FieldType.INTEGER,
            required=True,
            default=1,
            minimum=1,
            maximum=120,
            immutable=True,
            help="Cycle length in period units: 3 months is a quarter.",
        ),
        Field(
            name="alignment",
            type=FieldType.CHOICE,
            choices=("calendar", "anniversary"),
            required=True,
            default="calendar",
            immutable=True,
            help="calendar: cycles begin on the billing profile's cycle day (weeks on Monday); "
            "anniversary: cycles begin on the subscription's start (or anchor) date.",
        ),
        Field(
            name="proration",
            type=FieldType.CHOICE,
            choices=("by_day", "none"),
            required=True,
            default="by_day",
            help="How a partial cycle of a recurring charge is priced: the share of its days, or "
            "in full.",
        ),
        Field(
            name="meter_id",
            type=FieldType.REFERENCE,
            target="meter",
            immutable=True,
            help="Required for a usage charge.",
        ),
        Field(
            name="event_minimum",
            type=FieldType.DECIMAL,
            precision=38,
            scale=15,
            minimum=0,
            help="Least quantity of one event, in meter units.",
        ),
        Field(
            name="event_increment",
            type=FieldType.DECIMAL,
            precision=38,
            scale=15,
            minimum=0,
            help="Each event is rounded up to a multiple of this, in meter units.",
        ),
        Field(
            name="unit",
            required=True,
            default="unit",
            help="Unit the price is per, as it stands on the invoice.",
        ),
        Field(
            name="unit_size",
            type=FieldType.INTEGER,
            required=True,
            default=1,
            minimum=1,
            help="Meter units in one priced unit: 60 for seconds priced per minute.",
        ),
    ),
)

PRICE = Entity(
    name="price",
    plural="prices",
    help="The price of a charge in one layer, currency and validity. Layers are tried from the "
    "most specific: subscription, account (nearest ancestor first), pricing template, list.",
    fields=(
        Field(
            name="charge_id",
            type=FieldType.REFERENCE,
            target="charge",
            required=True,
            immutable=True,
            indexed=True,
        ),
        Field(
            name="layer",
            type=FieldType.CHOICE,
            choices=("list", "template", "account", "subscription"),
            required=True,
            immutable=True,
        ),
        Field(
            name="pricing_template_id",
            type=FieldType.REFERENCE,
            target="pricing_template",
            immutable=True,
            indexed=True,
        ),
        Field(
            name="account_id",
            type=FieldType.REFERENCE,
            target="account",
            immutable=True,
            indexed=True,
        ),
        Field(
            name="subscription_external_id",
            immutable=True,
            indexed=True,
            help="External id of the subscription the price is for; may be set before the "
            "subscription exists.",
        ),
        Field(name="currency", required=True, max_length=3, immutable=True),
        Field(
            name="valid_from",
            type=FieldType.DATE,
            help="First day, local to the billed account; empty: always.",
        ),
        Field(name="valid_to", type=FieldType.DATE, help="First day no longer valid."),
        Field(
            name="model",
            type=FieldType.CHOICE,
            choices=("flat", "per_unit", "graduated", "volume", "package"),
            required=True,
        ),
        Field(
            name="package_size",
            type=FieldType.DECIMAL,
            precision=28,
            scale=6,
            help="Priced units in a package; a started package counts in full. Tiers count "
            "packages.",
        ),
        Field(
            name="included_quantity",
            type=FieldType.DECIMAL,
            precision=38,
            scale=15,
            required=True,
            default=0,
            minimum=0,
            help="Priced units per cycle that cost nothing.",
        ),
    ),
)

PRICE_TIER = Entity(
    name="price_tier",
    plural="price_tiers",
    help="A quantity band (from, up to] of a price. Every pricing model has at least one tier.",
    unique=(("price_id", "from_quantity"),),
    fields=(
        Field(
            name="price_id",
            type=FieldType.REFERENCE,
            target="price",
            required=True,
            immutable=True,
            on_delete="cascade",
        ),
        Field(
            name="from_quantity",
            type=FieldType.DECIMAL,
            precision=28,
            scale=6,
            required=True,
            default=0,
            minimum=0,
        ),
        Field(
            name="up_to",
            type=FieldType.DECIMAL,
            precision=28,
            scale=6,
            help="Inclusive upper bound; empty in the last tier.",
        ),
        Field(
            name="unit_amount",
            type=FieldType.DECIMAL,
            precision=28,
            scale=10,
            required=True,
            default=0,
            minimum=0,
        ),
        Field(
            name="flat_amount",
            type=FieldType.DECIMAL,
            precision=28,
            scale=10,
            required=True,
            default=0,
            minimum=0,
            help="Due once when the tier is reached; of the first tier also at quantity zero.",
        ),
    ),
)

ENTITIES = (PRODUCT, METER, RATE_PLAN, CHARGE, PRICE, PRICE_TIER)
