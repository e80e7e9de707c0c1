"""Declarations of the subscriptions room.

Dates are local to the time zone of the billing profile that bills the account; a period is
half-open, so ``end_date`` is the first day no longer served.
"""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    date,
    decimal,
    integer,
    reference,
    text,
)

CONTRACT = Entity(
    name="contract",
    plural="contracts",
    help="What was agreed with an account for some time, over its subscriptions and those of the "
    "accounts below it: the owner of prices.",
    fields=(
        EXTERNAL_ID,
        reference("account", required=True, immutable=True, indexed=True),
        text("name", required=True),
        date("start_date", required=True),
        date("end_date", help="First day it no longer runs; empty: it runs on."),
        integer("months", minimum=1, maximum=1200, help="Agreed duration."),
    ),
)

SUBSCRIPTION = Entity(
    name="subscription",
    plural="subscriptions",
    told_on_invoices=True,
    help="The running agreement of an account for one rate plan. Made by the activate command.",
    created_by_command=True,
    fields=(
        EXTERNAL_ID,
        reference("account", required=True, immutable=True, indexed=True),
        reference("rate_plan", required=True, immutable=True),
        reference("site", indexed=True, help="Where the service is used; invoices group by it."),
        reference("contact", indexed=True, help="Who uses it or answers for it; may own prices."),
        reference("contract", indexed=True, help="Under which contract; may own prices."),
        reference(
            "account",
            name="invoice_account_id",
            immutable=True,
            indexed=True,
            help="Where it is invoiced, when not at the nearest account that must be: its account "
            "or one above whose billing profile says optional.",
        ),
        date("start_date", required=True, immutable=True),
        date("end_date"),
        date(
            "trial_end",
            immutable=True,
            help="First day after the trial: charges that are free in it begin on this day.",
        ),
        date(
            "anchor_date",
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
        reference("subscription", required=True, immutable=True),
        reference("charge", required=True, immutable=True, indexed=True),
        decimal("quantity", 18, 6, required=True, default=1, immutable=True),
        date("start_date", required=True, immutable=True),
        date("end_date"),
        date(
            "billed_through",
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
        text("identifier", required=True, indexed=True),
        reference("subscription", required=True, indexed=True),
    ),
)

ENTITIES = (CONTRACT, SUBSCRIPTION, SUBSCRIPTION_CHARGE, USAGE_IDENTIFIER)
