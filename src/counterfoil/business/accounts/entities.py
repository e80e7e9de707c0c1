"""Declarations of the accounts room."""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    boolean,
    choice,
    date,
    decimal,
    integer,
    reference,
    text,
)

ACCOUNT = Entity(
    name="account",
    plural="accounts",
    told_on_invoices=True,
    help="A party we sell to. Accounts form a tree through their parent. An account that is not "
    "invoiced itself is billed through its nearest ancestor that is.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
        reference("account", indexed=True, name="parent_id"),
        integer(
            "root_id",
            computed=True,
            indexed=True,
            help="The top of this account's tree; itself for a top account. root_id % 16 is the "
            "bucket its usage is stored in.",
        ),
        reference(
            "pricing_template",
            help="Price layer of this account and all accounts below it that have none of their "
            "own, on days without a template assignment.",
        ),
        reference(
            "price_region",
            help="Whose prices hold instead of the list's, here and in all accounts below that "
            "have none of their own.",
        ),
        choice("status", ("active", "closed"), required=True, default="active"),
        boolean(
            "pool_node",
            required=True,
            default=False,
            help="What is pooled over a subtree counts together for this account and all below it, "
            "down to the next such account.",
        ),
    ),
)

SITE = Entity(
    name="site",
    plural="sites",
    told_on_invoices=True,
    help="A place of an account where service is used; decides the tax jurisdiction.",
    fields=(
        EXTERNAL_ID,
        reference("account", required=True, indexed=True),
        text("name", required=True),
        text("street"),
        text("city"),
        text("region"),
        text("postal_code", max_length=20),
        text("country", required=True, max_length=2, help="ISO 3166-1 alpha-2."),
        text("p_code", max_length=12, help="Tax jurisdiction code of the place."),
        text("time_zone", max_length=64, help="IANA name."),
        reference(
            "price_region", help="For services used here, in place of the account's price region."
        ),
    ),
)

CONTACT = Entity(
    name="contact",
    plural="contacts",
    help="A person of an account or of one of its sites.",
    fields=(
        EXTERNAL_ID,
        reference("account", required=True, indexed=True),
        reference("site", indexed=True),
        text("name", required=True),
        text("email", max_length=254),
        text("phone", max_length=40),
        choice("role", ("billing", "technical", "commercial"), default="billing"),
    ),
)

BILLING_PROFILE = Entity(
    name="billing_profile",
    plural="billing_profiles",
    help="How an account is billed.",
    fields=(
        reference("account", required=True, unique=True, immutable=True),
        choice(
            "invoice_at_this_level",
            ("no", "optional", "required"),
            required=True,
            default="required",
            help="required: subscriptions of this account and of those below that are not invoiced "
            "themselves are invoiced here; optional: only those that name this account; no: it is "
            "passed by.",
        ),
        text("currency", required=True, max_length=3, help="ISO 4217 code."),
        text("time_zone", required=True, max_length=64, default="UTC", help="IANA name."),
        integer(
            "cycle_day",
            required=True,
            default=1,
            minimum=1,
            maximum=31,
            help="Day of the month calendar-aligned cycles begin; 29 to 31 mean month end in "
            "shorter months.",
        ),
        integer(
            "grace_days",
            minimum=0,
            maximum=365,
            help="How long after its billing date a draft waits for late usage; none: 0.",
        ),
        integer("payment_terms_days", required=True, default=30, minimum=0, maximum=365),
        text("invoice_template", required=True, default="standard"),
        choice("paper", ("a4", "us-letter"), required=True, default="a4"),
        text("bill_to_name", help="Defaults to the account's name."),
        text("attention"),
        text("street"),
        text("city"),
        text("region"),
        text("postal_code", max_length=20),
        text("country", max_length=2, help="ISO 3166-1 alpha-2."),
        text("email", max_length=254),
        text("tax_id", max_length=40),
        text("purchase_order", max_length=60),
        choice(
            "split_by",
            ("none", "site", "purchase_order"),
            required=True,
            default="none",
            help="An invoice for each site, or for each purchase order of the subscriptions.",
        ),
        choice(
            "zero_amount",
            ("issue", "suppress", "carry"),
            required=True,
            default="issue",
            help="What becomes of an invoice that comes to nothing: it is issued like others, kept "
            "without being issued, or its lines stand on the next invoice.",
        ),
        choice(
            "approval",
            ("as_seller", "none", "above", "all"),
            required=True,
            default="as_seller",
            help="Which documents somebody has to approve before they become final: as the seller "
            "says, none, those above an amount, all.",
        ),
        decimal(
            "approval_above",
            20,
            4,
            minimum=0,
            help="Of `above`: larger documents, credit notes among them, need approval.",
        ),
    ),
)

# Pricing templates and price regions belong to the products room by meaning, but accounts point to
# them and rooms import downwards only, so they are declared with the accounts that carry them.
PRICING_TEMPLATE = Entity(
    name="pricing_template",
    plural="pricing_templates",
    help="A reusable set of prices, a layer between the list and an account's own prices.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
        reference(
            "pricing_template",
            name="base_template_id",
            indexed=True,
            help="The template this one builds on: asked where this one has no price.",
        ),
    ),
)

PRICE_REGION = Entity(
    name="price_region",
    plural="price_regions",
    help="Where a price book of its own holds in place of the list, such as a continent.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
    ),
)

TEMPLATE_ASSIGNMENT = Entity(
    name="template_assignment",
    plural="template_assignments",
    help="The pricing template of an account from a day to a day; on other days the account's own "
    "field pricing_template_id holds. One at a time.",
    fields=(
        reference("account", required=True, immutable=True, indexed=True),
        reference("pricing_template", required=True),
        date("valid_from", help="First day; empty: always."),
        date("valid_to", help="First day no longer valid."),
    ),
)

ENTITIES = (
    PRICING_TEMPLATE,
    PRICE_REGION,
    ACCOUNT,
    TEMPLATE_ASSIGNMENT,
    SITE,
    CONTACT,
    BILLING_PROFILE,
)
