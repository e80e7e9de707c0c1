"""Declarations of the incentives room.

Dates are local to whoever bills the account; periods are half-open. Amounts are in major units
of the currency beside them.
"""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    choice,
    date,
    decimal,
    integer,
    reference,
    text,
)

DISCOUNT = Entity(
    name="discount",
    plural="discounts",
    help="What is taken off the lines of an invoice: a percentage, a fixed amount, an amount per "
    "unit, or a percentage by volume. With a code it is a coupon.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True, help="Text of the invoice line."),
        choice("kind", ("percentage", "fixed", "per_unit", "volume"), required=True),
        decimal("percent", 9, 6, minimum=0, maximum=100, help="Of a percentage: 10 is a tenth."),
        text(
            "percent_formula",
            max_length=4000,
            help="Of a percentage, in place of percent: a formula, asked for every line.",
        ),
        text(
            "condition",
            max_length=4000,
            help="A formula; lines for which it is not met get nothing off.",
        ),
        decimal("amount", 20, 10, minimum=0, help="Of a fixed amount, or per priced unit."),
        text("currency", max_length=3, help="Required with any amount; else every currency."),
        choice(
            "audience",
            ("everyone", "holders"),
            required=True,
            default="everyone",
            help="holders: only accounts the discount was given to; always so of a coupon.",
        ),
        choice(
            "scope",
            ("account", "subtree"),
            required=True,
            default="subtree",
            help="Whether a holder's discount applies to the accounts below it as well.",
        ),
        text("code", unique=True, max_length=60, help="What a customer redeems it by."),
        integer(
            "priority",
            required=True,
            default=100,
            help="Lower ones come first; each takes off what the ones before have left.",
        ),
        date("valid_from", help="Service that begins before this day gets nothing off."),
        date("valid_to", help="Nor does service that begins on this day or later."),
        integer("cycles", minimum=1, help="Only the first so many cycles of a charge."),
        integer("maximum_uses", minimum=1, help="Invoices it may stand on, in all."),
        integer("holder_uses", minimum=1, help="Invoices it may stand on, for one holder."),
        decimal("invoice_maximum", 20, 4, minimum=0, help="Most it takes off one invoice."),
        decimal("holder_maximum", 20, 4, minimum=0, help="Most it takes off for one holder."),
        choice(
            "basis",
            ("subscription", "site", "account", "subtree", "root"),
            required=True,
            default="account",
            help="Over what volume is counted, and what is required must be found, as pools are; "
            "subtree: who holds it and all below, of a discount for everyone from the pool node "
            "down.",
        ),
    ),
)

DISCOUNT_TARGET = Entity(
    name="discount_target",
    plural="discount_targets",
    help="A product, rate plan, charge or subscription that a discount takes something off, or "
    "that must be there before it does. Without targets a discount takes something off every "
    "charge.",
    fields=(
        reference("discount", required=True, immutable=True, indexed=True, on_delete="cascade"),
        choice("role", ("target", "required"), required=True, immutable=True),
        reference("product", immutable=True),
        reference("rate_plan", immutable=True),
        reference("charge", immutable=True),
        text(
            "subscription_external_id",
            immutable=True,
            help="External id of one subscription; may be set before it exists.",
        ),
        decimal(
            "minimum_quantity",
            38,
            15,
            immutable=True,
            help="Of what is required: priced units on the same billing date.",
        ),
        decimal(
            "minimum_amount",
            20,
            4,
            immutable=True,
            help="Of what is required: the amount billed on the same billing date.",
        ),
    ),
)

DISCOUNT_TIER = Entity(
    name="discount_tier",
    plural="discount_tiers",
    help="From which amount on, counted on one billing date, a volume discount is how large.",
    unique=(("discount_id", "from_amount"),),
    fields=(
        reference("discount", required=True, immutable=True, on_delete="cascade"),
        decimal("from_amount", 20, 4, required=True, default=0, minimum=0),
        decimal("percent", 9, 6, required=True, minimum=0, maximum=100),
    ),
)

