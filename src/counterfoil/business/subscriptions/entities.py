"""Declarations of the subscriptions room.

Dates are local to the time zone of the billing profile that bills the account; a period is
half-open, so ``end_date`` is the first day no longer served.
"""

from counterfoil.platform.metadata import Entity, Field, FieldType

SUBSCRIPTION = Entity(
    name="subscription",
    plural="subscriptions",
    help="The running agreement of an account for one rate plan. Made by the activate command.",
    created_by_command=True,
    fields=(
        Field(name="external_id", required=True, unique=True, immutable=True),
        Field(
            name="account_id",
            type=FieldType.REFERENCE,
            target="account",
            required=True,
            immutable=True,
            indexed=True,
        ),
        Field(
            name="rate_plan_id",
            type=FieldType.REFERENCE,
            target="rate_plan",
            required=True,
            immutable=True,
        ),
        Field(
            name="site_id",
            type=FieldType.REFERENCE,
            target="site",
            indexed=True,
            help="Where the service is used; invoices group by it.",
        ),
        Field(name="start_date", type=FieldType.DATE, required=True, immutable=True),
        Field(name="end_date", type=FieldType.DATE),
        Field(
            name="anchor_date",
            type=FieldType.DATE,
            immutable=True,
            help="First day of a cycle of anniversary-aligned charges; defaults to the start date.",
        ),
    ),
)

SUBSCRIPTION_CHARGE = Entity(
    name="subscription_charge",
    plural="subscription_charges",
    help="A charge of a subscription with one quantity, from start_date to end_date. A change of "
    "quantity ends one and begins the next.",
    created_by_command=True,
    indexes=(("subscription_id", "charge_id"),),
    fields=(
        Field(
            name="subscription_id",
            type=FieldType.REFERENCE,
            target="subscription",
            required=True,
            immutable=True,
        ),
        Field(
            name="charge_id",
            type=FieldType.REFERENCE,
            target="charge",
            required=True,
            immutable=True,
            indexed=True,
        ),
        Field(
            name="quantity",
            type=FieldType.DECIMAL,
            precision=18,
            scale=6,
            required=True,
            default=1,
            immutable=True,
        ),
        Field(name="start_date", type=FieldType.DATE, required=True, immutable=True),
        Field(name="end_date", type=FieldType.DATE),
        Field(
            name="billed_through",
            type=FieldType.DATE,
            computed=True,
            help="All service before this day has been billed; empty: none yet.",
        ),
    ),
)

USAGE_IDENTIFIER = Entity(
    name="usage_identifier",
    plural="usage_identifiers",
    help="A token found in usage records (bridge account, telephone number, sub-account) and the "
    "subscription it stands for.",
    unique=(("identifier", "subscription_id"),),
    fields=(
        Field(name="identifier", required=True, indexed=True),
        Field(
            name="subscription_id",
            type=FieldType.REFERENCE,
            target="subscription",
            required=True,
            indexed=True,
        ),
    ),
)

ENTITIES = (SUBSCRIPTION, SUBSCRIPTION_CHARGE, USAGE_IDENTIFIER)
