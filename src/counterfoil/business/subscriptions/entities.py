"""Declarations of the subscriptions room.

Dates are local to the time zone of the billing profile that bills the account; a period is
half-open, so ``end_date`` is the first day no longer served.
"""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    boolean,
    choice,
    date,
    decimal,
    document,
    instant,
    integer,
    reference,
    text,
)

KINDS = (
    *("change_plan", "change_quantity", "change_price", "add_on", "remove_add_on", "change_end"),
    *("suspend", "resume", "transfer", "renew", "trial", "cancel", "charge_once"),
)
"""What an amendment may do to a subscription."""

PRORATIONS = ("by_day", "by_second", "none", "full")
"""How a change within a cycle is billed: its days, its seconds, from the next cycle on, the whole
cycle."""

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
        reference(
            "rate_plan",
            required=True,
            immutable=True,
            help="The plan it began with; amendments say which ones followed.",
        ),
        reference("site", indexed=True, help="Where the service is used; invoices group by it."),
        reference("contact", indexed=True, help="Who uses it or answers for it; may own prices."),
        reference("contract", indexed=True, help="Under which contract; may own prices."),
        text(
            "purchase_order",
            max_length=60,
            help="The customer's order number; invoices may be split by it.",
        ),
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
            computed=True,
            help="First day after the trial: charges that are free in it begin on this day.",
        ),
        date(
            "billing_start",
            computed=True,
            help="First day that is billed, when after the start date: service is free until then.",
        ),
        date(
            "anchor_date",
            computed=True,
            help="First day of a cycle of anniversary-aligned charges; defaults to the start date.",
        ),
        date("term_end", help="First day after the agreed term; empty: evergreen."),
        integer("term_months", minimum=1, maximum=1200, help="Months of a term when it renews."),
        choice(
            "renewal",
            ("evergreen", "renew", "end"),
            required=True,
            default="evergreen",
            help="What happens at term_end: it goes on, another term begins, or it ends.",
        ),
        decimal(
            "renewal_uplift_percent",
            9,
            4,
            minimum=0,
            maximum=1000,
            help="By how much prices rise with every renewal: 3 makes 103.00 of 100.00.",
        ),
        choice(
            "renewal_uplift_of",
            ("recurring", "all"),
            required=True,
            default="recurring",
            help="Which charges it is of: recurring ones, or those of usage as well.",
        ),
        reference(
            "subscription",
            name="follows_id",
            computed=True,
            indexed=True,
            help="The subscription it continues after a transfer.",
        ),
    ),
)

AMENDMENT = Entity(
    name="amendment",
    plural="amendments",
    help="A change of a subscription from a day on.",
    created_by_command=True,
    fields=(
        reference("subscription", required=True, immutable=True, indexed=True),
        choice("kind", KINDS, required=True, immutable=True),
        date(
            "effective_date",
            required=True,
            immutable=True,
            help="First day of the new state, local to the billed account.",
        ),
        date(
            "billed_from",
            required=True,
            immutable=True,
            help="First day from which recurring charges are billed by the new state.",
        ),
        choice("proration", PRORATIONS, required=True, default="by_day", immutable=True),
        instant("effective_at", immutable=True, help="Of a change by the second: its instant."),
        reference(
            "rate_plan", immutable=True, help="The plan changed to, added, removed or charged once."
        ),
        reference("charge", immutable=True),
        decimal("quantity", 18, 6, immutable=True),
        decimal("amount", 28, 10, immutable=True, help="The new price."),
        decimal("uplift_percent", 9, 4, immutable=True, help="By how much prices rose."),
        decimal("fee_percent", 9, 4, immutable=True, help="Of what the remaining term would cost."),
        document(
            "fee_basis",
            immutable=True,
            help="What the remaining term would have cost: from, to, currency, amount, parts.",
        ),
        boolean("charged", immutable=True, help="Of a suspension: charges go on."),
        date("until", immutable=True, help="The new end, end of the term or of the trial."),
        reference("subscription", name="successor_id", immutable=True),
        text("made_by", required=True, immutable=True),
        text("reason", max_length=1000, immutable=True),
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
        integer(
            "start_offset",
            required=True,
            default=0,
            immutable=True,
            help="Seconds after the midnight of start_date at which service begins, before it when "
            "negative: of a change by the second.",
        ),
        integer(
            "end_offset",
            required=True,
            default=0,
            help="Seconds after the midnight of end_date at which service ends.",
        ),
        date(
            "former_end_date",
            help="Of what ended within a day and ends sooner now: where it ended before.",
        ),
        integer("former_end_offset", required=True, default=0, help="Its seconds."),
        date(
            "billed_through",
            computed=True,
            help="All service before this day has been billed; empty: none yet.",
        ),
        reference("amendment", name="began_by_id", immutable=True, indexed=True),
        reference("amendment", name="ended_by_id", indexed=True),
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

ENTITIES = (CONTRACT, SUBSCRIPTION, AMENDMENT, SUBSCRIPTION_CHARGE, USAGE_IDENTIFIER)