DISCOUNT_HOLDER = Entity(
    name="discount_holder",
    plural="discount_holders",
    help="An account to which a discount was given, or which redeemed a coupon.",
    unique=(("discount_id", "account_id"),),
    fields=(
        reference("discount", required=True, immutable=True, on_delete="cascade"),
        reference("account", required=True, immutable=True, indexed=True),
    ),
)

COMMITMENT = Entity(
    name="commitment",
    plural="commitments",
    help="A minimum or maximum of what is billed in a term. What is missing of a minimum is billed "
    "when the term ends; what exceeds a maximum is taken off.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True, help="Text of the invoice line."),
        choice("kind", ("minimum", "maximum"), required=True, immutable=True),
        decimal("amount", 20, 4, required=True, minimum=0, help="Per full period."),
        text("currency", required=True, max_length=3, immutable=True),
        choice(
            "scope",
            ("subscription", "account", "subtree"),
            required=True,
            immutable=True,
            help="What is added up: one subscription, an account alone, or an account with all "
            "accounts below it.",
        ),
        reference("account", immutable=True, indexed=True),
        text(
            "subscription_external_id",
            immutable=True,
            indexed=True,
            help="External id of the one subscription; may be set before it exists.",
        ),
        reference(
            "rate_plan",
            immutable=True,
            indexed=True,
            help="Only what is billed under this plan; with the scope subscription and no account "
            "every subscription of it has the commitment.",
        ),
        reference("product", immutable=True, help="Only what is billed for this product."),
        choice(
            "period_unit", ("day", "week", "month", "year"), required=True, default="month",
            immutable=True,
        ),
        integer(
            "period_count", required=True, default=1, minimum=1, maximum=120, immutable=True
        ),
        choice(
            "alignment",
            ("calendar", "anniversary"),
            required=True,
            default="anniversary",
            immutable=True,
            help="calendar: periods begin on the billing profile's cycle day; anniversary: on the "
            "start date, without one on that of the subscription.",
        ),
        date("start_date", immutable=True, help="First day; required but for a rate plan."),
        date("end_date", help="First day without the commitment."),
    ),
)  # fmt: skip

PREPAID_GRANT = Entity(
    name="prepaid_grant",
    plural="prepaid_grants",
    help="An amount an account has to its credit, bought or given; invoices draw it down.",
    fields=(
        EXTERNAL_ID,
        reference("account", required=True, immutable=True, indexed=True),
        text("name", required=True, default="Prepaid balance", help="Text of the invoice line."),
        choice("kind", ("purchased", "free"), required=True, default="purchased", immutable=True),
        text("currency", required=True, max_length=3, immutable=True),
        decimal("amount", 20, 4, required=True, minimum=0, immutable=True),
        choice(
            "scope",
            ("account", "subtree"),
            required=True,
            default="subtree",
            help="Whether invoices of accounts below draw on it as well.",
        ),
        integer("priority", required=True, default=100, help="Lower ones are drawn first."),
        date("start_date", required=True, help="First day of an invoice that may draw on it."),
        date("expiry_date", help="First day on which it is no longer there."),
    ),
)

PREPAID_VOID = Entity(
    name="prepaid_void",
    plural="prepaid_voids",
    help="A part of a prepaid grant that was taken back, refunded or declared void.",
    created_by_command=True,
    fields=(
        reference("prepaid_grant", required=True, indexed=True),
        date("voided_on", required=True),
        decimal("amount", 20, 4, required=True),
        text("reason"),
    ),
)

