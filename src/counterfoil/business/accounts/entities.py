"""Declarations of the accounts room."""

from counterfoil.platform.metadata import Entity, Field, FieldType

ACCOUNT = Entity(
    name="account",
    plural="accounts",
    help="A party we sell to. Accounts form a tree through their parent. An account without a "
    "billing profile is billed through its nearest ancestor that has one.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(name="name", required=True),
        Field(name="parent_id", type=FieldType.REFERENCE, target="account", indexed=True),
        Field(
            name="root_id",
            type=FieldType.INTEGER,
            computed=True,
            indexed=True,
            help="The top of this account's tree; itself for a top account. root_id % 16 is the "
            "bucket its usage is stored in.",
        ),
        Field(
            name="pricing_template_id",
            type=FieldType.REFERENCE,
            target="pricing_template",
            help="Default price layer of this account and all accounts below it.",
        ),
        Field(name="status", type=FieldType.CHOICE, choices=("active", "closed"), default="active"),
    ),
)

SITE = Entity(
    name="site",
    plural="sites",
    help="A place of an account where service is used; decides the tax jurisdiction.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(
            name="account_id",
            type=FieldType.REFERENCE,
            target="account",
            required=True,
            indexed=True,
        ),
        Field(name="name", required=True),
        Field(name="street"),
        Field(name="city"),
        Field(name="region"),
        Field(name="postal_code", max_length=20),
        Field(name="country", required=True, max_length=2, help="ISO 3166-1 alpha-2."),
        Field(name="p_code", max_length=12, help="Tax jurisdiction code of the place."),
        Field(name="time_zone", max_length=64, help="IANA name."),
    ),
)

CONTACT = Entity(
    name="contact",
    plural="contacts",
    help="A person of an account or of one of its sites.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(
            name="account_id",
            type=FieldType.REFERENCE,
            target="account",
            required=True,
            indexed=True,
        ),
        Field(name="site_id", type=FieldType.REFERENCE, target="site", indexed=True),
        Field(name="name", required=True),
        Field(name="email", max_length=254),
        Field(name="phone", max_length=40),
        Field(
            name="role",
            type=FieldType.CHOICE,
            choices=("billing", "technical", "commercial"),
            default="billing",
        ),
    ),
)

BILLING_PROFILE = Entity(
    name="billing_profile",
    plural="billing_profiles",
    help="How an account is billed.",
    fields=(
        Field(
            name="account_id",
            type=FieldType.REFERENCE,
            target="account",
            required=True,
            unique=True,
            immutable=True,
        ),
        Field(name="currency", required=True, max_length=3, help="ISO 4217 code."),
        Field(name="time_zone", required=True, max_length=64, default="UTC", help="IANA name."),
        Field(
            name="cycle_day",
            type=FieldType.INTEGER,
            required=True,
            default=1,
            minimum=1,
            maximum=31,
            help="Day of the month calendar-aligned cycles begin; 29 to 31 mean month end in "
            "shorter months.",
        ),
        Field(
            name="payment_terms_days",
            type=FieldType.INTEGER,
            required=True,
            default=30,
            minimum=0,
            maximum=365,
        ),
        Field(name="invoice_template", required=True, default="standard"),
        Field(
            name="paper",
            type=FieldType.CHOICE,
            choices=("a4", "us-letter"),
            required=True,
            default="a4",
        ),
        Field(name="bill_to_name", help="Defaults to the account's name."),
        Field(name="attention"),
        Field(name="street"),
        Field(name="city"),
        Field(name="region"),
        Field(name="postal_code", max_length=20),
        Field(name="country", max_length=2, help="ISO 3166-1 alpha-2."),
        Field(name="email", max_length=254),
        Field(name="tax_id", max_length=40),
        Field(name="purchase_order", max_length=60),
    ),
)

# pricing_template belongs to the products room by meaning, but accounts point to it and rooms
# import downwards only, so it is declared with the accounts that carry it.
PRICING_TEMPLATE = Entity(
    name="pricing_template",
    plural="pricing_templates",
    help="A reusable set of prices, a layer between the list and an account's own prices.",
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(name="name", required=True),
    ),
)

ENTITIES = (PRICING_TEMPLATE, ACCOUNT, SITE, CONTACT, BILLING_PROFILE)