ENTITLEMENT = Entity(
    name="entitlement",
    plural="entitlements",
    help="A quantity of usage per cycle that costs nothing, drawn down in order of time. Every "
    "subscription of a rate plan, one subscription, or an account has it.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
        decimal("quantity", 38, 15, required=True, minimum=0, help="Priced units per cycle."),
        reference("rate_plan", immutable=True, indexed=True),
        text("subscription_external_id", immutable=True, max_length=255, indexed=True),
        reference("account", immutable=True, indexed=True),
        reference(
            "charge",
            name="per_charge_id",
            immutable=True,
            help="A recurring charge: the quantity is for each unit of it that is held.",
        ),
        choice(
            "pooled_over",
            ("subscription", "site", "account", "subtree", "root"),
            required=True,
            default="subscription",
            immutable=True,
            help="Who may draw on it, counted from the subscription that has it. Of an account: "
            "account, or subtree for it and all accounts below.",
        ),
        integer("priority", required=True, default=100, help="Lower ones are drawn first."),
        integer(
            "rollover_cycles",
            required=True,
            default=0,
            minimum=0,
            maximum=120,
            help="For how many further cycles what is left stays; the oldest is drawn first.",
        ),
        choice(
            "proration",
            ("by_day", "none"),
            required=True,
            default="none",
            help="What a cycle that is served in part gets: its share of days, or all.",
        ),
        choice(
            "overuse",
            ("charged", "refused"),
            required=True,
            default="charged",
            help="refused: whoever asks is told not to go on. What is used all the same is priced "
            "like any usage.",
        ),
        date("valid_from", help="First day of cycles that have it."),
        date("valid_to", help="First day without it."),
    ),
)

ENTITLEMENT_TARGET = Entity(
    name="entitlement_target",
    plural="entitlement_targets",
    help="A usage charge, or all usage charges of a rate plan or product, that draw on it.",
    fields=(
        reference("entitlement", required=True, immutable=True, indexed=True, on_delete="cascade"),
        reference("product", immutable=True),
        reference("rate_plan", immutable=True),
        reference("charge", immutable=True),
    ),
)

ENTITLEMENT_THRESHOLD = Entity(
    name="entitlement_threshold",
    plural="entitlement_thresholds",
    help="A share of an entitlement at which an event is emitted as usage arrives.",
    unique=(("entitlement_id", "percent"),),
    fields=(
        reference("entitlement", required=True, immutable=True, on_delete="cascade"),
        decimal("percent", 9, 4, required=True, minimum=0, maximum=100, immutable=True),
    ),
)

SPENDING_THRESHOLD = Entity(
    name="spending_threshold",
    plural="spending_thresholds",
    help="An amount of charges in a period at which an event is emitted as usage arrives.",
    fields=(
        EXTERNAL_ID,
        text("name", required=True),
        reference("account", required=True, immutable=True, indexed=True),
        choice(
            "scope",
            ("account", "subtree"),
            required=True,
            default="subtree",
            immutable=True,
            help="Whose charges are added up: the account's alone, or those below it as well.",
        ),
        decimal("amount", 20, 4, required=True, minimum=0, help="Per period."),
        text("currency", required=True, max_length=3, immutable=True),
        choice(
            "period_unit", ("day", "week", "month", "year"), required=True, default="month",
            immutable=True,
        ),
        integer(
            "period_count", required=True, default=1, minimum=1, maximum=120, immutable=True
        ),
        choice(
            "alignment",
            ("calendar", "anniversary"),
            required=True,
            default="calendar",
            immutable=True,
            help="calendar: periods begin on the billing profile's cycle day; anniversary: on the "
            "start date.",
        ),
        date("start_date", help="First day that counts; required of an anniversary."),
        date("end_date", help="First day without the threshold."),
        date("told_period", computed=True, help="First day of the period last told of."),
        decimal("told_amount", 20, 4, computed=True, help="The amount that was told then."),
    ),
)  # fmt: skip

ENTITIES = (
    DISCOUNT,
    DISCOUNT_TARGET,
    DISCOUNT_TIER,
    DISCOUNT_HOLDER,
    COMMITMENT,
    PREPAID_GRANT,
    PREPAID_VOID,
    ENTITLEMENT,
    ENTITLEMENT_TARGET,
    ENTITLEMENT_THRESHOLD,
    SPENDING_THRESHOLD,
)
